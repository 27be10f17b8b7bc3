// The page as a member of the mesh: what it knows of the others, and how it asks them.

import { learn } from "./names.mjs";
import { LinkLost, Socket } from "./socket.mjs";

export const USUARIO = "mesh page";
const EVERY_ROOM = "*"; // hears MASTER_CHANGED of every room
const CONFIRMATIONS = ["SET_SERVER_STATE", "SUSCRIBE_OK", "room_joined", "room_left"];
const PING_MS = 2000;
const PINGED_AT_ONCE = 8;
const MOST_HEARD = 100; // rooms that are listened to at once
const GRANTED = 32; // parts of a streamed answer at a time

/** An answer that is a failure: `code` as in the protocol, `message` a sentence. */
export class Failure extends Error {
  constructor(answer) {
    super(String(answer?.error ?? "it failed"));
    this.code = String(answer?.code ?? "error");
    this.details = answer?.details ?? [];
  }
}

/**
 * What there is in the mesh, kept up to date.
 *
 * `link` is `connecting`, `joined`, `lost`, `refused` or `unauthorized`. `rooms` are as in SET_SERVER_STATE,
 * `offers` as GET_CAPABILITIES answers them, `members` are `{name, id, rooms, mastered}` of
 * everybody, `health` is the round trip of members by name, in seconds, or null for one that does
 * not answer, `about` what members have said of themselves, by name.
 *
 * `token()` gives what the hub knows the viewer by, if anything; `changed()` is called when any of
 * the above may have changed; `told(event)` with what is said in a room:
 * `{at, room, event, sender, data}`; `taskChanged(task)` with what the hub tells of a task.
 */
export class Mesh {
  link = "connecting";
  reason = ""; // why the hub does not let it in
  rooms = [];
  members = [];
  offers = [];
  health = new Map();
  about = new Map();
  sesion = `-${hexadecimal()}`;
  name = USUARIO + this.sesion; // until the hub calls it otherwise
  version = ""; // of the hub that the page is from

  #id; // of its socket
  #socket;
  #changed;
  #told;
  #taskChanged;
  #began = performance.now();
  #pinged = new Map(); // name -> when
  #wanted = null; // the room that is looked at, null for all
  #heard = new Set();
  #offered = ""; // who offers what, as `offers` was last asked for
  #asked = new Map(); // number -> what is told about an open request
  #questions = new Map(); // id of what a master asks back -> what takes it away
  #isPinging = false;
  #isRefreshing = false;
  #isStale = false;

