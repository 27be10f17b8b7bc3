// Which fields a JSON Schema asks for, and what was filled in as JSON. Pure.
//
// Schemas come from masters, so from anybody: what is not understood becomes a field for JSON. A
// plan has one budget for the whole of it, not for each level: whoever draws it draws a bounded
// tree. Parts of a schema are looked at once, however often they are referred to.

import { printable } from "./text.mjs";

const DEEPEST = 4;
const MOST_FIELDS = 256;
const MOST_CHOICES = 1024;
const MOST_CHARACTERS = 50_000; // of descriptions, and of what fields begin with
const MOST_ALTERNATIVES = 16;
const LONGEST_DESCRIPTION = 500;
const LONGEST_NAME = 256;
const KEYS = "type properties required enum const anyOf description default".split(" ");

/** What was filled in does not fit; `path` names the field, as a list. */
export class Unfit extends Error {
  constructor(path, message) {
    super(message);
    this.path = path;
  }
}

/**
 * The fields of a schema, as a tree of
 * `{kind, description, isNullable, initial}` with `fields` of an object, `choices` of a choice.
 *
 * Kinds: `object`, `text`, `integer`, `number`, `boolean`, `choice`, `list` (JSON), `map` (JSON),
 * `json`. Fields have `name` and `isRequired` besides.
 */
export function plan(schema) {
  return new Planner(schema).plan(schema, 0);
}

/** Plans the fields of one schema, within one budget. */
class Planner {
  #definitions;
  #fields = MOST_FIELDS;
  #choices = MOST_CHOICES;
  #characters = MOST_CHARACTERS;
  #named = new Map(); // properties -> their names, or null if there are too many
  #needed = new Map(); // required -> the names in it

  constructor(root) {
    this.#definitions = isObject(root) && isObject(root.$defs) ? root.$defs : {};
  }

  plan(schema, depth) {
    const [found, isNullable] = this.#resolved(schema);
    const planned = {
      ...this.#kindOf(found, depth),
      description: this.#paid(text(found.description).slice(0, LONGEST_DESCRIPTION)) ?? "",
      isNullable,
    };
    const initial = this.#initial(found.default, planned.kind);
    if (initial !== undefined) planned.initial = initial;
    return planned;
  }

