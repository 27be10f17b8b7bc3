// The tasks that the viewer may know of, kept up to date, and the one that is looked at.

const MOST = 1000; // that are kept
const ENDED = ["done", "failed", "cancelled"];

/** Whether a task will never change again. */
export function hasEnded({ state }) {
  return ENDED.includes(state);
}

export class Tasks {
  looked = null; // of the task that is looked at all that the viewer may see; null before
  problem = ""; // why there is none
  #byId = new Map();
  #ask;
  #changed;
  #id = null;
  #isAsking = false;
  #isStale = false;

  /** `ask(event, payload)` asks the hub; `changed()` is called when there is something to show. */
  constructor(ask, changed) {
    this.#ask = ask;
    this.#changed = changed;
  }

  get all() {
    return [...this.#byId.values()];
  }

  /** Ask for all, of one room or of any (null). */
  async load(room) {
    const { tasks } = await this.#ask("TASK_LIST", room === null ? {} : { room });
    this.#byId = new Map(tasks.reverse().map((each) => [each.id, each])); // the oldest first
    this.#changed();
    await this.#refresh();
  }

  /** Hear that a task has changed. */
  heard(task) {
    if (typeof task?.id !== "string") return;
    this.#byId.set(task.id, task);
    if (this.#byId.size > MOST) this.#byId.delete(this.#byId.keys().next().value);
    this.#changed();
    if (task.id === this.#id) this.#refresh();
  }

  /** Look at one task, or at none (null). */
  look(id) {
    if (id === this.#id) return;
    [this.#id, this.looked, this.problem] = [id, null, ""];
    this.#refresh();
  }

  /** Submit a task; returns it. */
  async submit({ room, capability }, payload, timeoutMs) {
    const { task } = await this.#ask("TASK_SUBMIT", { capability, payload, room, timeoutMs });
    this.heard(task);
    return task;
  }

  cancel(id) {
    return this.#act("TASK_CANCEL", { id });
  }

  answer(id, payload) {
    return this.#act("TASK_ANSWER", { id, payload });
  }

  async #act(event, payload) {
    this.heard((await this.#ask(event, payload)).task);
  }

  /** What rooms hear of a task is not all of it; more is asked for, not in parallel. */
  async #refresh() {
    this.#isStale = true;
    if (this.#isAsking) return;
    this.#isAsking = true;
    while (this.#isStale && this.#id !== null) {
      this.#isStale = false;
      const id = this.#id;
      try {
        const { task } = await this.#ask("TASK_GET", { id, watch: true });
        if (id === this.#id) [this.looked, this.problem] = [task, ""];
      } catch (error) {
        // Without a link there is nothing new; it is asked again when there is one.
        if (id === this.#id && error.code) [this.looked, this.problem] = [null, error.message];
      }
      this.#changed();
    }
    this.#isAsking = false;
  }
}
