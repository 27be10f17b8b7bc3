// How tasks are shown: in a table; and in a task's own view, besides facts, its question, what it
// has come to, and its end.

import { element, leave, named, put, write } from "./dom.mjs";
import { span } from "./figures.mjs";
import { declined, Questions } from "./questions.mjs";
import { Table } from "./table.mjs";
import { hasEnded } from "./tasks.mjs";
import { printable } from "./text.mjs";
import { progressOf } from "./view.mjs";

export class TaskView {
  #place;
  #tasks;
  #id = null;
  #asked = "";
  #questions;
  #cancel;
  #problem = element("p", { class: "problem", role: "alert" });
  #outcome = element("div");

  constructor(place, tasks) {
    this.#place = place;
    this.#tasks = tasks;
    const asked = element("div");
    this.#questions = new Questions(asked);
    const cancel = () => this.#try(() => tasks.cancel(this.#id));
    this.#cancel = element("button", { type: "button", onclick: cancel }, "Cancel the task");
    place.append(asked, this.#outcome, this.#cancel, this.#problem);
  }

  /** Show a task as TASK_GET has it; null hides all. */
  show(task) {
    this.#place.hidden = task === null;
    if ((task?.id ?? null) !== this.#id) {
      this.#id = task?.id ?? null;
      write(this.#problem, "");
    }
    const question = task?.question ?? null;
    const asked = question === null ? "" : JSON.stringify([task.id, task.attempts, question]);
    if (asked !== this.#asked) {
      this.#asked = asked;
      this.#questions.clear();
      if (question) this.#ask(task.id, question);
    }
    if (task === null) return;
    const isOver = hasEnded(task);
    if (this.#cancel.hidden !== isOver) leave(this.#cancel, () => (this.#cancel.hidden = isOver));
    const result = task.result ?? task.error?.details;
    const text = result === undefined ? "" : JSON.stringify(result, null, 2);
    const label = task.error ? "Details of the error" : "Result";
    put(this.#outcome, text, () =>
      text ? [element("pre", { class: "answer", tabindex: "0", "aria-label": label }, text)] : [],
    );
  }

  #ask(id, question) {
    const answer = (value) =>
      this.#try(async () => {
        try {
          await this.#tasks.answer(id, value);
        } finally {
          this.#asked = ""; // the same may be asked again
        }
      });
    this.#questions.add(question, { answer, decline: () => answer(declined) });
  }

  async #try(act) {
    write(this.#problem, "");
    try {
      await act();
    } catch (error) {
      write(this.#problem, `${error.code ?? "link_lost"}: ${error.message}`);
    }
  }
}

/** The table of tasks; `to(place)` is an address. */
export class TaskTable {
  #section;
  #table;

  constructor(section, to) {
    this.#section = section;
    this.#table = new Table(section, { columns: taskColumns(to), keyOf: ({ id }) => id, sorted: 5 });
  }

  /** Show tasks of one room, or of any (null), that fit what is searched; hide it without any. */
  show(tasks, wanted, fits) {
    const all = tasks.filter(({ room }) => wanted === null || room === wanted);
    const found = all.filter(({ id, room, capability, state }) =>
      fits(id, room ?? "", capability, state),
    );
    this.#section.hidden = all.length === 0;
    this.#table.show(found, all.length);
  }
}

function taskColumns(to) {
  return [
    {
      title: "Task",
      kind: "who",
      value: ({ capability }) => capability.toLowerCase(),
      show: (cell, { id, capability }) =>
        put(cell, JSON.stringify([id, to({})]), () => [
          element("a", { href: to({ task: id }), tabindex: "-1" }, named(capability)),
          " ",
          element("small", {}, id.slice(0, 6)),
        ]),
    },
    {
      title: "Room",
      kind: "names",
      value: ({ room }) => room ?? "",
      show: (cell, { room }) => put(cell, String(room), () => (room ? [named(room)] : [])),
    },
    {
      title: "State",
      value: ({ state }) => state,
      show: (cell, { state }) => write(cell, state),
    },
    {
      title: "Progress",
      kind: "number",
      value: ({ progress }) => progress?.fraction ?? null,
      show: (cell, task) => {
        write(cell, task.progress ? `${Math.round(task.progress.fraction * 100)} %` : "–");
        cell.title = printable(progressOf(task));
      },
    },
    {
      title: "Attempts",
      kind: "number wide",
      value: ({ attempts }) => attempts,
      show: (cell, { attempts }) => write(cell, String(attempts)),
    },
    {
      title: "Submitted",
      kind: "number",
      value: ({ created }) => Date.parse(created),
      show: (cell, { created }) =>
        write(cell, `${span((Date.now() - Date.parse(created)) / 1000)} ago`),
    },
  ];
}
