// The form that tries a capability, built from the JSON Schema that its master declared.

import { element, write } from "./dom.mjs";
import { duration } from "./figures.mjs";
import { plan, read, Unfit } from "./schema.mjs";
import { printable } from "./text.mjs";

const DEFAULT_SECONDS = 10;
const MOST_PARTS = 200; // shown of a streamed answer, the latest
const JSON_KINDS = ["list", "map", "json"];

export const keyOf = ({ room, capability }) => JSON.stringify([room, capability]);

/** The fields of a plan in the page: `node`, `filled()` as `read` wants it, `inputs` by path. */
class Fields {
  inputs = new Map(); // path as JSON -> {input, problem}

  constructor(planned) {
    const known = planned.kind === "object";
    const whole = { ...planned, name: "payload", isRequired: true, initial: planned.initial ?? {} };
    const { node, filled } = known ? this.#group(planned, []) : this.#labelled(whole, []);
    [this.node, this.filled] = [node, filled];
  }

  #group({ fields }, path) {
    const made = fields.map((field) => {
      const at = [...path, field.name];
      if (field.kind !== "object") return { name: field.name, ...this.#labelled(field, at) };
      const { node, filled } = this.#group(field, at);
      const legend = element("legend", {}, printable(field.name), ...note(field));
      return { name: field.name, node: element("fieldset", {}, legend, node), filled };
    });
    return {
      node: element("div", { class: "fields" }, ...made.map(({ node }) => node)),
      filled: () => Object.fromEntries(made.map(({ name, filled }) => [name, filled()])),
    };
  }

  #labelled(field, path) {
    const id = `field-${this.inputs.size}`;
    const problem = element("span", { class: "problem", id: `${id}-problem` });
    const described = { id, "aria-describedby": `${id}-about ${id}-problem` };
    const { input, filled } = control(field, described);
    this.inputs.set(JSON.stringify(path), { input, problem });
    const about = element("span", { class: "about", id: `${id}-about` }, field.description);
    const label = element("label", { for: id }, printable(field.name), ...note(field));
    return { node: element("div", { class: "field" }, label, input, about, problem), filled };
  }

  /** Say what is wrong where, or that nothing is. */
  complain(unfit) {
    for (const [path, { input, problem }] of this.inputs) {
      const isMeant = unfit !== null && path === JSON.stringify(unfit.path);
      write(problem, isMeant ? unfit.message : "");
      input.toggleAttribute("aria-invalid", isMeant);
      if (isMeant) input.focus();
    }
  }
}

function note({ isRequired, kind }) {
  const type =
    { object: "", map: "JSON object", list: "JSON list", json: "JSON", choice: "" }[kind] ?? kind;
  const said = [type, isRequired ? "" : "optional"].filter(Boolean).join(", ");
  return said ? [" ", element("small", {}, said)] : [];
}

function control(field, attributes) {
  const { kind, initial, isRequired } = field;
  if (kind === "boolean" && isRequired) {
    const input = element("input", { ...attributes, type: "checkbox", checked: initial === true });
    return { input, filled: () => input.checked };
  }
  if (kind === "choice" || kind === "boolean") {
    const choices = kind === "choice" ? field.choices : [true, false];
    const options = choices.map((choice, index) => {
      const value = kind === "choice" ? String(index) : String(choice);
      const selected = choice === initial;
      return element(
        "option",
        { value, selected },
        typeof choice === "string" ? choice : JSON.stringify(choice),
      );
    });
    if (!isRequired || choices.length !== 1) options.unshift(element("option", { value: "" }, "–"));
    const input = element("select", attributes, ...options);
    return { input, filled: () => input.value };
  }
  const isJson = JSON_KINDS.includes(kind);
  const numeric = { integer: "numeric", number: "decimal" }[kind];
  const input = isJson
    ? element("textarea", { ...attributes, rows: 3, spellcheck: "false" })
    : element("input", { ...attributes, type: "text", autocomplete: "off", inputmode: numeric });
  if (initial !== undefined) {
    input.value = isJson ? printable(JSON.stringify(initial)) : String(initial);
  }
  return { input, filled: () => input.value };
}

/** The section in which a capability is chosen, filled in, called and answered. */
export class Trial {
  #parts;
  #call;
  #offers = [];
  #listed = "";
  #chosen = "";
  #schema = null;
  #fields = null;
  #planned = null;
  #cancel = null;

  /** `call(offer, payload, timeoutMs, hooks)` returns `{answer, cancel}`. */
  constructor(form, call) {
    const part = (name) => form.querySelector(`[data-part="${name}"]`);
    const names = [
      "capability",
      "summary",
      "fields",
      "seconds",
      "call",
      "cancel",
      "outcome",
      "answer",
    ];
    this.#parts = Object.fromEntries(names.map((name) => [name, part(name)]));
    this.#call = call;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#parts.capability.addEventListener("change", ({ target }) => this.choose(target.value));
    this.#parts.cancel.addEventListener("click", () => this.#cancel?.());
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
    const { capability, summary, fields, seconds, call } = this.#parts;
    const offer = this.#offers.find((each) => keyOf(each) === key);
    call.disabled = !offer || this.#cancel !== null;
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
    const { seconds, call, cancel, answer } = this.#parts;
    let payload;
    try {
      payload = read(this.#planned, this.#fields.filled());
      this.#fields.complain(null);
    } catch (unfit) {
      if (!(unfit instanceof Unfit)) throw unfit;
      this.#say("failed", `${unfit.path.join(".") || "payload"} ${unfit.message}`);
      return this.#fields.complain(unfit);
    }
    const parts = [];
    const said = (text) => this.#say("running", text);
    const hooks = {
      progress: ({ fraction, message }) => said(`${percent(fraction)} ${message ?? ""}`),
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
        Math.max(1, Number(seconds.value) * 1000 || 1),
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
      cancel.disabled = true;
      call.disabled = false;
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
