// What was asked lately, as the hub's journal has it, as a list.

import { element, named, who } from "./dom.mjs";
import { clock, Feed } from "./feed.mjs";
import { duration } from "./figures.mjs";
import { address } from "./route.mjs";

export const FAILED = "failed";

export class Asked {
  #feed;

  constructor(section) {
    this.#feed = new Feed(section, {
      noun: "requests",
      kinds: ({ code }) => (code === "ok" ? ["ok"] : [FAILED, code]),
      words: ({ capability, room, asker, master, code }) =>
        `${capability} ${room} ${asker} ${master} ${code}`,
      cells,
      details,
    });
  }

  /** Take entries of the journal, the latest last. */
  add(entries) {
    this.#feed.add(entries.map((each) => ({ ...each, at: new Date(each.at * 1000) })));
  }

  /** Show what was asked in one room, of one capability, by or of one member; null is any. */
  look(room, capability, member) {
    this.#feed.look(
      (each) =>
        (room === null || each.room === room) &&
        (capability === null || each.capability === capability) &&
        (member === null || each.asker === member || each.master === member),
    );
  }

  /** Show only what failed. */
  lookAtFailures() {
    this.#feed.filter(FAILED);
  }

  /** Forget all: the hub began again. */
  clear() {
    this.#feed.clear();
  }
}

function cells({ at, capability, room, asker, seconds, code }) {
  const isFine = code === "ok";
  return [
    clock(at),
    element("b", {}, named(capability)),
    element("span", { class: "where" }, who(asker), ...(room ? [" → ", named(room)] : [])),
    element(
      "span",
      { class: isFine ? "code" : "code bad" },
      isFine ? duration(seconds) : code,
    ),
  ];
}

function details({ at, capability, room, asker, master, seconds, code }) {
  const link = (wanted, node) => element("a", { href: address(wanted) }, node);
  const facts = [
    ["outcome", element("code", { class: code === "ok" ? "" : "bad" }, code)],
    ["took", duration(seconds)],
    ["ended", `${at.toTimeString().slice(0, 8)}.${String(at.getMilliseconds()).padStart(3, "0")}`],
    ["asked by", link({ member: asker }, who(asker))],
    ["answered by", master ? link({ member: master }, who(master)) : "nobody"],
    ["capability", room ? link({ capability, of: room }, named(capability)) : named(capability)],
    ["room", room ? link({ room }, named(room)) : "none that the hub knows"],
  ];
  const listed = facts.flatMap(([key, value]) => [element("dt", {}, key), element("dd", {}, value)]);
  return [element("dl", { class: "facts" }, ...listed)];
}
