// The pure parts of the mesh page.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Decoder } from "socket.io-parser";
import { ceiling, path } from "../../alephscript/hub/page/chart.mjs";
import {
  count,
  duration,
  measured,
  perSecond,
  quantile,
  span,
} from "../../alephscript/hub/page/figures.mjs";
import { learn, parts, short } from "../../alephscript/hub/page/names.mjs";
import { Recent } from "../../alephscript/hub/page/recent.mjs";
import { address, parse } from "../../alephscript/hub/page/route.mjs";
import { digest } from "../../alephscript/hub/page/said.mjs";
import { plan, read, Unfit } from "../../alephscript/hub/page/schema.mjs";
import { backoff, decode, encode } from "../../alephscript/hub/page/socket.mjs";
import { printable } from "../../alephscript/hub/page/text.mjs";

const PAGE = fileURLToPath(new URL("../../alephscript/hub/page/", import.meta.url));

for (const file of readdirSync(PAGE).filter((name) => name.endsWith(".mjs"))) {
  test(`${file} is JavaScript`, () => {
    execFileSync(process.execPath, ["--check", PAGE + file], { stdio: "pipe" });
  });
}

describe("packets", () => {
  test("what is sent is what Socket.IO's own parser reads", () => {
    const read = [];
    const decoder = new Decoder();
    decoder.on("decoded", (packet) => read.push(packet));
    for (const text of [
      encode("connect", { token: "é" }),
      encode("event", ["GET_X", { a: [1] }], 7),
      encode("event", ["SAID"]),
      encode("ack", [{ success: true }], 0),
    ]) {
      assert.equal(text[0], "4");
      decoder.add(text.slice(1));
    }
    assert.deepEqual(read, [
      { type: 0, nsp: "/runtime", data: { token: "é" } },
      { type: 2, nsp: "/runtime", id: 7, data: ["GET_X", { a: [1] }] },
      { type: 2, nsp: "/runtime", data: ["SAID"] },
      { type: 3, nsp: "/runtime", id: 0, data: [{ success: true }] },
    ]);
  });

  test("what the hub sends is read, and what is for others is not", () => {
    assert.deepEqual(decode('0{"pingInterval":25000}'), {
      kind: "open",
      data: { pingInterval: 25000 },
    });
    assert.deepEqual(decode("2"), { kind: "ping" });
    assert.deepEqual(decode("1"), { kind: "close" });
    assert.deepEqual(decode('40/runtime,{"sid":"a"}'), { kind: "connect", data: { sid: "a" } });
    assert.deepEqual(decode("41/runtime,"), { kind: "disconnect" });
    assert.deepEqual(decode('42/runtime,3["E",{"a":"1\\n"}]'), {
      kind: "event",
      ack: 3,
      data: ["E", { a: "1\n" }],
    });
    assert.deepEqual(decode("43/runtime,12[{}]"), { kind: "ack", ack: 12, data: [{}] });
    assert.deepEqual(decode('44/runtime,{"message":"unauthorized"}'), {
      kind: "refused",
      data: { message: "unauthorized" },
    });
    for (const foreign of ['42["E"]', '42/other,["E"]', "3", "6", "451-/runtime,[]", ""]) {
      assert.equal(decode(foreign), null, foreign);
    }
  });

  test("attempts come ever later, up to five seconds, and not all at once", () => {
    assert.deepEqual(
      [0, 1, 2, 9, 99].map((attempt) => backoff(attempt, 1)),
      [250, 500, 1000, 5000, 5000],
    );
    assert.equal(backoff(9, 0), 2500);
  });
});

