// The own view of a member, or of a capability: what is known of it, with links to what it is about.

import { element, named, put, who, write } from "./dom.mjs";
import { duration, perSecond, span } from "./figures.mjs";
import { hasEnded } from "./tasks.mjs";

const MOST_LINKS = 30; // of one fact
const MOST_OTHERS = 3; // rooms that are only to show that there are some

export class View {
  #section;
  #part;
  #shown = "";

  constructor(section) {
    this.#section = section;
    this.#part = (name) => section.querySelector(`#view-${name}`);
  }

  /**
   * Show facts: `{key, kind, title, summary, close, facts}`, with `title` as `put` wants it, `close`
   * the address without the view and `facts` a list of `[name, text, nodes()]`; null hides it.
   */
  show(view) {
    this.#section.hidden = view === null;
    const key = view?.key ?? "";
    const isNew = key !== this.#shown;
    this.#shown = key;
    if (view === null) return;
    put(this.#part("title"), view.key + view.title.text, view.title.nodes);
    write(this.#part("kind"), view.kind);
    write(this.#part("summary"), view.summary);
    this.#part("close").setAttribute("href", view.close);
    const known = view.facts.filter(([, text]) => text !== "");
    put(this.#part("facts"), JSON.stringify(known.map(([name, text]) => [name, text])), () =>
      known.map(([name, text, nodes]) =>
        element("div", {}, element("dt", {}, name), element("dd", {}, ...(nodes?.() ?? [text]))),
      ),
    );
    if (isNew) this.#section.scrollIntoView({ block: "nearest" });
  }
}

/** Links to the first of several, and how many more there are, as `[name, text, nodes()]`. */
function links(name, several, href, shown, most = MOST_LINKS) {
  const more = several.slice(most);
  const nodes = () => [
    ...several
      .slice(0, most)
      .flatMap((each, index) => [
        ...(index ? [", "] : []),
        element("a", { href: href(each) }, shown(each)),
      ]),
    ...(more.length
      ? [" ", element("span", { title: more.join(", ") }, `and ${more.length} more`)]
      : []),
  ];
  return [name, several.join("\n"), nodes];
}

/** What there is to say of a member. */
export function memberFacts({ name, member, about, health, live, offers, to }) {
  const { since, address, transport } = live ?? {};
  return [
    ["answers in", health === undefined ? "" : health === null ? "no answer" : duration(health)],
    ["here since", since ? new Date(since * 1000).toLocaleString() : ""],
    ["for", since ? span(Date.now() / 1000 - since) : ""],
    ["address", address ?? ""],
    ["transport", transport ?? ""],
    ["version", about?.version ?? ""],
    links("masters", member?.mastered ?? [], (room) => to({ room }), named),
    links("is in", member?.rooms ?? [], (room) => to({ room }), named),
    links(
      "offers",
      offers.map(({ capability }) => capability),
      (capability) => {
        const { room } = offers.find((each) => each.capability === capability);
        return to({ capability, of: room });
      },
      named,
    ),
    ["full name", name],
  ];
}

/** How far a task is, as it has reported itself. */
export function progressOf({ progress }) {
  if (!progress) return "";
  return `${Math.round(progress.fraction * 100)} % ${progress.message}`.trim();
}

/** The view of a task, as `View.show` wants it; `problem` says why there is none. */
export function taskLook({ id, task, problem, close, to }) {
  return {
    key: JSON.stringify(["task", id]),
    kind: "task",
    title: { text: task?.capability ?? "", nodes: () => [named(task?.capability ?? id)] },
    summary: problem,
    close,
    facts: task ? taskFacts(task, to) : [],
  };
}

function taskFacts(task, to) {
  const { capability, room, created, updated, error } = task;
  return [
    ["state", task.state],
    ["progress", progressOf(task)],
    ["failed with", error ? `${error.code}: ${error.error}` : ""],
    links("capability", [capability], () => to({ capability, of: room }), named),
    links("room", room ? [room] : [], (each) => to({ room: each }), named),
    ["attempts", String(task.attempts)],
    ["submitted", new Date(created).toLocaleString()],
    ["changed", new Date(updated).toLocaleString()],
    ["took", hasEnded(task) ? duration((Date.parse(updated) - Date.parse(created)) / 1000) : ""],
    ["id", task.id],
  ];
}

/**
 * What there is to say of a capability; `offer` as GET_CAPABILITIES has it, `others` the further
 * rooms that have one of that name, `since` when the first of its masters came, if that is known.
 */
export function capabilityFacts({ offer, others, since, figures, ended, to }) {
  const failed = ended ? Object.entries(ended).filter(([code]) => code !== "ok") : [];
  const all = ended ? Object.values(ended).reduce((sum, each) => sum + each, 0) : 0;
  return [
    links("room", [offer.room], (room) => to({ room }), named),
    links("answered by", offer.masters, (member) => to({ member }), who),
    links("also in", others, (of) => to({ capability: offer.capability, of }), named, MOST_OTHERS),
    ["group", offer.group],
    ["served since", since ? new Date(since * 1000).toLocaleString() : ""],
    ["epoch", String(offer.epoch)],
    ["lately", figures ? `${perSecond(figures.rate)}/s, p95 ${duration(figures.p95)}` : ""],
    ["in all rooms so far", ended ? String(all) : ""],
    ["of these failed", failed.map(([code, count]) => `${code} ${count}`).join(", ")],
    ["time limit", offer.timeoutMs ? duration(offer.timeoutMs / 1000) : ""],
    ["idempotent", offer.idempotent === true ? "yes: may run again" : ""],
    ["answer", offer.streams ? "in parts" : ""],
  ];
}
