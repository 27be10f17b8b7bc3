// Which fields a JSON Schema asks for, and what was filled in as JSON. Pure.
//
// Schemas come from masters, so from anybody: what is not understood becomes a field for JSON.

const DEEPEST = 4;
const MOST_FIELDS = 64;

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
export function plan(schema, root = schema, depth = 0) {
  const [found, isNullable] = resolved(schema, root);
  const planned = {
    ...kindOf(found, root, depth),
    description: text(found.description),
    isNullable,
  };
  if (found.default !== undefined && found.default !== null) planned.initial = found.default;
  return planned;
}

/** A schema without references and without "or null", and whether it may be null. */
function resolved(schema, root) {
  let [found, isNullable] = [schema, false];
  for (let step = 0; step < 2 * DEEPEST; step += 1) {
    if (!isObject(found)) return [{}, isNullable];
    if (typeof found.$ref === "string") {
      const name = found.$ref.replace(/^#\/\$defs\//, "");
      const known = isObject(root.$defs) && Object.hasOwn(root.$defs, name);
      const { $ref, ...besides } = found;
      found = known && isObject(root.$defs[name]) ? { ...root.$defs[name], ...besides } : {};
    } else if (Array.isArray(found.anyOf)) {
      const others = found.anyOf.filter((each) => each?.type !== "null");
      isNullable ||= others.length < found.anyOf.length;
      const { anyOf, ...besides } = found;
      if (others.length !== 1) return [besides, isNullable];
      found = { ...others[0], ...besides };
    } else {
      return [found, isNullable];
    }
  }
  return [{}, isNullable];
}

function kindOf(schema, root, depth) {
  if (Array.isArray(schema.enum)) return { kind: "choice", choices: schema.enum };
  if (Object.hasOwn(schema, "const")) return { kind: "choice", choices: [schema.const] };
  switch (schema.type) {
    case "string":
      return { kind: "text" };
    case "integer":
    case "number":
    case "boolean":
      return { kind: schema.type };
    case "array":
      return { kind: "list" };
    case "object": {
      const named = isObject(schema.properties) ? Object.entries(schema.properties) : null;
      // Without named fields it is a mapping, except at the top: there it takes nothing.
      if (named === null || named.length > MOST_FIELDS || depth === DEEPEST) return { kind: "map" };
      const required = Array.isArray(schema.required) ? schema.required : [];
      const fields = named.map(([name, each]) => ({
        ...plan(each, root, depth + 1),
        name,
        isRequired: required.includes(name),
      }));
      return { kind: "object", fields };
    }
    default:
      return { kind: "json" };
  }
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
