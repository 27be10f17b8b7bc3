// The time line of a room: pages of its log, instead of what is said just now, and back.

import { write } from "./dom.mjs";
import { clock } from "./feed.mjs";
import { LinkLost } from "./socket.mjs";

const PAGE = 100; // events that are shown at once
const NEWEST = 1e15 - 1; // a number that no event has
const AGAIN_MS = 1000;

export class Timeline {
  #node;
  #parts;
  #ask;
  #show;
  #room = null;
  #history = ""; // names the log
  #begin = 0; // numbers: the shown page is behind the first, up to the second
  #end = 0;
  #last = 0; // of the log, as far as is known
  #asked = 0; // answers to questions before the last one are nobody's any more

  /**
   * `ask(event, payload)` asks the hub; `show(events)` shows `{at, event, sender, data}`, the latest
   * last, and with null what is said just now.
   */
  constructor(node, { ask, show }) {
    const names = ["earlier", "place", "later", "at", "live"];
    const part = (name) => [name, node.querySelector(`[data-part="${name}"]`)];
    this.#node = node;
    this.#parts = Object.fromEntries(names.map(part));
    this.#ask = ask;
    this.#show = show;
    const { earlier, place, later, live } = this.#parts;
    earlier.addEventListener("click", () => {
      this.#read({ before: this.#isLive ? NEWEST : this.#begin + 1 });
    });
    later.addEventListener("click", () => this.#read({ since: `${this.#history}.${this.#end}` }));
    place.addEventListener("change", () => this.#read({ before: Number(place.value) + 1 }));
    live.addEventListener("click", () => this.live());
    // What was said meanwhile is part of the line, too.
    place.addEventListener("pointerenter", () => this.#isLive && this.#measure());
    node.addEventListener("focusin", () => this.#isLive && this.#measure());
  }

  /** Look at one room, or at none in particular (null). */
  look(room) {
    if (room === this.#room) return;
    this.#room = room;
    this.#node.hidden = true;
    if (!this.#isLive) this.live();
    if (room !== null) this.#measure();
  }

  /** Go on with what is said. */
  live() {
    this.#asked += 1;
    this.#begin = this.#end = 0;
    this.#draw(null);
    this.#show(null);
  }

  get #isLive() {
    return this.#end === 0;
  }

  /** Ask where the log begins and ends. */
  async #measure() {
    const page = await this.#page({ most: 1 });
    if (page === null) return;
    this.#node.hidden = !page.history || page.last === 0;
    this.#draw(null);
  }

  async #read(place) {
    const page = await this.#page({ ...place, most: PAGE });
    if (page === null || page.events.length === 0) return;
    this.#begin = page.events[0].number - 1;
    this.#end = page.events.at(-1).number;
    const events = page.events.map(({ at, event, sender, data, lost }) =>
      lost
        ? { at: new Date(at), event: "GAP", sender: "", data: { missed: lost } }
        : { at: new Date(at), event, sender, data },
    );
    this.#draw(events.at(-1).at);
    this.#show(events);
  }

  /** Ask for a page; null if there is none, or nobody waits for it any more. */
  async #page(question) {
    const room = this.#room;
    const number = (this.#asked += 1);
    const page = await this.#ask("GET_ROOM_LOG", { room, ...question }).catch((error) => {
      // The link is not there yet, or gone; anything else the hub has said.
      if (error instanceof LinkLost && this.#node.hidden) {
        setTimeout(() => room === this.#room && this.#measure(), AGAIN_MS);
      }
      return null;
    });
    if (page === null || number !== this.#asked || room !== this.#room) return null;
    this.#history = page.history;
    this.#last = page.last ?? 0;
    this.#parts.place.min = page.first ?? 0;
    this.#parts.place.max = this.#last;
    return page;
  }

  #draw(at) {
    const { earlier, place, later, at: shown, live } = this.#parts;
    place.value = this.#isLive ? this.#last : this.#end;
    earlier.disabled = !this.#isLive && this.#begin < Number(place.min);
    later.disabled = this.#isLive || this.#end >= this.#last;
    live.setAttribute("aria-pressed", String(this.#isLive));
    if (at === null) write(shown, "");
    else shown.replaceChildren(clock(at));
    place.setAttribute("aria-valuetext", at === null ? "live" : at.toLocaleString());
  }
}