describe("figures", () => {
  const BUCKETS = [
    [0.01, 50],
    [0.1, 90],
    [1, 100],
    [null, 100],
  ];

  test("a percentile lies within its bucket", () => {
    assert.equal(quantile(BUCKETS, 0.5), 0.01);
    assert.equal(quantile(BUCKETS, 0.25), 0.005);
    assert.ok(Math.abs(quantile(BUCKETS, 0.95) - 0.55) < 1e-9);
  });

  test("nothing is known of no runs, and of what is beyond the last bound only that bound", () => {
    assert.equal(quantile([], 0.95), null);
    assert.equal(
      quantile(
        [
          [0.01, 0],
          [null, 0],
        ],
        0.95,
      ),
      null,
    );
    assert.equal(
      quantile(
        [
          [0.01, 1],
          [10, 1],
          [null, 100],
        ],
        0.95,
      ),
      10,
    );
  });

  test("a step of the hub's makes a rate, failures and a percentile", () => {
    const bounds = [0.1, 1, null];
    const { rate, failures, p95, inFlight } = measured([12, 3, 7, [12, 0, 0]], bounds, 3);
    assert.deepEqual([rate, failures, inFlight], [4, 1, 7]);
    assert.ok(Math.abs(p95 - 0.095) < 1e-9);
    assert.equal(measured([0, 0, 0, [0, 0, 0]], bounds, 3).p95, null);
  });

  test("the requests of the last seconds make figures of each master", () => {
    const recent = new Recent();
    const entry = (master, seconds, code = "ok") => ({ master, seconds, code });
    const at = (now) => {
      const found = [...recent.by(({ master }) => master, now)];
      const whole = ({ rate, failures, p95 }) => [rate * 15, failures * 15, p95].map(Math.round);
      return Object.fromEntries(found.map(([name, each]) => [name, whole(each)]));
    };
    recent.add([], 90);
    recent.add([entry("A", 9)], 95);
    recent.add([entry("A", 1, "no_master"), entry("A", 2), entry("B", 3)], 100);
    assert.deepEqual(at(105), { A: [3, 1, 9], B: [1, 0, 3] });
    recent.add([], 112); // what was told at 95 is too old now
    assert.deepEqual(at(112), { A: [2, 1, 2], B: [1, 0, 3] });
    recent.add([], 200);
    assert.deepEqual(at(200), {});
    recent.add([entry("A", 1)], 201, 9); // the hub kept one in ten
    assert.deepEqual(at(201), { A: [10, 0, 1] });
  });

  test("they are read at a glance", () => {
    assert.deepEqual([0, 0.25, 3, 12.34, 1234.5].map(perSecond), ["0", "0.3", "3", "12.3", "1235"]);
    assert.deepEqual([null, 0.0004, 0.0123, 0.5, 1.25, 12].map(duration), [
      "–",
      "0.4 ms",
      "12 ms",
      "500 ms",
      "1.3 s",
      "12 s",
    ]);
    assert.deepEqual([0, 59, 60, 3661, 360_000].map(span), [
      "0 s",
      "59 s",
      "1 min",
      "1 h 1 min",
      "4 days",
    ]);
    assert.deepEqual([0, 1, 2].map((each) => count(each, "client")), [
      "0 clients",
      "1 client",
      "2 clients",
    ]);
    assert.deepEqual([0, 0.3, 1, 2.1, 70, 501].map(ceiling), [1, 0.5, 1, 5, 100, 1000]);
  });

  test("a line has a gap where nothing is known, and a lonely point is a dot", () => {
    assert.deepEqual(path([1, 2, null, 0], 2, 59), {
      line: "M56 50.00L57 0.00M59 100.00",
      dots: "M59 100.00h0",
    });
    assert.deepEqual(path([null], 1, 59), { line: "", dots: "" });
    assert.equal(path([1], 1, 59).dots, "M59 0.00h0");
  });
});

