// What is said in the rooms that are looked at: filtered, searched, held.

import { element, named, write } from "./dom.mjs";
import { printable } from "./text.mjs";

const MOST = 500; // events that are kept
const LONGEST = 20_000; // characters of each
const LINE = 300; // of these, shown without being asked for
const MOST_NAMES = 200; // to filter by

export class Stream {
  #list;
  #count;
  #filter;
  #search;
  #pause;
  #events = []; // the latest last
  #fresh = []; // of these, what is not shown yet
  #names = new Set();
  #isHeld = false;
  #isScheduled = false;

  constructor(section) {
    const part = (name) => section.querySelector(`[data-part="${name}"]`);
    [this.#list, this.#count, this.#filter] = ["list", "count", "filter"].map(part);
    [this.#search, this.#pause] = ["search", "pause"].map(part);
    this.#filter.addEventListener("change", () => this.#showAll());
    this.#search.addEventListener("input", () => this.#showAll());
    this.#pause.addEventListener("click", () => this.#hold(!this.#isHeld));
    part("clear").addEventListener("click", () => this.clear());
    this.#showAll();
  }

  /** Take an event `{at, room, event, sender, data}`. */
  add({ at, room, event, sender, data }) {
    const text = JSON.stringify(data) ?? "";
    const kept = { at, room, event, sender: sender ?? "", text: text.slice(0, LONGEST) };
    kept.isCut = kept.text.length < text.length;
    this.#events.push(kept);
    this.#fresh.push(kept);
    if (this.#events.length > MOST) this.#events.shift();
    if (this.#fresh.length > MOST) this.#fresh.shift();
    if (!this.#names.has(event) && this.#names.size < MOST_NAMES) {
      this.#names.add(event);
      this.#filter.append(element("option", { value: event }, printable(event)));
    }
    // Many in one frame are drawn once.
    if (!this.#isScheduled) requestAnimationFrame(() => this.#showFresh());
    this.#isScheduled = true;
  }

  /** Forget what was said. */
  clear() {
    this.#events = [];
    this.#fresh = [];
    this.#showAll();
  }

  #hold(isHeld) {
    this.#isHeld = isHeld;
    this.#pause.setAttribute("aria-pressed", String(isHeld));
    this.#showFresh();
  }

  #showFresh() {
    this.#isScheduled = false;
    if (!this.#isHeld) {
      const rows = this.#fresh.filter((each) => this.#isWanted(each)).map(row);
      this.#list.prepend(...rows.reverse());
      while (this.#list.childElementCount > MOST) this.#list.lastElementChild.remove();
      this.#fresh = [];
    }
    this.#tell();
  }

  #showAll() {
    if (!this.#isHeld) this.#fresh = [];
    const held = new Set(this.#fresh);
    const wanted = this.#events.filter((each) => !held.has(each) && this.#isWanted(each));
    this.#list.replaceChildren(...wanted.map(row).reverse());
    this.#tell();
  }

  #tell() {
    const shown = this.#list.childElementCount;
    const held = this.#isHeld ? `, ${this.#fresh.length} more since it was paused` : "";
    const last = this.#events.length === MOST ? "last " : "";
    write(this.#count, `${shown} of the ${last}${this.#events.length} events${held}`);
  }

  #isWanted({ room, event, sender, text }) {
    if (this.#filter.value && this.#filter.value !== event) return false;
    const words = this.#search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const said = `${room} ${event} ${sender} ${text}`.toLowerCase();
    return words.every((word) => said.includes(word));
  }
}

function row(kept) {
  const { at, room, event, sender, text, isCut } = kept;
  const time = element("time", { datetime: at.toISOString() }, at.toTimeString().slice(0, 8));
  const line = text.length > LINE ? `${text.slice(0, LINE)}…` : text;
  const summary = element(
    "summary",
    {},
    time,
    element("b", {}, named(event)),
    element("span", { class: "where" }, named(room), ...(sender ? [" · ", named(sender)] : [])),
    element("code", { dir: "ltr" }, line),
  );
  const details = element("details", {}, summary);
  details.addEventListener("toggle", () => {
    if (details.childElementCount > 1) return;
    const whole = isCut
      ? `${text}… (cut off)`
      : JSON.stringify(JSON.parse(text || "null"), null, 2);
    details.append(element("pre", { tabindex: "0" }, whole));
  });
  return element("li", {}, details);
}
