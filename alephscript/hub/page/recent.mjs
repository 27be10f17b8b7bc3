// What the requests of the last seconds come to, by master and by capability. Pure.

const WINDOW = 15; // seconds
const MOST = 5000; // entries

/** The entries of the last seconds, and figures made of them. */
export class Recent {
  #entries = []; // {at, entry}, the oldest first
  #began = null;
  #share = 1; // of what there was, what was told

  /**
   * Take entries of the journal at a time in seconds, and how many the hub had no room for in it.
   */
  add(entries, now, missed = 0) {
    this.#began ??= now;
    this.#entries.push(...entries.map((entry) => ({ at: now, entry })));
    const old = this.#entries.findIndex(({ at }) => at > now - WINDOW);
    this.#entries.splice(0, old < 0 ? this.#entries.length : old);
    if (this.#entries.length > MOST) this.#entries.splice(0, this.#entries.length - MOST);
    if (entries.length) this.#share = entries.length / (entries.length + missed);
  }

  /** `{rate, failures, p95}` by `key(entry)`, the first two a second, p95 in seconds. */
  by(key, now) {
    const seconds = Math.max(1, Math.min(WINDOW, now - (this.#began ?? now)));
    const groups = new Map();
    for (const { entry } of this.#entries) {
      const of = key(entry);
      if (!groups.has(of)) groups.set(of, { took: [], failed: 0 });
      const group = groups.get(of);
      group.took.push(entry.seconds);
      if (entry.code !== "ok") group.failed += 1;
    }
    const scale = 1 / (seconds * this.#share);
    const figures = ({ took, failed }) => ({
      rate: took.length * scale,
      failures: failed * scale,
      p95: took.sort((one, other) => one - other)[Math.ceil(0.95 * took.length) - 1],
    });
    return new Map([...groups].map(([of, group]) => [of, figures(group)]));
  }

  /** Forget all. */
  clear() {
    this.#entries = [];
    this.#began = null;
  }
}
