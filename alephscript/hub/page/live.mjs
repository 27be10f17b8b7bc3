// What the hub tells besides what a member hears: the last requests, figures with their past, since
// when members are there.

import { measured } from "./figures.mjs";

/** The hub's answers, as far as it gives any to this viewer. */
export class Live {
  hub = null; // {version, uptime, clients, in_flight}
  steps = []; // figures, the latest last
  stepSeconds = 1;
  mostSteps = 2;
  counts = null; // the last answer of GET /mesh
  members = new Map(); // id or name -> {since, address, transport}
  isCounted = true; // whether the hub tells figures

  #headers;
  #isPolling = false;
  #instance = "";
  #requests = 0; // the last of each that were told
  #steps = 0;
  #told;

  /** `told.asked(entries, missed)` hears of requests, `told.restarted()` of a hub that began again. */
  constructor(token, told) {
    this.#headers = () => (token() ? { authorization: `Bearer ${token()}` } : {});
    this.#told = told;
  }

  /** Ask what is new, as often as it is called but not in parallel. */
  async poll() {
    if (this.#isPolling) return;
    this.#isPolling = true;
    try {
      await this.#ask();
    } finally {
      this.#isPolling = false;
    }
  }

  async #ask() {
    const query = `requests=${this.#requests}&steps=${this.#steps}`;
    const answer = await this.#get(`mesh/live?${query}`);
    if (answer === undefined) return; // the link says that the hub is away
    this.isCounted = Boolean(answer?.steps);
    if (answer === null) return;
    if (this.#instance && answer.instance !== this.#instance) {
      [this.#requests, this.#steps, this.steps] = [0, 0, []];
      [this.counts, this.#instance] = [null, answer.instance];
      this.#told.restarted();
      return await this.#ask();
    }
    this.#instance = answer.instance;
    const { last, list } = answer.requests;
    // Of those that this viewer may not see nothing is known, not even how many there were.
    const missed = this.isCounted && this.#requests ? last - this.#requests - list.length : 0;
    this.#requests = last;
    this.#told.asked(list, missed);
    this.hub = answer.hub ?? null;
    if (answer.steps) this.#take(answer.steps);
  }

  /** Ask for counts of each capability, and for members: what is dear, and changes slowly. */
  async look() {
    if (!this.isCounted) return;
    const [counts, found] = await Promise.all([this.#get("mesh"), this.#get("mesh/members")]);
    if (counts) this.counts = counts;
    if (found) {
      this.members = new Map(found.members.flatMap((each) => [[each.name, each], [each.id, each]]));
    }
  }

  #take({ last, list, seconds, most, bounds }) {
    this.#steps = last;
    this.steps.push(...list.map((each) => measured(each, bounds, seconds)));
    this.steps.splice(0, Math.max(0, this.steps.length - most));
    [this.stepSeconds, this.mostSteps] = [seconds, most];
  }

  /** An answer; null if the hub does not give it to this viewer, undefined if there is none. */
  async #get(path) {
    try {
      const answer = await fetch(path, { headers: this.#headers(), cache: "no-store" });
      return answer.ok ? await answer.json() : null;
    } catch {
      return undefined;
    }
  }
}
