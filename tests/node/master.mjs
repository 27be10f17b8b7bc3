// A stock master, for checks of how others get on with one.
//
//   node master.mjs --url URL --dialect doc|core [--room AAIA_ROOM] [--capability ECHO]
//                   [--transport websocket|polling|default]
//
// doc:  declares itself with a direct MAKE_MASTER and answers by acknowledgement.
// core: declares itself in ROOM_MESSAGE, twice, and answers with a ROOM_MESSAGE SET_…
//
// It echoes what it is asked. Asked with the key "fail" it fails, with "silent" it never
// answers, with "bare" (doc) it acknowledges with a number instead of an object.
// {"ready":true} is printed after each declaration, {"event":…, "args":[…]} for what arrives.
import { connect, payloads, print, readOptions } from "./peer.mjs";

const options = readOptions({
  url: undefined,
  dialect: "doc",
  room: "AAIA_ROOM",
  capability: "ECHO",
  transport: "default",
});
const { dialect, room, capability } = options;
const name = capability.replace(/^GET_/, "");

/** One way to be a master: `declare` calls back at the hub's answer, `answer` serves a request. */
const DIALECTS = {
  doc: {
    declare(done) {
      socket.emit("MAKE_MASTER", { room, features: [capability] }, done);
    },
    answer(payload, ack) {
      if (has(payload, "bare")) ack?.(42);
      else if (!has(payload, "silent")) ack?.(echo(payload));
    },
  },
  core: {
    declare(done) {
      // Clients of core-sdk never ask for an acknowledgement of these two …
      for (const features of [[], [capability]]) {
        socket.emit("ROOM_MESSAGE", { event: "MAKE_MASTER", room, data: { features } });
      }
      // … but they do register again, and hubs work in order: this answer covers them.
      register(done);
    },
    answer(envelope) {
      const data = envelope?.data;
      if (has(data, "silent")) return;
      socket.emit("ROOM_MESSAGE", {
        event: `SET_${name}`,
        room: envelope?.room ?? room,
        data: echo(data),
      });
    },
  },
};

const mine = DIALECTS[dialect];
if (!mine) throw new Error(`unknown dialect ${dialect}: doc or core`);

function has(payload, key) {
  return payload !== null && typeof payload === "object" && key in payload;
}

function echo(payload) {
  if (has(payload, "fail")) return { success: false, error: "asked to fail" };
  return { success: true, echo: payload };
}

function register(done) {
  const identity = { usuario: "node-master", sesion: `-${dialect}` };
  if (done) socket.emit("CLIENT_REGISTER", identity, done);
  else socket.emit("CLIENT_REGISTER", identity);
}

const socket = connect(options, "/runtime");

socket.on("connect", () => {
  register();
  socket.emit("CLIENT_SUSCRIBE", { room });

  const timer = setTimeout(() => print({ ready: true }), 1000); // hubs that never acknowledge
  socket.once("disconnect", () => clearTimeout(timer));
  mine.declare((answer) => {
    clearTimeout(timer);
    print(answer?.success === false ? { ready: false, answer } : { ready: true });
  });
});
socket.onAny((event, ...args) => print({ event, args: payloads(args) }));
socket.on(`GET_${name}`, (payload, ...rest) => {
  const ack = rest.at(-1);
  mine.answer(payload, typeof ack === "function" ? ack : undefined);
});
