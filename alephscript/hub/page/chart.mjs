// A small chart of the last minute.

import { drawn, element, write } from "./dom.mjs";

export const POINTS = 60;

const RULES = [0, 50, 100].map((y) => `M0 ${y}h${POINTS - 1}`).join("");

/** The least of 1, 2, 5, 10, 20 … that is not below a value. */
export function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((each) => each * power >= value * 0.9999) * power;
}

/** A line through what is known, as an SVG path; where nothing is known it has a gap. */
export function path(values, highest) {
  let [drawing, isDown] = ["", false];
  values.forEach((value, index) => {
    if (value !== null) {
      const x = POINTS - values.length + index;
      const y = (100 - (100 * value) / highest).toFixed(2);
      drawing += isDown ? `L${x} ${y}` : `M${x} ${y}h0`; // h0: a lonely point is a dot
    }
    isDown = value !== null;
  });
  return drawing;
}

/**
 * A chart in a `<figure>`; returns a function that shows series of values, the latest last.
 *
 * `names` are the series', `format` says a value as it is read.
 */
export function chart(figure, title, names, format) {
  const now = element("strong", { class: "now" });
  const besides = element("span", { class: "besides" });
  const top = element("span", { class: "top" });
  const lines = names.map((_, index) => drawn("path", { class: `line series-${index}` }));
  const drawing = drawn(
    "svg",
    { viewBox: `0 0 ${POINTS - 1} 100`, preserveAspectRatio: "none", role: "img" },
    drawn("path", { class: "grid", d: RULES }),
    ...lines,
  );
  const axis = element("div", { class: "axis" }, "a minute ago", element("span", {}, "now"));
  figure.append(
    element("figcaption", {}, element("span", {}, title), now, besides),
    element("div", { class: "plot" }, top, drawing),
    axis,
  );
  return (...series) => {
    const known = series.flat().filter((value) => value !== null);
    const highest = ceiling(Math.max(0, ...known));
    series.forEach((values, index) => {
      const isSeen = index === 0 || values.some((value) => value > 0); // further ones if there is any
      lines[index].setAttribute("d", isSeen ? path(values, highest) : "");
    });
    const latest = series.map((values) => format(values.at(-1) ?? null));
    write(now, latest[0]);
    write(
      besides,
      names
        .slice(1)
        .map((name, index) => `${name} ${latest[index + 1]}`)
        .join(", "),
    );
    write(top, format(highest));
    const most = known.length ? format(Math.max(...known)) : "nothing";
    drawing.setAttribute(
      "aria-label",
      `${title}: now ${latest[0]}, in the last minute at most ${most}`,
    );
  };
}
