// Elements. Whatever comes from the mesh gets in here as text, never as markup, and is escaped: a
// control character could make it read as another text.

import { parts } from "./names.mjs";
import { printable } from "./text.mjs";

const SHOWN = ["title", "label", "aria-label"]; // attributes that are read, not compared

/** An element with attributes and children; strings become text, functions listen to `on…`. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  set(made, attributes);
  made.append(...children.map(shownChild));
  return made;
}

/** The same in SVG. */
export function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  set(made, attributes);
  made.append(...children.map(shownChild));
  return made;
}

function shownChild(child) {
  return typeof child === "string" ? printable(child, { lines: true }) : child;
}

function set(made, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== undefined) {
      made.setAttribute(name, SHOWN.includes(name) ? printable(value) : value);
    }
  }
}

/** A name that somebody gave: its direction of writing stays its own, its whole length its title. */
export function named(name) {
  return element("bdi", { class: "name", title: name }, printable(name));
}

/** A member: its usuario, and a short session to tell it from others; its whole name is the title. */
export function who(name) {
  const { usuario, session } = parts(name);
  const short = session ? [" ", element("span", { class: "session" }, session)] : [];
  return element("bdi", { class: "name", title: name }, printable(usuario), ...short);
}

const keys = new WeakMap(); // parent -> what its contents were made of

/** Make a parent's contents anew if what they are made of, a text, is another one. */
export function put(parent, key, make) {
  if (keys.get(parent) === key) return;
  keys.set(parent, key);
  parent.replaceChildren(...make());
}

/** Set a text, without disturbing a reader if it is the same. */
export function write(node, text) {
  const shown = printable(text, { lines: true });
  if (node.textContent !== shown) node.textContent = shown;
}

const shown = new WeakMap(); // parent -> key -> {node, update}

/**
 * Make a parent's children those of `items`; what stays is kept, with its focus and selection.
 *
 * `make(item)` returns `{node, update(item)}`.
 */
export function show(parent, items, keyOf, make) {
  const before = shown.get(parent) ?? new Map();
  const after = new Map();
  for (const item of items) {
    const key = keyOf(item);
    if (after.has(key)) continue;
    const each = before.get(key) ?? make(item);
    each.update(item);
    after.set(key, each);
  }
  for (const [key, { node }] of before) if (!after.has(key)) node.remove();
  let place = parent.firstElementChild;
  for (const { node } of after.values()) {
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  shown.set(parent, after);
}

/** Take something away, and have whoever was in it, by keyboard, in what is around it. */
export function leave(node, take) {
  const around = node.contains(document.activeElement) && node.parentElement.closest("[tabindex]");
  take();
  if (around) around.focus({ preventScroll: true });
}
