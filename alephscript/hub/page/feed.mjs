// A list that grows at its top: what was asked, or what was said. Filtered, searched, held.
//
// Many are drawn at once, and never more than some: what comes in is cheap for the browser. While
// somebody reads (a row is open, the list is scrolled, the keyboard is in it), nothing moves: what
// comes meanwhile is counted, and shown afterwards.

import { element, write } from "./dom.mjs";
import { roam } from "./keys.mjs";
import { printable } from "./text.mjs";

const MOST = 1000; // that are kept
const SHOWN = 200; // that are drawn
const DRAW_MS = 400;
const MOST_KINDS = 200; // to filter by

export class Feed {
  #list;
  #parts;
  #of;
  #kept = []; // the latest last
  #fresh = 0; // of these, what is not drawn yet: the last ones
  #kinds = new Set();
  #open = new Set(); // rows
  #instead = null; // shown instead of what is kept
  #isPaused = false;
  #isScrolled = false;
  #isScheduled = false;
  #drawnAt = 0;
  #scope = () => true;
  #settle;

  /**
   * `of` says what the list is of: `noun`, its plural; `kinds(item)`, what it can be filtered by;
   * `words(item)`, a text in which it is searched; `cells(item)`, its row; `details(item)`, what
   * is shown when the row is opened; `released()` ends what is shown instead (`show`).
   */
  constructor(section, of) {
    const names = ["list", "count", "filter", "search", "pause", "clear", "more", "empty"];
    const part = (name) => [name, section.querySelector(`[data-part="${name}"]`)];
    this.#parts = Object.fromEntries(names.map(part));
    const { list, filter, search, pause, clear, more } = this.#parts;
    this.#list = list;
    this.#of = of;
    this.#settle = roam(list, "summary");
    filter.addEventListener("change", () => this.#drawAll());
    search.addEventListener("input", () => this.#drawAll());
    pause.addEventListener("click", () => this.#pause(!this.#isPaused));
    clear.addEventListener("click", () => this.clear());
    more.addEventListener("click", () => this.#release());
    list.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    list.addEventListener("focusout", () => this.#schedule());
    document.addEventListener("visibilitychange", () => this.#schedule());
    for (const { value } of filter.options) this.#kinds.add(value);
    this.#drawAll();
  }

  /** Take what is new, the latest last. */
  add(items) {
    if (items.length === 0) return;
    for (const item of items) {
      this.#kept.push(item);
      for (const kind of this.#of.kinds(item)) this.#offer(kind);
    }
    if (this.#kept.length > MOST) this.#kept.splice(0, this.#kept.length - MOST);
    this.#fresh = Math.min(this.#fresh + items.length, this.#kept.length);
    this.#schedule();
  }

  /** Show only what fits. */
  look(fits) {
    this.#scope = fits;
    this.#drawAll();
  }

  /** Show only one kind. */
  filter(kind) {
    this.#parts.filter.value = kind;
    this.#drawAll();
  }

  /** Forget all. */
  clear() {
    this.#kept = [];
    this.#fresh = 0;
    this.#drawAll();
  }

  /** Show these, the latest last, while what is new is counted; null goes on with what is new. */
  show(items) {
    this.#instead = items;
    for (const item of items ?? []) for (const kind of this.#of.kinds(item)) this.#offer(kind);
    if (items === null) this.#release();
    else this.#drawAll();
  }

  get #isHeld() {
    return (
      this.#instead !== null ||
      this.#isPaused ||
      this.#isScrolled ||
      this.#open.size > 0 ||
      this.#list.querySelector(":focus-visible") !== null
    );
  }

  #offer(kind) {
    if (this.#kinds.has(kind) || this.#kinds.size >= MOST_KINDS) return;
    this.#kinds.add(kind);
    this.#parts.filter.append(element("option", { value: kind }, printable(kind)));
  }

  #pause(isPaused) {
    this.#isPaused = isPaused;
    this.#parts.pause.setAttribute("aria-pressed", String(isPaused));
    this.#draw();
  }

  #release() {
    if (this.#instead !== null) return this.#of.released();
    if (this.#isPaused) this.#pause(false);
    this.#drawAll();
    this.#list.scrollTop = 0;
    this.#list.querySelector("summary")?.focus({ focusVisible: false });
  }

  #scrolled() {
    this.#isScrolled = this.#list.scrollTop > 4;
    if (!this.#isScrolled && this.#fresh) this.#schedule();
  }

  #schedule() {
    if (this.#isScheduled || document.hidden) return;
    this.#isScheduled = true;
    const wait = Math.max(0, this.#drawnAt + DRAW_MS - performance.now());
    setTimeout(() => this.#draw(), wait);
  }

  #draw() {
    this.#isScheduled = false;
    this.#drawnAt = performance.now();
    if (this.#fresh && !this.#isHeld) {
      const fresh = this.#kept.slice(-this.#fresh).filter((each) => this.#fits(each));
      this.#list.prepend(...fresh.slice(-SHOWN).reverse().map((each) => this.#row(each)));
      while (this.#list.childElementCount > SHOWN) this.#list.lastElementChild.remove();
      this.#fresh = 0;
      this.#settle();
    }
    this.#tell();
  }

  #drawAll() {
    if (!this.#isPaused && this.#instead === null) this.#fresh = 0;
    const known = this.#instead ?? this.#kept.slice(0, this.#kept.length - this.#fresh);
    const fits = known.filter((each) => this.#fits(each)).slice(-SHOWN);
    this.#open.clear();
    this.#list.replaceChildren(...fits.reverse().map((each) => this.#row(each)));
    this.#list.scrollTop = 0;
    this.#isScrolled = false;
    this.#settle();
    this.#tell();
  }

  #tell() {
    const { count, more, empty } = this.#parts;
    const shown = this.#list.childElementCount;
    write(count, `${shown} of ${(this.#instead ?? this.#kept).length} ${this.#of.noun}`);
    const fresh = this.#kept.slice(this.#kept.length - this.#fresh);
    const waiting = fresh.filter((each) => this.#fits(each)).length;
    more.hidden = waiting === 0;
    write(more, `${waiting} new`);
    empty.hidden = shown > 0;
  }

  #fits(item) {
    if (!this.#scope(item)) return false;
    const { filter, search } = this.#parts;
    if (filter.value && !this.#of.kinds(item).includes(filter.value)) return false;
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length === 0) return true;
    const said = this.#of.words(item).toLowerCase();
    return words.every((word) => said.includes(word));
  }

  #row(item) {
    // With spaces between, for those who hear it.
    const cells = this.#of.cells(item).flatMap((each) => [each, " "]);
    const summary = element("summary", { tabindex: "-1" }, ...cells);
    const details = element("details", {}, summary);
    const row = element("li", {}, details);
    details.addEventListener("toggle", () => {
      if (!details.open) this.#open.delete(row);
      else if (row.isConnected) this.#open.add(row);
      if (details.childElementCount === 1) details.append(...this.#of.details(item));
      this.#schedule();
    });
    return row;
  }
}

/** A time of day as it is read. */
export function clock(at) {
  return element("time", { datetime: at.toISOString() }, at.toTimeString().slice(0, 8));
}
