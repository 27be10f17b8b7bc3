// The form that tries a capability, built from the JSON Schema that its master declared.

import { element, write } from "./dom.mjs";
import { Fields } from "./fields.mjs";
import { duration } from "./figures.mjs";
import { declined, Questions, successOf } from "./questions.mjs";
import { plan, read, Unfit } from "./schema.mjs";
import { printable } from "./text.mjs";

const DEFAULT_SECONDS = 10;
const MOST_PARTS = 200; // shown of a streamed answer, the latest

export const keyOf = ({ room, capability }) => JSON.stringify([room, capability]);

/** The section in which a capability is chosen, filled in, called and answered. */
export class Trial {
  #parts;
  #call;
  #submitTask;
  #offers = [];
  #listed = "";
  #chosen = "";
  #schema = null;
  #fields = null;
  #planned = null;
  #cancel = null;
  #questions;

  /** `call(offer, payload, timeoutMs, hooks)` returns `{answer, cancel}`, `submit(offer, payload, timeoutMs)` a task. */
  constructor(form, call, submit) {
    const part = (name) => form.querySelector(`[data-part="${name}"]`);
    const names = [
      "capability",
      "summary",
      "fields",
      "seconds",
      "call",
      "cancel",
      "task",
      "outcome",
      "answer",
    ];
    this.#parts = Object.fromEntries(names.map((name) => [name, part(name)]));
    this.#call = call;
    this.#submitTask = submit;
    this.#questions = new Questions(form.parentElement.querySelector('[data-part="questions"]'));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#parts.capability.addEventListener("change", ({ target }) => this.choose(target.value));
    this.#parts.cancel.addEventListener("click", () => this.#cancel?.());
    this.#parts.task.addEventListener("click", () => this.#handOver());
    this.offer([]);
  }

  /** Take note of what can be called now. */
  offer(offers) {
    this.#offers = offers;
    const keys = JSON.stringify(offers.map(keyOf));
    if (keys !== this.#listed) {
      this.#listed = keys;
      const groups = [...grouped(offers)].map(([room, several]) => {
        const options = several.map((each) =>
          element("option", { value: keyOf(each) }, printable(each.capability)),
        );
        return element("optgroup", { label: room }, ...options);
      });
      this.#parts.capability.replaceChildren(...groups);
    }
    const isThere = offers.some((each) => keyOf(each) === this.#chosen);
    this.choose(isThere || offers.length === 0 ? this.#chosen : keyOf(offers[0]));
  }

  /** Choose what to call, by its key; what is filled in stays as long as its schema does. */
  choose(key, { focus = false } = {}) {
    const { capability, summary, fields, seconds, call, task } = this.#parts;
    const offer = this.#offers.find((each) => keyOf(each) === key);
    call.disabled = !offer || this.#cancel !== null;
    task.disabled = !offer;
    if (!offer) return;
    capability.value = key;
    const schema = JSON.stringify([key, offer.request ?? null]);
    if (schema !== this.#schema) {
      this.#chosen = key;
      this.#schema = schema;
      this.#planned = plan(offer.request ?? {});
      this.#fields = new Fields(this.#planned);
      fields.replaceChildren(this.#fields.node);
      seconds.value = (offer.timeoutMs ?? DEFAULT_SECONDS * 1000) / 1000;
    }
    write(summary, offer.summary ?? "Its master does not say what it does or takes.");
    if (focus) (fields.querySelector("input, select, textarea") ?? call).focus();
  }

  async #submit() {
    const offer = this.#offers.find((each) => keyOf(each) === this.#chosen);
    if (!offer || this.#cancel !== null) return;
    const { call, cancel, answer } = this.#parts;
    const payload = this.#read();
    if (payload === undefined) return;
    const parts = [];
    const said = (text) => this.#say("running", text);
    const hooks = {
      progress: ({ fraction, message }) => said(`${percent(fraction)} ${message ?? ""}`),
      ask: (question, answer) =>
        this.#questions.add(question, {
          answer: (value) => answer(successOf(value)),
          decline: () => answer(declined),
        }),
      part: (data) => {
        parts.push(JSON.stringify(data));
        write(answer, parts.slice(-MOST_PARTS).join("\n"));
        said(`${parts.length} parts so far`);
      },
    };
    write(answer, "");
    said(`asking ${offer.room} …`);
    const began = performance.now();
    const took = () => duration((performance.now() - began) / 1000);
    call.disabled = true;
    cancel.disabled = false;
    try {
      const asked = this.#call(
        offer,
        payload,
        this.#milliseconds,
        hooks,
      );
      this.#cancel = asked.cancel;
      const { success, ...fields } = await asked.answer;
      if (!parts.length) write(answer, JSON.stringify(fields, null, 2));
      this.#say("ok", `answered in ${took()}${parts.length ? `, in ${parts.length} parts` : ""}`);
    } catch (error) {
      this.#say("failed", `${error.code ?? "link_lost"} after ${took()}: ${error.message}`);
      if (error.details?.length) write(answer, JSON.stringify(error.details, null, 2));
    } finally {
      this.#cancel = null;
      this.#questions.clear();
      cancel.disabled = true;
      call.disabled = false;
    }
  }

  /** Submit what is filled in as a task, which goes on when this page is closed. */
  async #handOver() {
    const offer = this.#offers.find((each) => keyOf(each) === this.#chosen);
    const payload = offer && this.#read();
    if (payload === undefined) return;
    try {
      await this.#submitTask(offer, payload, this.#milliseconds);
    } catch (error) {
      this.#say("failed", `${error.code ?? "link_lost"}: ${error.message}`);
    }
  }

  get #milliseconds() {
    return Math.max(1, Number(this.#parts.seconds.value) * 1000 || 1);
  }

  /** What is filled in; undefined if it does not fit, which is said where. */
  #read() {
    try {
      const payload = read(this.#planned, this.#fields.filled());
      this.#fields.complain(null);
      return payload;
    } catch (unfit) {
      if (!(unfit instanceof Unfit)) throw unfit;
      this.#say("failed", `${unfit.path.join(".") || "payload"} ${unfit.message}`);
      this.#fields.complain(unfit);
    }
  }

  #say(state, text) {
    const { outcome } = this.#parts;
    outcome.dataset.state = state;
    write(outcome, text);
  }
}

/** Offers by room; Map.groupBy is too young. */
function grouped(offers) {
  const rooms = new Map();
  for (const offer of offers) {
    if (!rooms.has(offer.room)) rooms.set(offer.room, []);
    rooms.get(offer.room).push(offer);
  }
  return rooms;
}

function percent(fraction) {
  return typeof fraction === "number" ? `${Math.round(fraction * 100)} %` : "under way";
}