describe("names and places", () => {
  test("somebody is a usuario and a short session", () => {
    learn("Persefon", "-c4dfdbb28bcbd6d");
    assert.deepEqual(parts("Persefon-c4dfdbb28bcbd6d"), {
      usuario: "Persefon",
      session: "c4dfdb",
    });
    assert.deepEqual(parts("of nobody"), { usuario: "of nobody", session: "" });
    assert.deepEqual(["", "-", "-1", "_é2"].map(short), ["", "", "1", "é2"]);
  });

  test("an address keeps what is looked at, whatever its name", () => {
    for (const name of ["ROOM", "a b&c=d#e?f/100%", "山田 👩", "__proto__", "<img src=x>"]) {
      const wanted = { room: name, member: null, capability: name, of: name, task: null };
      assert.deepEqual(parse(address(wanted)), wanted);
    }
    assert.equal(address({ room: "AAIA_ROOM" }), "#room=AAIA_ROOM");
    assert.equal(address({ room: null }), "#");
    const nothing = { room: null, member: null, capability: null, of: null, task: null };
    for (const foreign of ["", "#", "#%", "#room=", "#x=1", "#events"]) {
      assert.deepEqual(parse(foreign), nothing);
    }
  });

  test("of an event that is seen first which differs from the one before", () => {
    const before = { sessionId: "s", step: 1, deep: { a: [1] } };
    assert.equal(digest(before, undefined), 'sessionId: s · step: 1 · deep: {"a":[1]}');
    const after = { sessionId: "s", step: 2, deep: { a: [2] }, new: null };
    assert.equal(digest(after, before), 'step: 2 · deep: {"a":[2]} · new: null · sessionId: s');
    assert.deepEqual(
      [1, "text", null, [1], {}, undefined].map((each) => digest(each, before)),
      ["1", "text", "null", "[1]", "", ""],
    );
    assert.equal(digest(JSON.parse('{"__proto__": 1}'), {}), "__proto__: 1");
    assert.equal(digest({ toString: 1 }, {}), "toString: 1");
  });
});

