// The address of what is looked at, so that it can be kept and sent: a room, and somebody or
// something in it. Pure.

const KEYS = ["room", "member", "capability", "of", "task"]; // `of` is the room that a capability is of

/** What an address names: `{room, member, capability, of, task}`, each null if it does not say. */
export function parse(hash) {
  const said = new URLSearchParams(hash.replace(/^#/, ""));
  return Object.fromEntries(KEYS.map((key) => [key, said.get(key) || null]));
}

/** The address of that. */
export function address(wanted) {
  const said = new URLSearchParams();
  for (const key of KEYS) if (wanted[key]) said.set(key, wanted[key]);
  return `#${said}`;
}
