// One process of the benchmark's contender on Node; tests/benchmarks/roles.py says what each does.
//
//   node bench_socketio.mjs hub|requester|master|observers HOST PORT
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const [role, host, port] = process.argv.slice(2);
const NAMESPACE = "/runtime";
const ROOM = "ARENA";
const CAPABILITY = "AVANZAR";
const EVENT = "AVANCE";
const SESSION = "0d9b6c1e-52c7-4f6d-9a83-7e1f40c2b5aa";
const SILENCE_MS = 10_000;

const question = (paso, relleno) => ({
  sessionId: SESSION,
  fiaIndex: 0,
  paso,
  ...(relleno && { relleno }),
});
const answer = (asked) => ({
  success: true,
  sessionId: asked.sessionId,
  fiaIndex: asked.fiaIndex,
  runState: "PLAY_STEP",
  eferencia: { tipo: "accion", paso: asked.paso, accion: "girar a la derecha" },
  ...(asked.relleno && { relleno: asked.relleno }),
});
const fits = (answered, paso, relleno) =>
  answered.success === true &&
  answered.eferencia.paso === paso &&
  (answered.relleno ?? "") === relleno;

function filling(size) {
  const missing = Math.max(0, size - JSON.stringify(question(0, "-")).length + 1);
  const sentence = "avanzar hasta el muro y girar; ";
  return sentence.repeat(Math.ceil(missing / sentence.length)).slice(0, missing);
}

const print = (said) => process.stdout.write(`${JSON.stringify(said)}\n`);
const clock = () => Number(process.hrtime.bigint()) / 1e9; // seconds, of the same clock as Python's

/** The mesh's words, as far as the work needs them. */
async function serve() {
  const { Server } = await import("socket.io");
  const http = createServer();
  const namespace = new Server(http, { transports: ["websocket"] }).of(NAMESPACE);
  const masters = new Map();
  namespace.on("connection", (socket) => {
    socket.on("CLIENT_REGISTER", (data, ack) => ack({ success: true }));
    socket.on("CLIENT_SUSCRIBE", ({ room }, ack) => {
      socket.join(room);
      ack({ success: true });
    });
    socket.on("MAKE_MASTER", ({ features }, ack) => {
      for (const feature of features) masters.set(feature, socket);
      ack({ success: true });
    });
    socket.on("ROOM_MESSAGE", ({ event, room, data }) => namespace.to(room).emit(event, data));
    socket.on(`GET_${CAPABILITY}`, async (data, ack) => {
      ack(await masters.get(CAPABILITY).emitWithAck(`GET_${CAPABILITY}`, data));
    });
  });
  http.listen(Number(port), host, 4096);
}

async function connect() {
  const { io } = await import("socket.io-client");
  const socket = io(`http://${host}:${port}${NAMESPACE}`, {
    transports: ["websocket"],
    forceNew: true,
    reconnection: false,
  });
  await new Promise((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", reject);
  });
  await call(socket, "CLIENT_REGISTER", { usuario: `node-${role}` });
  return socket;
}

async function call(socket, event, data) {
  const answered = await socket.emitWithAck(event, data);
  if (answered.success !== true) throw new Error(`${event}: ${JSON.stringify(answered)}`);
  return answered;
}

async function requester() {
  const socket = await connect();
  let number = 0;
  return {
    async ask({ in_flight, seconds, size = 0 }) {
      const relleno = filling(size);
      const took = [];
      const began = clock();
      const keepAsking = async () => {
        for (let asked; (asked = clock()) < began + seconds; took.push(clock() - asked)) {
          const paso = ++number;
          const answered = await call(socket, `GET_${CAPABILITY}`, question(paso, relleno));
          if (!fits(answered, paso, relleno)) throw new Error(`${paso} got another's answer`);
        }
      };
      await Promise.all(Array.from({ length: in_flight }, keepAsking));
      const ended = clock() - began;
      took.sort((one, other) => one - other);
      const at = (hundredths) => took[Math.floor((took.length * hundredths) / 100)];
      const worst = took[took.length - 1];
      return { checked: took.length, seconds: ended, p50: at(50), p99: at(99), worst };
    },
  };
}

async function master() {
  const socket = await connect();
  socket.on(`GET_${CAPABILITY}`, (asked, ack) => ack(answer(asked)));
  await call(socket, "CLIENT_SUSCRIBE", { room: ROOM });
  await call(socket, "MAKE_MASTER", { room: ROOM, features: [CAPABILITY] });
  return {
    async say({ events, every = 0 }) {
      const began = clock();
      for (let paso = 0; paso < events; paso += 1) {
        const data = answer(question(paso));
        socket.emit("ROOM_MESSAGE", { event: EVENT, room: ROOM, data });
        if (every) await sleep(Math.max(0, (began + (paso + 1) * every - clock()) * 1000));
      }
      return { at: began };
    },
  };
}

async function observers() {
  let clients = 0;
  let heard = 0;
  let awaited = 0;
  let last = 0;
  let done = () => {};
  const hear = (data) => {
    if (!data.eferencia) throw new Error("that is no event");
    heard += 1;
    if (heard === awaited) {
      last = clock();
      done();
    }
  };
  return {
    async join({ count }) {
      for (let more = 0; more < count; more += 1) {
        const socket = await connect();
        socket.on(EVENT, hear);
        await call(socket, "CLIENT_SUSCRIBE", { room: ROOM });
      }
      clients += count;
      return { clients };
    },
    async expect({ events }) {
      heard = 0;
      awaited = events * clients;
      return { awaited };
    },
    async collect() {
      for (let before = -1; heard < awaited && heard > before; ) {
        before = heard;
        const silence = new AbortController();
        const allHeard = new Promise((resolve) => (done = resolve));
        const timer = sleep(SILENCE_MS, undefined, { signal: silence.signal }).catch(() => {});
        await Promise.race([allHeard, timer]);
        silence.abort();
        if (heard < awaited) last = clock();
      }
      return { heard, at: last };
    },
  };
}

if (role === "hub") await serve();
else {
  const commands = await { requester, master, observers }[role]();
  print({ ready: true });
  for await (const line of createInterface({ input: process.stdin })) {
    const { command, ...told } = JSON.parse(line);
    print(await commands[command](told));
  }
  process.exit(0);
}
