// A Socket.IO hub with the manners of the stock ones, oddities included, for interop tests.
//
//   node upstream_hub.mjs [--port 0] [--dialect core|zeus] [--token SECRET] [--rooms A,B]
//
// Prints "listening <port>" when ready, ends on SIGTERM. Each "protocol:" comment names a
// behaviour of the stock hubs' wire that is reproduced on purpose. What would end a stock hub's
// process (a null payload, an inner event that is no string or is reserved) is ignored here.
//
// core: namespaces /runtime and /.  zeus: /runtime alone, no requesterName, no rebroadcast of
// unknown events, no server state. --token asks for {token, room, user} in the handshake;
// --rooms limits the rooms that may be named there.
import { createServer } from "node:http";
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Server } from "socket.io";

const DIALECTS = {
  core: { namespaces: ["/runtime", "/"], requesterName: true, rebroadcast: true, state: true },
  // protocol: "/" can be connected to (Socket.IO always has it) but nobody listens there.
  zeus: { namespaces: ["/runtime"], requesterName: false, rebroadcast: false, state: false },
};
const SYSTEM_EVENTS = new Set(["CLIENT_REGISTER", "CLIENT_SUSCRIBE", "ROOM_MESSAGE"]);

class UpstreamHub {
  // protocol: one set of tables for all namespaces, while delivery stays inside one. A master in
  // "/" therefore swallows what is asked in "/runtime".
  #users = new Map(); // socket id -> what it registered, plus `name`
  #masters = new Map(); // room -> socket id
  #members = new Map(); // room -> socket ids, as often as they subscribed

  constructor(io, { dialect = "core", token, rooms } = {}) {
    this.io = io;
    this.traits = DIALECTS[dialect];
    if (!this.traits) throw new Error(`unknown dialect ${dialect}: core or zeus`);
    for (const namespace of this.traits.namespaces) {
      const nsp = io.of(namespace);
      if (token !== undefined) nsp.use((socket, next) => authorise(socket, token, rooms, next));
      nsp.on("connection", (socket) => this.#serve(socket));
    }
  }

  #serve(socket) {
    // protocol: no handler looks at an acknowledgement, so no callback is ever called.
    const on = (event, handler) =>
      socket.on(event, (payload) => {
        if (payload !== null && typeof payload === "object") handler(payload);
      });
    on("CLIENT_REGISTER", (user) => this.#register(socket, user));
    on("CLIENT_SUSCRIBE", (subscription) => this.#subscribe(socket, subscription));
    on("ROOM_MESSAGE", (message) => this.#route(socket, message));
    socket.on("disconnect", () => this.#forget(socket));

    if (this.traits.rebroadcast) {
      socket.onAny((event, ...args) => {
        // protocol: a direct GET_X or SET_X is dropped in silence …
        if (SYSTEM_EVENTS.has(event) || /^[GS]ET_/.test(event)) return;
        // protocol: … and any other unknown event, MAKE_MASTER included, reaches the whole
        // namespace with its arguments packed into one array, the callback as null.
        socket.broadcast.emit(event, args);
      });
    }
  }

  #register(socket, user) {
    const usuario = user.usuario || socket.data.grant?.user;
    // protocol: plain concatenation, a missing sesion gives "Rundefined".
    this.#users.set(socket.id, { ...user, usuario, name: usuario + user.sesion });
  }

  #subscribe(socket, { room, out }) {
    // protocol: leaving is never checked.
    if (!out && !isAllowed(socket, room, "subscribe")) return;
    const members = this.#members.get(room) ?? [];
    if (out) {
      socket.leave(room);
      // protocol: somebody who subscribed twice stays listed once.
      if (members.includes(socket.id)) members.splice(members.indexOf(socket.id), 1);
    } else {
      // protocol: any name will do, another socket's id too, which then shares its mail.
      socket.join(room);
      // protocol: subscribing twice lists the member twice.
      this.#members.set(room, [...members, socket.id]);
    }
    // protocol: no SUSCRIBE_OK, no room_joined, no room_left.
  }

  #route(socket, message) {
    const { event, room, data } = message;
    if (!isAllowed(socket, room, "room_message")) return;
    if (typeof event !== "string" || isReserved(event)) return;

    if (event === "GET_SERVER_STATE") {
      if (this.traits.state) socket.emit("SET_SERVER_STATE", this.#state(socket));
    } else if (event === "SET_SERVER_STATE") {
      // protocol: ignored.
    } else if (event.startsWith("GET_")) {
      this.#forwardRequest(socket, message);
    } else if (event.startsWith("SET_")) {
      // protocol: from anybody, to everybody in the room but the sender; `requester` is dropped,
      // an asker outside the room gets nothing. Spreading turns arrays and strings into
      // objects with index keys, and null, numbers and booleans into {sender}.
      socket.to(room).emit(event, { ...data, sender: socket.id });
    } else if (event === "MAKE_MASTER") {
      // protocol: the last one wins in silence, members or not; features are not looked at.
      this.#masters.set(room, socket.id);
    } else {
      // protocol: the sender gets it too, RELEASE_MASTER is nothing special, and missing data
      // arrives as null.
      socket.nsp.to(room).emit(event, data);
    }
  }

  #forwardRequest(socket, message) {
    const master = this.#masters.get(message.room);
    if (!master) return; // protocol: dropped, the asker learns nothing.
    const request = {
      ...message, // protocol: the whole envelope, unknown keys included …
      namespace: socket.nsp.name.slice(1),
      requester: socket.id, // protocol: … but forged hub fields are overridden.
    };
    if (this.traits.requesterName) {
      request.requesterName = this.#users.get(socket.id)?.name || "--";
    }
    // protocol: a master that asks its own room gets nothing, since `to` leaves the sender out.
    socket.to(master).emit(message.event, request);
  }

  #forget(socket) {
    for (const [room, master] of this.#masters) {
      if (master !== socket.id) continue;
      // protocol: nobody is told, and the room is no longer listed although its members stay.
      this.#masters.delete(room);
      this.#members.delete(room);
    }
    // protocol: the ids of ordinary members stay in #members for ever.
    this.#users.delete(socket.id);
  }

