// The hub of this directory does what stock hubs do.
//
// Nothing here waits for time to pass. Every socket writes down what it receives, in order; to
// show that something did not arrive, a marker is sent after it by the same path and must be
// the next thing seen.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, afterEach, beforeEach, describe, test } from "node:test";
import { io } from "socket.io-client";
import { startHub } from "./upstream_hub.mjs";

const ROOM = "AAIA_ROOM";
const PATIENCE_MS = 5_000; // for anything that must come; only a failing test spends it

let hub;
let peers = [];

async function useHub(options) {
  hub = await startHub(options);
}

afterEach(async () => {
  for (const peer of peers) peer.socket.disconnect();
  peers = [];
  await hub?.close();
  hub = undefined;
});

/** A wait that ends, if not as hoped. */
async function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A stock client that keeps what it receives until somebody asks for it. */
class Peer {
  #received = [];
  #wake = () => {};

  constructor(url, namespace = "/runtime", options = {}) {
    this.socket = io(url + namespace, { forceNew: true, reconnection: false, ...options });
    this.socket.onAny((event, ...args) => {
      this.#received.push([event, ...args]);
      this.#wake();
    });
    peers.push(this);
  }

  get id() {
    return this.socket.id;
  }

  async connected() {
    const outcome = new Promise((resolve, reject) => {
      this.socket.once("connect", resolve);
      this.socket.once("connect_error", reject);
    });
    await within(outcome, "the connection");
    return this;
  }

  /** The payload of the next event of that name, which stays to be seen. */
  async next(event) {
    return (await within(once(this.socket, event), event))[0];
  }

  emit(...args) {
    this.socket.emit(...args);
    return this;
  }

  say(event, data, extra = {}) {
    return this.emit("ROOM_MESSAGE", { event, room: ROOM, data, ...extra });
  }