describe("forms", () => {
  const STEP = {
    type: "object",
    description: "One step.",
    properties: { sessionId: { type: "string" }, fiaIndex: { type: "integer" } },
    required: ["sessionId", "fiaIndex"],
  };
  const PERCEPTO = {
    type: "object",
    properties: {
      percepto: { $ref: "#/$defs/Percepto" },
      fast: { type: "boolean", default: true },
    },
    required: ["percepto"],
    $defs: {
      Percepto: {
        type: "object",
        properties: {
          tipo: { $ref: "#/$defs/Tipo" },
          payload: { type: "object" },
          fuente: { anyOf: [{ type: "string" }, { type: "null" }], default: null },
          weights: { type: "array", items: { type: "number" } },
        },
        required: ["tipo", "payload"],
      },
      Tipo: { enum: ["comando", "evento"], description: "Where it is from." },
    },
  };

  const unfit = (schema, filled) => {
    try {
      read(plan(schema), filled);
    } catch (error) {
      assert.ok(error instanceof Unfit);
      return [error.path.join("."), error.message];
    }
    return assert.fail("it fits");
  };

  test("a flat schema is fields of their kinds", () => {
    const { kind, description, fields } = plan(STEP);
    assert.deepEqual([kind, description], ["object", "One step."]);
    assert.deepEqual(
      fields.map(({ name, kind: of, isRequired }) => [name, of, isRequired]),
      [
        ["sessionId", "text", true],
        ["fiaIndex", "integer", true],
      ],
    );
    assert.deepEqual(read(plan(STEP), { sessionId: "s", fiaIndex: " 3 " }), {
      sessionId: "s",
      fiaIndex: 3,
    });
  });

  test("references, choices, mappings and what may be null are found", () => {
    const [percepto, fast] = plan(PERCEPTO).fields;
    assert.deepEqual(
      percepto.fields.map(({ kind }) => kind),
      ["choice", "map", "text", "list"],
    );
    assert.deepEqual(percepto.fields[0].description, "Where it is from.");
    assert.deepEqual([percepto.fields[2].isNullable, percepto.fields[2].isRequired], [true, false]);
    assert.deepEqual([fast.kind, fast.initial], ["boolean", true]);
  });

  test("what is left empty is left out, or null where that is needed", () => {
    const filled = {
      percepto: { tipo: "0", payload: '{"a": 1}', fuente: "", weights: "" },
      fast: "",
    };
    assert.deepEqual(read(plan(PERCEPTO), filled), {
      percepto: { tipo: "comando", payload: { a: 1 } },
    });
    const nullable = { anyOf: [{ type: "integer" }, { type: "null" }] };
    const schema = { type: "object", properties: { n: nullable, o: STEP }, required: ["n"] };
    assert.deepEqual(read(plan(schema), { n: "", o: { sessionId: "", fiaIndex: "" } }), {
      n: null,
    });
    assert.deepEqual(read(plan({ type: "object", properties: {} }), {}), {});
    assert.deepEqual(
      read(plan({ type: "object", properties: { s: { type: "string" } }, required: ["s"] }), {}),
      { s: "" },
    );
  });

  test("what does not fit is said of its field", () => {
    assert.deepEqual(unfit(STEP, { sessionId: "s", fiaIndex: "1.5" }), [
      "fiaIndex",
      "is not a whole number",
    ]);
    assert.deepEqual(unfit(STEP, { sessionId: "s", fiaIndex: "" }), ["fiaIndex", "is needed"]);
    assert.deepEqual(unfit(STEP, { sessionId: "s", fiaIndex: "9007199254740993" }), [
      "fiaIndex",
      "is too large to be sent exactly",
    ]);
    const percepto = (fields) => ({ percepto: { tipo: "1", payload: "{}", ...fields } });
    assert.deepEqual(unfit(PERCEPTO, percepto({ payload: "{" })), [
      "percepto.payload",
      "is not JSON",
    ]);
    assert.deepEqual(unfit(PERCEPTO, percepto({ weights: "1" }))[0], "percepto.weights");
    assert.deepEqual(unfit(PERCEPTO, percepto({ tipo: "" })), ["percepto.tipo", "is needed"]);
  });

  test("whatever a master declares becomes a form: at worst one for JSON", () => {
    const loop = { $ref: "#/$defs/A", $defs: { A: { $ref: "#/$defs/A" } } };
    const deep = {
      $ref: "#/$defs/A",
      $defs: { A: { type: "object", properties: { a: { $ref: "#/$defs/A" } } } },
    };
    for (const schema of [
      {},
      null,
      [],
      "x",
      3,
      true,
      loop,
      { anyOf: [{ type: "string" }, { type: "integer" }] },
    ]) {
      assert.equal(plan(schema).kind, "json", JSON.stringify(schema));
    }
    assert.deepEqual(read(plan({}), "[1]"), [1]);
    assert.match(JSON.stringify(plan(deep)), /"kind":"map"/);
    const odd = { type: "object", properties: { ["__proto__"]: { type: "integer" } }, required: 7 };
    assert.equal(plan(odd).kind, "object");
    const own = JSON.parse('{"type": "object", "properties": {"__proto__": {"type": "integer"}}}');
    const filled = Object.fromEntries([["__proto__", "3"]]);
    assert.equal(JSON.stringify(read(plan(own), filled)), '{"__proto__":3}');
  });
});

/** What a browser has to draw of a plan: fields and choices, and their characters. */
function sizeOf({ fields = [], choices = [], description, initial }) {
  const own = { drawn: 1 + choices.length, characters: description.length };
  own.characters += JSON.stringify([choices, initial ?? null]).length;
  for (const field of fields) {
    const { drawn, characters } = sizeOf(field);
    own.drawn += drawn;
    own.characters += characters + field.name.length;
  }
  return own;
}

const MANY = Array.from({ length: 100_000 }, (_, number) => `c${number}`);
const LONG = "x".repeat(900_000);