  /** A schema without references and without "or null", and whether it may be null. */
  #resolved(schema) {
    let [found, isNullable] = [known(schema), false];
    for (let step = 0; step < 2 * DEEPEST; step += 1) {
      const { $ref, anyOf, ...besides } = found;
      if (typeof $ref === "string") {
        found = { ...known(this.#definition($ref)), ...besides };
      } else if (Array.isArray(anyOf) && anyOf.length <= MOST_ALTERNATIVES) {
        const others = anyOf.filter((each) => each?.type !== "null");
        isNullable ||= others.length < anyOf.length;
        if (others.length !== 1) return [besides, isNullable];
        found = { ...known(others[0]), ...besides };
      } else {
        return [besides, isNullable];
      }
    }
    return [{}, isNullable];
  }

  #definition(reference) {
    if (reference.length > 2 * LONGEST_NAME) return {};
    const name = reference.replace(/^#\/\$defs\//, "");
    return Object.hasOwn(this.#definitions, name) ? this.#definitions[name] : {};
  }

  #kindOf(schema, depth) {
    const choices = Object.hasOwn(schema, "const") ? [schema.const] : schema.enum;
    if (Array.isArray(choices) && choices.length > 0 && this.#hasChoices(choices)) {
      return { kind: "choice", choices };
    }
    switch (schema.type) {
      case "string":
        return { kind: "text" };
      case "integer":
      case "number":
      case "boolean":
        return { kind: schema.type };
      case "array":
        return { kind: "list" };
      case "object":
        return this.#group(schema, depth) ?? { kind: "map" };
      default:
        return { kind: "json" };
    }
  }

  /** The fields of an object, paid for before what is in them; null if it is to be a mapping. */
  #group({ properties, required }, depth) {
    // Without named fields it is a mapping, except at the top: there it takes nothing.
    if (!isObject(properties) || depth === DEEPEST) return null;
    const names = once(this.#named, properties, namesOf);
    if (names === null || names.length > this.#fields) return null;
    this.#fields -= names.length;
    const needed = once(this.#needed, required, neededOf);
    const fields = names.map((name) => ({
      ...this.plan(properties[name], depth + 1),
      name,
      isRequired: needed.has(name),
    }));
    return { kind: "object", fields };
  }

  #hasChoices(choices) {
    if (choices.length > this.#choices) return false;
    this.#choices -= choices.length;
    return choices.every((each) => this.#paid(each) !== undefined);
  }

  /** What a field begins with, if it can be shown as it is. */
  #initial(value, kind) {
    if (value === undefined || value === null) return undefined;
    if (kind === "text" && printable(value) !== value) return undefined;
    return this.#paid(value);
  }

  /** A value, if the budget has its characters; what is too long uses it up, to be seen once. */
  #paid(value) {
    if (this.#characters <= 0) return undefined;
    this.#characters -= typeof value === "string" ? value.length : JSON.stringify(value).length;
    return this.#characters < 0 ? undefined : value;
  }
}

/** Of a schema, what is understood; it may have any number of other keys. */
function known(schema) {
  const found = {};
  if (!isObject(schema)) return found;
  for (const key of ["$ref", ...KEYS]) {
    if (Object.hasOwn(schema, key)) found[key] = schema[key];
  }
  return found;
}

function once(seen, key, make) {
  if (!seen.has(key)) seen.set(key, make(key));
  return seen.get(key);
}

function namesOf(properties) {
  const names = Object.keys(properties);
  const isFit = names.length <= MOST_FIELDS && names.every((name) => name.length <= LONGEST_NAME);
  return isFit ? names : null;
}

function neededOf(required) {
  return new Set(Array.isArray(required) ? required : []);
}

/**
 * What was filled in, as JSON; undefined if it was left empty and may be left out.
 *
 * `filled` is a string (of a choice, the choice's number), a boolean, or an object of these.
 */
export function read(planned, filled, isRequired = true, path = []) {
  if (planned.kind === "object") return readObject(planned, filled ?? {}, isRequired, path);
  if (planned.kind === "boolean" && typeof filled === "boolean") return filled;
  const said = filled ?? "";
  if (said === "" && !(planned.kind === "text" && isRequired && !planned.isNullable)) {
    if (!isRequired) return undefined;
    if (planned.isNullable) return null;
    throw new Unfit(path, "is needed");
  }
  return READERS[planned.kind](said, planned, path);
}

function readObject({ fields, isNullable }, filled, isRequired, path) {
  const entries = [];
  let [isEmpty, problem] = [true, null];
  for (const field of fields) {
    const said = Object.hasOwn(filled, field.name) ? filled[field.name] : undefined;
    isEmpty &&= isLeftEmpty(said);
    try {
      const value = read(field, said, field.isRequired, [...path, field.name]);
      if (value !== undefined) entries.push([field.name, value]);
    } catch (unfit) {
      problem ??= unfit;
    }
  }
  if (isEmpty && fields.length > 0 && !isRequired) return undefined;
  if (isEmpty && fields.length > 0 && isNullable) return null;
  if (problem) throw problem;
  return Object.fromEntries(entries); // defines, so that a field __proto__ is a field
}

function isLeftEmpty(said) {
  return isObject(said) ? Object.values(said).every(isLeftEmpty) : !said;
}

const READERS = {
  text: (said) => said,
  integer: (said, _, path) => number(said, path, /^[+-]?\d+$/, "is not a whole number"),
  number: (said, _, path) => number(said, path, /\d/, "is not a number"),
  boolean: (said) => said === "true",
  choice: (said, { choices }) => choices[Number(said)],
  list: (said, _, path) => json(said, path, Array.isArray, "is not a list, such as [1, 2]"),
  map: (said, _, path) => json(said, path, isObject, 'is not an object, such as {"a": 1}'),
  json: (said, _, path) => json(said, path, () => true, ""),
};

function number(said, path, shape, otherwise) {
  const value = Number(said);
  if (!shape.test(said.trim()) || !Number.isFinite(value)) throw new Unfit(path, otherwise);
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw new Unfit(path, "is too large to be sent exactly");
  }
  return value;
}

function json(said, path, fits, otherwise) {
  let value;
  try {
    value = JSON.parse(said);
  } catch {
    throw new Unfit(path, "is not JSON");
  }
  if (!fits(value)) throw new Unfit(path, otherwise);
  return value;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value) {
  return typeof value === "string" ? value : "";
}
