// Text of strangers, made fit to be shown: what a browser obeys or hides is escaped as JSON does.
// Pure. The rule is that of `alephscript.protocol.text`.

const JOINERS = "\\u200c\\u200d"; // hold a word or an emoji together
const OBEYED = new RegExp(`[\\p{C}\\u2028\\u2029]`, "gu");
const HARMLESS = new RegExp(`[${JOINERS}]`, "u");

/** One line without control characters; with `lines`, line ends are kept. */
export function printable(text, { lines = false } = {}) {
  return String(text).replace(OBEYED, (each) =>
    HARMLESS.test(each) || (lines && each === "\n") ? each : escaped(each),
  );
}

function escaped(character) {
  const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at));
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
}
