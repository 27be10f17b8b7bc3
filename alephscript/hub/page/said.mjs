// What is said in the rooms that are looked at, as a list.

import { element, named, who } from "./dom.mjs";
import { clock, Feed } from "./feed.mjs";
import { Timeline } from "./timeline.mjs";

const LONGEST = 20_000; // characters of each
const LINE = 300; // of these, shown without being asked for
const MOST_SAID = 500; // kinds of events of which the last is known

/**
 * The fields of an event in one line, those first that differ from the one before of its kind: what
 * is the same each time says nothing, and would fill the line. Pure.
 */
export function digest(data, before) {
  if (typeof data !== "object" || data === null || Array.isArray(data)) return shown(data);
  const isKnown = (key, value) =>
    Object.hasOwn(before ?? {}, key) && JSON.stringify(before[key]) === JSON.stringify(value);
  const entries = Object.entries(data).map(([key, value]) => ({
    text: `${key}: ${shown(value)}`,
    isOld: isKnown(key, value),
  }));
  const sorted = [...entries.filter((each) => !each.isOld), ...entries.filter((each) => each.isOld)];
  return sorted.map(({ text }) => text).join(" · ");
}

function shown(value) {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "");
}

export class Said {
  #feed;
  #timeline;
  #room = null;
  #before = new Map(); // room and event -> data

  /** `ask(event, payload)` asks the hub, for what was said before. */
  constructor(section, ask) {
    this.#timeline = new Timeline(section.querySelector("#timeline"), {
      ask,
      show: (events) => this.#feed.show(events?.map((each) => this.#keep(each, new Map())) ?? null),
    });
    this.#feed = new Feed(section, {
      noun: "events",
      released: () => this.#timeline.live(),
      kinds: ({ event }) => [event],
      words: ({ room, event, sender, text }) => `${room} ${event} ${sender} ${text}`,
      cells,
      details: ({ room, sender, at, text, isCut }) => [
        element(
          "p",
          { class: "about" },
          ...(sender ? [who(sender), " in "] : []),
          named(room),
          ` at ${at.toLocaleTimeString()}`,
        ),
        element(
          "pre",
          { tabindex: "0" },
          isCut ? `${text}… (cut off)` : JSON.stringify(JSON.parse(text || "null"), null, 2),
        ),
      ],
    });
  }

  /** Take an event `{at, room, event, sender, data}`. */
  add(event) {
    this.#feed.add([this.#keep(event, this.#before)]);
  }

  #keep({ at, room = this.#room, event, sender, data }, before) {
    const text = JSON.stringify(data) ?? "";
    const key = JSON.stringify([room, event]);
    const isCut = text.length > LONGEST;
    const line = isCut ? text.slice(0, LINE) : digest(data, before.get(key));
    before.delete(key);
    if (!isCut) before.set(key, data);
    if (before.size > MOST_SAID) before.delete(before.keys().next().value);
    const kept = { at, room, event, sender: sender ?? "", text: text.slice(0, LONGEST), isCut };
    kept.line = line.length > LINE ? `${line.slice(0, LINE)}…` : line;
    return kept;
  }

  /** Show what is said in one room (null: in all), and by one member (null: by all). */
  look(room, member) {
    this.#room = room;
    this.#timeline.look(room);
    this.#feed.look(
      (each) => (room === null || each.room === room) && (member === null || each.sender === member),
    );
  }
}

function cells({ at, room, event, sender, line }) {
  return [
    clock(at),
    element("b", {}, named(event)),
    element("code", { dir: "ltr" }, line),
    element("span", { class: "where" }, sender ? who(sender) : named(room)),
  ];
}