  #state(socket) {
    const sessions = new Map(); // usuario -> its sesiones
    for (const { usuario, sesion } of this.#users.values()) {
      sessions.set(usuario, [...(sessions.get(usuario) ?? []), sesion || ""]);
    }
    return {
      action: "SET_SERVER_STATE",
      socketId: socket.id,
      clientId: socket.conn.id,
      socketsPerNamespace: this.traits.namespaces.map((name) => {
        const ids = [...this.io.of(name).sockets.keys()];
        return {
          name,
          socketsCount: ids.length,
          sockets: ids.map((id) => ({ id: `/${this.#users.get(id)?.name || "--"}` })),
        };
      }),
      clients: this.io.engine.clientsCount,
      miembros: [...sessions].map(([usuario, sesiones]) => ({ usuario, sesiones })),
      rooms: [...this.#members].map(([roomId, ids]) => ({
        roomId,
        miembros: ids.map((id) => this.#users.get(id)).filter(Boolean),
      })),
      sockets: [],
    };
  }
}

/** The names that no Socket.IO peer may send as an event. */
function isReserved(event) {
  return /^(connect|connect_error|disconnect|disconnecting|newListener|removeListener)$/.test(
    event,
  );
}

/** Check the handshake's {token, room, user}; the one room named there is what it grants. */
function authorise(socket, secret, rooms, next) {
  const { token, room, user } = socket.handshake.auth;
  const refusal = refusalOf(text(token), text(room), secret, rooms);
  if (refusal) return next(new Error(refusal)); // the client's connect_error
  socket.data.grant = { room: text(room), user: text(user) };
  next();
}

function refusalOf(token, room, secret, rooms) {
  if (!token) return "unauthorized";
  if (!room) return "room required"; // protocol: said before the token is compared, …
  if (rooms && !rooms.includes(room)) return "room not allowed"; // … and so is this.
  return token === secret ? undefined : "unauthorized";
}

function text(value) {
  return typeof value === "string" ? value.trim() : "";
}

/** Whether the handshake's grant covers a room; if not, an auth_error says so. */
function isAllowed(socket, room, action) {
  const { grant } = socket.data;
  if (!grant || grant.room === room) return true;
  const reason = room ? `room not allowed: ${room}` : "room required";
  socket.emit("auth_error", { reason, room, action, timestamp: new Date().toISOString() });
  return false;
}

/** Start a hub on 127.0.0.1; resolves to its port, its address and a way to stop it. */
export async function startHub({ port = 0, ...options } = {}) {
  const http = createServer();
  const io = new Server(http, {
    cors: { origin: true, credentials: true }, // protocol: any origin, reflected, with credentials
  });
  new UpstreamHub(io, options);
  await new Promise((resolve, reject) => {
    http.once("error", reject);
    http.listen(port, "127.0.0.1", resolve);
  });
  const bound = http.address().port;
  return {
    port: bound,
    url: `http://127.0.0.1:${bound}`,
    close() {
      const closed = io.close();
      http.closeAllConnections();
      return closed;
    },
  };
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      port: { type: "string", default: "0" },
      dialect: { type: "string", default: "core" },
      token: { type: "string" },
      rooms: { type: "string" },
    },
  });
  const hub = await startHub({
    ...values,
    port: Number(values.port),
    rooms: values.rooms?.split(","),
  });
  process.once("SIGTERM", () => {
    hub.close();
    setTimeout(() => process.exit(0), 500).unref(); // a peer that hangs does not keep us
  });
  console.log(`listening ${hub.port}`);
}
