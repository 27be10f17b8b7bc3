// The fields that a schema asks for, as elements to be filled in.

import { element, write } from "./dom.mjs";
import { printable } from "./text.mjs";

const JSON_KINDS = ["list", "map", "json"];

/** The fields of a plan in the page: `node`, `filled()` as `read` wants it, `inputs` by path. */
export class Fields {
  inputs = new Map(); // path as JSON -> {input, problem}
  #prefix;

  /** Of a value that is no object, `name` is what it is called; `prefix` begins the ids. */
  constructor(planned, { name = "payload", prefix = "field" } = {}) {
    this.#prefix = prefix;
    const known = planned.kind === "object";
    const whole = { ...planned, name, isRequired: true };
    if (name === "payload") whole.initial ??= {};
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
    const id = `${this.#prefix}-${this.inputs.size}`;
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