  constructor({ changed, told, taskChanged, token }) {
    this.#changed = changed;
    this.#told = told;
    this.#taskChanged = taskChanged;
    this.#socket = new Socket(
      {
        joined: () => this.#joined(),
        lost: () => this.#left("lost"),
        refused: (reason) => this.#left(reason === "unauthorized" ? reason : "refused", reason),
        heard: (event, args, answer) => this.#listen(event, args, answer),
      },
      () => (token() ? { token: token() } : {}),
    );
  }

  /** Connect, or connect again. */
  connect() {
    this.link = "connecting";
    this.#changed();
    this.#socket.connect();
  }

  /** Listen to one room, or to all (null). */
  look(room) {
    this.#wanted = room;
    if (this.link === "joined") this.#subscribe();
  }

  /** Ask again who is there and who offers what, as often as it is called but not in parallel. */
  async refresh() {
    if (this.link !== "joined") return;
    if (this.#isRefreshing) {
      this.#isStale = true;
      return;
    }
    this.#isRefreshing = true;
    try {
      do {
        this.#isStale = false;
        await this.#look();
      } while (this.#isStale);
    } catch (error) {
      // A hub with no time for it is asked again soon, and what was lost with a link at the next one.
      if (!(error instanceof LinkLost || error instanceof Failure)) throw error;
    } finally {
      this.#isRefreshing = false;
    }
  }

  /** Measure how long some members take to answer, the next ones each time. */
  async ping() {
    if (this.link !== "joined" || this.#isPinging) return;
    this.#isPinging = true;
    const there = this.members.filter(({ id }) => id);
    const asked = there
      .sort((one, other) => (this.#pinged.get(one.name) ?? 0) - (this.#pinged.get(other.name) ?? 0))
      .slice(0, PINGED_AT_ONCE);
    for (const { name } of asked) this.#pinged.set(name, performance.now());
    await Promise.all(asked.map((each) => this.#meet(each)));
    this.#isPinging = false;
    this.#changed();
  }

  /** Ask a member how it is; at first also what it is. */
  async #meet({ id, name }) {
    const event = this.about.has(name) ? "GET_MEMBER_PING" : "GET_MEMBER_INFO";
    const began = performance.now();
    try {
      const said = await this.ask(event, {}, { member: id, timeoutMs: PING_MS });
      this.health.set(name, (performance.now() - began) / 1000);
      if (event === "GET_MEMBER_INFO") this.about.set(name, said);
    } catch (error) {
      if (!(error instanceof LinkLost)) this.health.set(name, null);
    }
  }

  /**
   * Call a capability; returns its answer as a promise and a function that cancels it.
   *
   * `hooks` are `part(data)` and `progress(data)`, what is told about it before it is answered, and
   * `ask(question, answer)`, what its master asks back; that returns what takes the question away.
   */
  call({ room, capability, streams }, payload, timeoutMs, hooks) {
    const meta = { room, timeoutMs, answers: true };
    if (streams) meta.parts = 2 * GRANTED; // so that there is always some on the way
    const { number, answer } = this.#socket.ask(`GET_${capability}`, payload, meta);
    this.#asked.set(number, hooks);
    const cancel = () => {
      this.#socket.say("CANCEL_REQUEST", { request: number });
      this.#socket.forget(number, new Failure({ code: "cancelled", error: "you cancelled it" }));
    };
    const settled = answer.finally(() => this.#asked.delete(number)).then(successful);
    return { answer: settled, cancel };
  }

  /** Ask the hub, or through it somebody; a failure is thrown. */
  async ask(event, ...args) {
    return successful(await this.#socket.ask(event, ...args).answer);
  }

  async #joined() {
    this.#heard.clear();
    this.#offered = "";
    const registration = { usuario: USUARIO, sesion: this.sesion, protocol: "alephscript/1" };
    try {
      this.#id = (await this.ask("CLIENT_REGISTER", registration)).socketId;
    } catch (error) {
      if (error instanceof LinkLost) return;
      throw error;
    }
    this.#socket.say("CLIENT_SUSCRIBE", { room: EVERY_ROOM });
    this.link = "joined";
    await this.refresh();
    await this.ping();
  }

  #left(link, reason = "") {
    this.link = link;
    this.reason = reason;
    for (const known of [this.health, this.about, this.#pinged]) known.clear();
    this.#changed();
  }

  async #look() {
    const [state, found] = await Promise.all([
      this.ask("GET_SERVER_STATE", {}),
      this.ask("GET_MEMBERS", {}),
    ]);
    this.rooms = state.rooms.filter(({ roomId }) => roomId !== EVERY_ROOM);
    for (const { usuario, sesiones } of state.miembros) {
      for (const sesion of sesiones) learn(usuario, sesion);
    }
    this.rooms.sort((one, other) => one.roomId.localeCompare(other.roomId));
    this.members = everybody(state, this.rooms, found.members);
    this.#forgetOthers();
    this.name = found.members.find(({ id }) => id === this.#id)?.name ?? this.name;
    const offered = JSON.stringify(
      this.rooms.map((each) => [each.roomId, each.epoch, each.features]),
    );
    if (offered !== this.#offered) {
      this.offers = (await this.ask("GET_CAPABILITIES", {})).offers;
      this.#offered = offered;
    }
    await this.#subscribe(); // a room that is shown is heard
    this.#changed();
  }

  async #subscribe() {
    const there = this.rooms.slice(0, MOST_HEARD).map(({ roomId }) => roomId);
    const wanted = new Set(this.#wanted === null ? there : [this.#wanted]);
    for (const room of this.#heard) {
      // A room that only this page is in is there no more.
      if (wanted.has(room) && !this.#isAloneIn(room)) continue;
      this.#heard.delete(room);
      this.#socket.say("CLIENT_UNSUSCRIBE", { room });
    }
    const asked = [];
    for (const room of wanted) {
      if (this.#heard.has(room) || this.#isAloneIn(room)) continue;
      this.#heard.add(room);
      asked.push(this.ask("CLIENT_SUSCRIBE", { room }));
    }
    await Promise.allSettled(asked); // one that the hub refuses is shown without what is said there
  }

  /** Keep nothing of those who are gone. */
  #forgetOthers() {
    const there = new Set(this.members.map(({ name }) => name));
    for (const known of [this.health, this.about, this.#pinged]) {
      for (const name of known.keys()) if (!there.has(name)) known.delete(name);
    }
  }

  #isAloneIn(room) {
    const found = this.rooms.find(({ roomId }) => roomId === room);
    return !found || (!found.master && found.miembros.every(({ name }) => name === this.name));
  }

  #listen(event, [data, meta], answer) {
    if (CONFIRMATIONS.includes(event)) return;
    if (event === "GET_ASKER_ANSWER") return this.#askViewer(data, meta, answer);
    if (event === "CANCEL_REQUEST") return this.#questions.get(data?.id)?.();
    if (event.startsWith("GET_MEMBER_")) return answer({ success: true, ...this.#about(event) });
    if (event === "TASK_CHANGED" && !meta?.sender) this.#taskChanged(data?.task);
    const hooks = this.#asked.get(meta?.request);
    if (event === "REQUEST_PART" && hooks) {
      hooks.part(data);
      hooks.parts = (hooks.parts ?? 0) + 1;
      if (hooks.parts % GRANTED === 0) {
        this.#socket.say("REQUEST_MORE", { request: meta.request, parts: GRANTED });
      }
    } else if (event === "REQUEST_PROGRESS" && hooks) {
      hooks.progress(data);
    } else if (meta?.room) {
      const at = new Date(meta.at ?? Date.now()); // of a retained value, when it was said
      this.#told({ at, room: meta.room, event, sender: meta.sender, data });
      if (event === "MASTER_CHANGED") this.refresh();
    }
  }

  /** Have the viewer answer what the master of a request asks back. */
  #askViewer(question, meta, answer) {
    const hooks = this.#asked.get(meta?.request);
    if (!hooks) {
      return answer({ success: false, error: "nobody here answers that", code: "no_answerer" });
    }
    const forget = hooks.ask(question ?? {}, (said) => {
      this.#questions.delete(meta.id);
      answer(said);
    });
    this.#questions.set(meta.id, () => {
      this.#questions.delete(meta.id);
      forget();
    });
  }

  /** What the page tells about itself, as every member does. */
  #about(event) {
    const who = { usuario: USUARIO, sesion: this.sesion };
    if (event === "GET_MEMBER_STATS") return { ...who, capabilities: {} };
    if (event !== "GET_MEMBER_INFO") return {};
    const uptimeMs = Math.round(performance.now() - this.#began);
    const summary = "Shows the mesh to whoever looks at the hub's page.";
    return { ...who, version: this.version, capabilities: [], summary, uptimeMs };
  }
}

/** Everybody by name, with their rooms; those of our protocol have an id, by which they can be asked. */
function everybody(state, rooms, members) {
  const found = new Map();
  const add = (name, id) => found.set(name, { name, id, rooms: [], mastered: [] });
  for (const { sockets } of state.socketsPerNamespace) {
    for (const { id } of sockets) add(id.slice(1));
  }
  for (const { id, name } of members) add(name, id);
  for (const { roomId, miembros, masters } of rooms) {
    for (const name of new Set(miembros.map((each) => each.name))) found.get(name)?.rooms.push(roomId);
    for (const name of new Set(masters)) found.get(name)?.mastered.push(roomId);
  }
  return [...found.values()];
}

function successful(answer) {
  if (answer?.success === false) throw new Failure(answer);
  return answer;
}

function hexadecimal() {
  // randomUUID is only there under https or on loopback.
  const bytes = crypto.getRandomValues(new Uint8Array(4));
  return [...bytes].map((each) => each.toString(16).padStart(2, "0")).join("");
}