  /** Assert what came since the last call: exactly these events, in this order. */
  async sees(...expected) {
    while (this.#received.length < expected.length) {
      const arrival = new Promise((resolve) => (this.#wake = resolve));
      await within(arrival, JSON.stringify(expected[this.#received.length]));
    }
    assert.deepEqual(this.#received.splice(0, expected.length), expected);
  }

  /** Wait until the hub has handled all that this peer sent: it answers its own marker. */
  async settled() {
    const own = `own:${this.id}`;
    this.emit("CLIENT_SUSCRIBE", { room: own });
    this.emit("ROOM_MESSAGE", { event: "MARK", room: own, data: own });
    await this.sees(["MARK", own]);
    return this;
  }
}

async function joined(name, room = ROOM, namespace = "/runtime", options = {}) {
  const peer = await new Peer(hub.url, namespace, options).connected();
  peer.emit("CLIENT_REGISTER", { usuario: name, sesion: `s-${name}` });
  if (room) peer.emit("CLIENT_SUSCRIBE", { room });
  return peer.settled();
}

/** A marker to the whole room: whatever came before it has been seen already. */
async function nothingElse(sender, ...members) {
  sender.say("MARK", "room");
  for (const member of members) await member.sees(["MARK", "room"]);
}

const noAck = () => assert.fail("a stock hub never acknowledges");

function envelope(asker, name, event, data, more = {}) {
  return {
    event,
    room: ROOM,
    data,
    ...more,
    namespace: "runtime",
    requester: asker.id,
    requesterName: name,
  };
}

describe("core", () => {
  let M, R, O, U; // master, requester, observer, outsider

  beforeEach(async () => {
    await useHub({ dialect: "core" });
    M = await joined("M");
    R = await joined("R");
    O = await joined("O");
    U = await joined("U", null);
  });

  async function withMaster() {
    M.say("MAKE_MASTER", { features: [] });
    await M.settled();
  }

  test("subscribing is neither acknowledged nor confirmed", async () => {
    R.emit("CLIENT_SUSCRIBE", { room: "OTHER" }, noAck);
    R.emit("CLIENT_SUSCRIBE", { room: "OTHER", out: true }, noAck);
    R.emit("CLIENT_REGISTER", { usuario: "R", sesion: "s-R" }, noAck);
    await R.settled();
  });

  test("a direct MAKE_MASTER is broadcast to the namespace and declares nothing", async () => {
    const declared = { room: ROOM, features: ["X"] };
    M.emit("MAKE_MASTER", declared, noAck);
    for (const peer of [R, O, U]) await peer.sees(["MAKE_MASTER", [declared, null]]);
    R.say("GET_X", {});
    await nothingElse(R, M, R, O);
  });

  test("a request without a master is dropped", async () => {
    R.say("GET_X", {});
    await nothingElse(R, M, R, O);
  });

  test("a request reaches the master alone, as the whole envelope", async () => {
    await withMaster();
    const data = { sessionId: "s1", fiaIndex: 0 };
    R.say("GET_AAIA_STEP_FIA", data, { requestId: "q1", requester: "forged", namespace: "forged" });
    const whole = envelope(R, "Rs-R", "GET_AAIA_STEP_FIA", data, { requestId: "q1" });
    await M.sees(["GET_AAIA_STEP_FIA", whole]);
    await nothingElse(R, M, R, O);
  });

  test("askers need neither to subscribe nor to register", async () => {
    await withMaster();
    const stranger = await new Peer(hub.url).connected();
    stranger.say("GET_X", 1);
    await M.sees(["GET_X", envelope(stranger, "--", "GET_X", 1)]);
  });

  test("a master that asks its own room gets nothing", async () => {
    await withMaster();
    M.say("GET_X", {});
    await nothingElse(M, M, R, O);
  });

  test("an answer goes to all members but its sender, whoever asked", async () => {
    await withMaster();
    const answer = { success: true, eferencia: { tipo: "noop" } };
    for (const extra of [{}, { requester: R.id }, { requester: U.id }]) {
      M.say("SET_X", answer, extra);
      for (const peer of [R, O]) await peer.sees(["SET_X", { ...answer, sender: M.id }]);
    }
    await nothingElse(M, M, R, O);
    await U.settled();
  });

  test("anybody may answer", async () => {
    await withMaster();
    R.say("SET_AAIA_STEP_FIA", { spoof: true, sender: "forged" });
    for (const peer of [M, O]) {
      await peer.sees(["SET_AAIA_STEP_FIA", { spoof: true, sender: R.id }]);
    }
    await nothingElse(R, M, R, O);
  });

  test("answers that are no objects are spread", async () => {
    const cases = [
      [["a", "b"], { 0: "a", 1: "b" }],
      ["ab", { 0: "a", 1: "b" }],
      [null, {}],
      [7, {}],
      [true, {}],
      [undefined, {}],
    ];
    for (const [data, spread] of cases) {
      M.say("SET_X", data);
      await R.sees(["SET_X", { ...spread, sender: M.id }]);
    }
  });

  test("other events reach the whole room, sender included, from anybody", async () => {
    U.say("FIA_STEP", { n: 1 });
    for (const peer of [M, R, O]) await peer.sees(["FIA_STEP", { n: 1 }]);
    M.say("RELEASE_MASTER");
    for (const peer of [M, R, O]) await peer.sees(["RELEASE_MASTER", null]);
    await U.settled();
  });

  test("direct GET_, SET_ and GET_SERVER_STATE are dropped and never acknowledged", async () => {
    await withMaster();
    R.emit("GET_AAIA_STEP_FIA", { sessionId: "s1" }, noAck);
    R.emit("SET_AAIA_STEP_FIA", { sessionId: "s1" }, noAck);
    R.emit("GET_SERVER_STATE", {}, noAck);
    await nothingElse(R, M, R, O);
    await U.settled();
  });

  test("unknown direct events are broadcast as one array", async () => {
    R.emit("HELLO", { a: 1 }, 2, noAck);
    R.emit("CLIENT_UNSUSCRIBE", { room: ROOM });
    for (const peer of [M, O, U]) {
      await peer.sees(["HELLO", [{ a: 1 }, 2, null]], ["CLIENT_UNSUSCRIBE", [{ room: ROOM }]]);
    }
    await nothingElse(M, R); // still a member
  });

  test("the last one to declare itself is the master, and nobody is told", async () => {
    await withMaster();
    O.say("MAKE_MASTER", { features: ["X"] });
    await O.settled();
    R.say("GET_X", {});
    await O.sees(["GET_X", envelope(R, "Rs-R", "GET_X", {})]);
    await nothingElse(R, M, R, O);
  });

  test("who subscribes to a master's id reads what it is asked", async () => {
    await withMaster();
    U.emit("CLIENT_SUSCRIBE", { room: M.id });
    await U.settled();
    R.say("GET_SECRET", { pin: 1 });
    for (const peer of [M, U]) {
      await peer.sees(["GET_SECRET", envelope(R, "Rs-R", "GET_SECRET", { pin: 1 })]);
    }
  });

  test("leaving a room ends what comes from it", async () => {
    O.emit("CLIENT_SUSCRIBE", { room: ROOM, out: true });
    await O.settled();
    R.say("FIA_STEP", {});
    await R.sees(["FIA_STEP", {}]);
    await O.settled();
  });

  test("the server state goes to the asker alone and names everybody", async () => {
    O.emit("CLIENT_SUSCRIBE", { room: ROOM });
    await O.settled();
    const state = await serverState(R);
    assert.equal(state.action, "SET_SERVER_STATE");
    assert.equal(state.socketId, R.id);
    assert.equal(state.clients, 4);
    assert.deepEqual(state.sockets, []);
    const runtime = state.socketsPerNamespace.find(({ name }) => name === "/runtime");
    assert.equal(runtime.socketsCount, 4);
    assert.ok(runtime.sockets.some(({ id }) => id === "/Rs-R"));
    assert.ok(
      state.miembros.some(({ usuario, sesiones }) => usuario === "R" && sesiones[0] === "s-R"),
    );
    const { miembros } = state.rooms.find(({ roomId }) => roomId === ROOM);
    // Who subscribes twice is listed twice.
    assert.deepEqual(
      miembros.map(({ name }) => name),
      ["Ms-M", "Rs-R", "Os-O", "Os-O"],
    );
    R.say("SET_SERVER_STATE", { forged: true });
    await nothingElse(R, M, R, O);
  });

  test("a master leaves in silence and takes the room's listing along", async () => {
    await withMaster();
    U.emit("CLIENT_SUSCRIBE", { room: M.id });
    await U.settled();
    M.socket.disconnect();
    await eventually(async () => {
      const { rooms, miembros } = await serverState(R);
      return ![
        ...rooms.map(({ roomId }) => roomId),
        ...miembros.map(({ usuario }) => usuario),
      ].some((name) => name === ROOM || name === "M");
    });
    R.say("GET_X", {});
    await nothingElse(R, R, O); // the room itself lives on
    R.emit("ROOM_MESSAGE", { event: "MARK", room: U.id, data: "U" });
    await U.sees(["MARK", "U"]); // and what was the master's mail is nobody's now
  });

  test("what a subscriber of the other namespace masters is swallowed", async () => {
    const root = await joined("A", ROOM, "/");
    root.say("MAKE_MASTER", { features: ["X"] });
    await root.settled();
    R.say("GET_X", {});
    await nothingElse(R, M, R, O);
    await root.settled();
    const asker = await joined("B", null, "/");
    asker.say("GET_X", 1);
    await root.sees(["GET_X", { ...envelope(asker, "Bs-B", "GET_X", 1), namespace: "" }]);
  });

  test("other namespaces do not exist", async () => {
    await assert.rejects(new Peer(hub.url, "/elsewhere").connected(), /Invalid namespace/);
  });

  test("malformed and reserved messages are survived", async () => {
    for (const payload of [
      null,
      7,
      "x",
      { event: 7, room: ROOM },
      { event: "disconnect", room: ROOM },
    ]) {
      R.emit("ROOM_MESSAGE", payload);
    }
    R.emit("CLIENT_REGISTER", null).emit("CLIENT_SUSCRIBE", null);
    await nothingElse(R, M, R, O);
  });
});

async function serverState(peer) {
  peer.emit("ROOM_MESSAGE", { event: "GET_SERVER_STATE" });
  const state = await peer.next("SET_SERVER_STATE");
  await peer.sees(["SET_SERVER_STATE", state]);
  return state;
}

/** Ask again until it holds; each question is a round trip. */
async function eventually(holds) {
  const end = Date.now() + PATIENCE_MS;
  while (!(await holds())) assert.ok(Date.now() < end, `it never holds: ${holds}`);
}

describe("zeus", () => {
  let M, R;

  beforeEach(async () => {
    await useHub({ dialect: "zeus" });
    M = await joined("M");
    R = await joined("R");
  });

  test("the envelope has no requesterName", async () => {
    M.say("MAKE_MASTER", { features: [] });
    await M.settled();
    R.say("GET_X", {});
    const { requesterName, ...expected } = envelope(R, "Rs-R", "GET_X", {});
    await M.sees(["GET_X", expected]);
    M.say("SET_X", { success: true });
    await R.sees(["SET_X", { success: true, sender: M.id }]);
  });

  test("unknown direct events and questions about the state are dropped", async () => {
    R.emit("HELLO", 1, noAck);
    R.emit("MAKE_MASTER", { room: ROOM, features: ["X"] }, noAck);
    R.say("GET_SERVER_STATE");
    R.emit("ROOM_MESSAGE", { event: "GET_SERVER_STATE" });
    await nothingElse(R, M, R);
  });

  test("the main namespace connects but is deaf", async () => {
    M.say("MAKE_MASTER", { features: [] });
    await M.settled();
    const deaf = R.socket.io.socket("/"); // on R's connection, hence in order with what R sends
    await within(once(deaf, "connect"), "the connection");
    deaf.emit("ROOM_MESSAGE", { event: "MAKE_MASTER", room: ROOM, data: {} }, noAck);
    R.say("GET_X", {});
    const { requesterName, ...expected } = envelope(R, "Rs-R", "GET_X", {});
    await M.sees(["GET_X", expected]);
  });
});

for (const dialect of ["core", "zeus"]) {
  describe(`${dialect} with a token`, () => {
    beforeEach(() => useHub({ dialect, token: "secret", rooms: [ROOM, "OTHER"] }));

    const refused = [
      [{}, "unauthorized"],
      [{ token: "wrong", room: ROOM }, "unauthorized"],
      [{ token: "secret" }, "room required"],
      [{ token: "secret", room: "ELSEWHERE" }, "room not allowed"],
    ];
    for (const [auth, message] of refused) {
      test(`${JSON.stringify(auth)} is refused: ${message}`, async () => {
        const peer = new Peer(hub.url, "/runtime", { auth });
        await assert.rejects(peer.connected(), { message });
      });
    }

    test("a grant covers the room it names and no other", async () => {
      const auth = { token: "secret", room: ROOM, user: "ana" };
      const peer = await new Peer(hub.url, "/runtime", { auth }).connected();
      peer.emit("CLIENT_REGISTER", { sesion: "-1" });
      peer.emit("CLIENT_SUSCRIBE", { room: ROOM });
      peer.say("MARK", 1);
      await peer.sees(["MARK", 1]);

      const attempts = [
        ["CLIENT_SUSCRIBE", { room: "OTHER" }, "room not allowed: OTHER", "subscribe"],
        ["ROOM_MESSAGE", { event: "X", room: "OTHER" }, "room not allowed: OTHER", "room_message"],
        ["ROOM_MESSAGE", { event: "X" }, "room required", "room_message"],
      ];
      for (const [event, payload, reason, action] of attempts) {
        peer.emit(event, payload);
        const error = await peer.next("auth_error");
        assert.ok(error.timestamp);
        assert.deepEqual(
          { ...error, timestamp: "" },
          {
            reason,
            action,
            ...(payload.room && { room: payload.room }),
            timestamp: "",
          },
        );
        await peer.sees(["auth_error", error]);
      }
      peer.emit("CLIENT_SUSCRIBE", { room: "OTHER", out: true }); // leaving is never checked
      peer.say("MARK", 2);
      await peer.sees(["MARK", 2]);

      if (dialect === "core") {
        peer.say("GET_SERVER_STATE");
        const state = await peer.next("SET_SERVER_STATE");
        assert.deepEqual(state.miembros, [{ usuario: "ana", sesiones: ["-1"] }]);
      }
    });
  });
}

describe("from the command line", () => {
  const children = [];
  after(() => children.forEach(({ child }) => child.kill("SIGKILL")));

  /** A script of this directory: its lines one by one, and an orderly end. */
  function start(script, ...args) {
    const path = new URL(script, import.meta.url).pathname;
    const child = spawn(process.execPath, [path, ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const started = {
      child,
      line: async () => (await within(lines.next(), `a line of ${script}`)).value,
      json: async () => JSON.parse(await started.line()),
      async stop() {
        child.kill("SIGTERM");
        return (await within(once(child, "exit"), `the end of ${script}`))[0];
      },
    };
    children.push(started);
    return started;
  }

  test("hub, master and observer talk, over each transport, and end on SIGTERM", async () => {
    for (const transport of ["websocket", "polling", "default"]) {
      const server = start("upstream_hub.mjs", "--dialect", "core");
      const port = /^listening (\d+)$/.exec(await server.line())[1];
      const common = [
        "--url",
        `http://127.0.0.1:${port}`,
        "--room",
        ROOM,
        "--transport",
        transport,
      ];
      const observer = start("observer.mjs", ...common);
      const master = start("master.mjs", ...common, "--dialect", "core");
      assert.deepEqual(await observer.json(), { ready: true });
      assert.deepEqual(await master.json(), { ready: true });

      const asker = await new Peer(`http://127.0.0.1:${port}`).connected();
      asker.say("GET_ECHO", { silent: true }).say("GET_ECHO", { fail: true }).say("GET_ECHO", [1]);
      for (const data of [{ silent: true }, { fail: true }, [1]]) {
        const { event, args } = await master.json();
        assert.deepEqual([event, args[0].data], ["GET_ECHO", data]);
      }
      const answers = [await observer.json(), await observer.json()];
      const { sender } = answers[0].args[0];
      assert.deepEqual(answers, [
        { event: "SET_ECHO", args: [{ success: false, error: "asked to fail", sender }] },
        { event: "SET_ECHO", args: [{ success: true, echo: [1], sender }] },
      ]);
      for (const { stop } of [observer, master, server]) assert.equal(await stop(), 0);
    }
  });
});