function fieldsOf(count, schema) {
  return Object.fromEntries(Array.from({ length: count }, (_, number) => [`f${number}`, schema]));
}

function shared(definition) {
  const properties = fieldsOf(200, { $ref: "#/$defs/B" });
  return { type: "object", properties, $defs: { B: definition } };
}

function deep(count, levels) {
  const $defs = { [`A${levels}`]: { type: "string" } };
  for (let level = 0; level < levels; level += 1) {
    const properties = fieldsOf(count, { $ref: `#/$defs/A${level + 1}` });
    $defs[`A${level}`] = { type: "object", properties, required: Object.keys(properties) };
  }
  return { $ref: "#/$defs/A0", $defs };
}

function ownKind(count) {
  const A = { type: "object", properties: fieldsOf(count, { $ref: "#/$defs/A" }) };
  return { $ref: "#/$defs/A", $defs: { A } };
}

const STRANGE = {
  "24 fields of its own kind": ownKind(24),
  "256 fields of its own kind": ownKind(256),
  "10,000 fields": ownKind(10_000),
  "20 fields six deep": deep(20, 6),
  "a long name": { type: "object", properties: { [LONG]: {} }, required: [LONG] },
  "a long reference": { $ref: `#/$defs/${LONG}`, $defs: { [LONG]: {} } },
  "a long description": shared({ description: LONG }),
  "a long default": shared({ type: "string", default: LONG }),
  "many choices": shared({ enum: MANY }),
  "some choices": shared({ enum: MANY.slice(0, 300) }),
  "many fields": shared({ type: "object", properties: fieldsOf(100_000, {}), required: MANY }),
  "many alternatives": shared({ anyOf: MANY.map(() => ({})) }),
  "many keys": shared(fieldsOf(100_000, 1)),
  "an enum of another type": { enum: 5 },
  "an enum of nothing": { enum: [] },
  "properties of another type": { type: "object", properties: [1], required: [1] },
  "references of another type": { $ref: 5, $defs: [1] },
};

describe("schemas of strangers", () => {
  for (const [name, schema] of Object.entries(STRANGE)) {
    test(`a form is as large as its budget, whatever its schema: ${name}`, () => {
      const { drawn, characters } = sizeOf(plan(schema));
      assert.ok(drawn <= 1500, `${drawn} fields and choices`);
      assert.ok(characters <= 150_000, `${characters} characters`);
    });
  }

  test("parts that are referred to often are looked at once", () => {
    let looks = 0;
    const counted = new Proxy(fieldsOf(1000, {}), {
      ownKeys: (target) => {
        looks += 1;
        return Reflect.ownKeys(target);
      },
    });
    plan(shared({ type: "object", properties: counted }));
    assert.equal(looks, 1);
  });

  test("siblings are kept before what is in them", () => {
    const planned = plan(ownKind(24));
    assert.equal(planned.fields.length, 24);
    assert.ok(planned.fields.every(({ kind }) => ["object", "map"].includes(kind)));
  });
});

describe("text of strangers", () => {
  test("what a browser obeys is escaped as JSON does", () => {
    for (let code = 0; code < 0x3000; code += 1) {
      const each = String.fromCodePoint(code);
      const shown = printable(each);
      assert.doesNotMatch(
        shown,
        // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
        /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/,
      );
      if (shown !== each) assert.equal(JSON.parse(`"${shown}"`), each);
    }
    assert.equal(printable("\u{e0001}\ud800"), "\\udb40\\udc01\\ud800");
    assert.equal(printable("a\nb\u202e", { lines: true }), "a\nb\\u202e");
  });

  test("honest text stays as it is", () => {
    const texts = ["Sala-é🦤", "👩\u200d💻", "\u0645\u06cc\u200c\u062e", "山田\u3000太郎", "[/boom]"];
    for (const each of texts) {
      assert.equal(printable(each), each);
    }
  });
});
