// What a capability asks back before it goes on: a form each, made of the schema of the answer.

import { element, leave, write } from "./dom.mjs";
import { Fields } from "./fields.mjs";
import { plan, read, Unfit } from "./schema.mjs";

const LONGEST_PAYLOAD = 2000; // characters that are shown

export class Questions {
  #place;
  #made = 0;

  constructor(place) {
    this.#place = place;
  }

  /**
   * Show a question, as it is on the wire; `answer(value)` gets its answer, at most once, and
   * `decline()` is called instead, where one may.
   *
   * Returns what takes the question away: nobody waits for its answer any more.
   */
  add({ capability, payload, summary, reply }, { answer, decline = null }) {
    this.#made += 1;
    const id = `question-${this.#made}`;
    const planned = plan(reply ?? {});
    const fields = new Fields(planned, { name: "result", prefix: id });
    const outcome = element("p", { class: "problem", role: "alert" });
    const asked = JSON.stringify(payload ?? null);
    const shown = asked.length > LONGEST_PAYLOAD ? `${asked.slice(0, LONGEST_PAYLOAD)} …` : asked;
    const refuse = { type: "button", onclick: () => end(decline) };
    const form = element(
      "form",
      { class: "question", novalidate: true, "aria-labelledby": id },
      element("h3", { id }, `${capability ?? "It"} asks back`),
      element("p", { class: "about" }, typeof summary === "string" ? summary : ""),
      element("code", {}, shown),
      fields.node,
      element(
        "div",
        { class: "row" },
        element("button", {}, "Answer"),
        ...(decline ? [element("button", refuse, "Decline")] : []),
      ),
      outcome,
    );
    const end = (then) => {
      leave(form, () => form.remove());
      then();
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      try {
        const value = read(planned, fields.filled());
        end(() => answer(value));
      } catch (unfit) {
        if (!(unfit instanceof Unfit)) throw unfit;
        fields.complain(unfit);
        write(outcome, `${unfit.path.join(".") || "result"} ${unfit.message}`);
      }
    });
    this.#place.append(form);
    form.querySelector("input, select, textarea, button").focus();
    return () => leave(form, () => form.remove());
  }

  /** Take all questions away: the request has ended. */
  clear() {
    leave(this.#place, () => this.#place.replaceChildren());
  }
}

/** What is answered to whoever asked, if the viewer does not agree. */
export const declined = {
  success: false,
  error: "the viewer of the mesh page did not agree",
  code: "declined",
  retryable: false,
  details: [],
};

/** The answer on the wire that has a value. */
export function successOf(value) {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? { ...value, success: true } : { success: true, result: value };
}
