// A client of AAIA_ROOM on a stock socket.io-client.
//
//   import { AAIAClient } from "./aaia-client.mjs";
//
//   const client = new AAIAClient("http://localhost:3010");
//   client.socket.on("FIA_STEP", (step) => console.log(step));
//   const { session } = await client.createSession("demo-logica");
//   const { eferencia } = await client.stepFIA(session.sessionId, 0);
//   client.close();
import { randomUUID } from "node:crypto";
import { io } from "socket.io-client";

export const ROOM = "AAIA_ROOM";

/**
 * Why a request has no result: `code` for programs, `message` for people, `details` for both.
 *
 * The code is the answer's own where a master or the hub refused. This client adds
 * connection_refused, deadline_exceeded, link_lost and closed.
 */
export class AAIAError extends Error {
  name = "AAIAError";

  constructor(message, code, details) {
    super(message);
    this.code = code ?? "error";
    this.details = details ?? [];
  }
}

/** Registers and subscribes on every connection; each method asks the master of the room. */
export class AAIAClient {
  #url;
  #identity;
  #waiting = new Set(); // those who wait for the subscription: functions of its outcome
  #outcome; // undefined while it is pending, null once it stands, an error if it never will
  #lastError; // of the connection; tells why a wait was in vain

  /**
   * @param {string} url the hub's address, with the prefix under which it is mounted, if there is one
   * @param {object} options `namespace`, `usuario`, `sesion`, `timeoutMs` (what a request may
   *   take if it does not say); anything else goes to socket.io-client's `io()`
   */
  constructor(url = "http://localhost:3010", options = {}) {
    const {
      namespace = "/runtime",
      usuario = "AAIAClient",
      sesion = randomUUID(),
      timeoutMs = 10_000,
      ...socketOptions
    } = options;
    this.timeoutMs = timeoutMs;
    this.#url = url.replace(/\/+$/, "") + namespace;
    this.#identity = { usuario, sesion };

    // socket.io-client takes a path in an address for a namespace, and the prefix as an option.
    const [, host, prefix] = /^((?:[a-z]+:)?(?:\/\/)?[^/]*)(.*?)\/*$/i.exec(url);
    this.socket = io(host + namespace, { path: `${prefix}/socket.io`, ...socketOptions });
    // A socket never emits "reconnect"; "connect" comes after each reconnection as well.
    this.socket.on("connect", () => this.#subscribe());
    this.socket.on("disconnect", (reason) => this.#onDisconnect(reason));
    this.socket.on("connect_error", (error) => this.#onConnectError(error));
  }

  getApps() {
    return this.request("AAIA_GET_APPS");
  }

  createSession(appId) {
    return this.request("AAIA_CREATE_SESSION", { appId });
  }

  listSessions() {
    return this.request("AAIA_LIST_SESSIONS");
  }

  destroySession(sessionId) {
    return this.request("AAIA_DESTROY_SESSION", { sessionId });
  }

  listFIAs(sessionId) {
    return this.request("AAIA_LIST_FIAS", { sessionId });
  }

  startFIA(sessionId, fiaIndex) {
    return this.request("AAIA_START_FIA", { sessionId, fiaIndex });
  }

  stopFIA(sessionId, fiaIndex) {
    return this.request("AAIA_STOP_FIA", { sessionId, fiaIndex });
  }

  stepFIA(sessionId, fiaIndex) {
    return this.request("AAIA_STEP_FIA", { sessionId, fiaIndex });
  }

  playFIA(sessionId, fiaIndex) {
    return this.request("AAIA_PLAY_FIA", { sessionId, fiaIndex });
  }

  pauseFIA(sessionId, fiaIndex) {
    return this.request("AAIA_PAUSE_FIA", { sessionId, fiaIndex });
  }

  sendPercepto(sessionId, percepto) {
    return this.request("AAIA_SEND_PERCEPTO", { sessionId, percepto });
  }

  getEferencia(sessionId, fiaIndex) {
    return this.request("AAIA_GET_EFERENCIA", { sessionId, fiaIndex });
  }

  /** The session's mundo, or what a dotted path such as "modelo.ciclo" leads to. */
  queryMundo(sessionId, query) {
    return this.request("AAIA_QUERY_MUNDO", { sessionId, query });
  }

  listOfThreads() {
    return this.request("GET_LIST_OF_THREADS");
  }

  /**
   * Ask for a capability once subscribed. Always ends within `timeoutMs`: with the answer, an
   * object whose `success` is true, or with an AAIAError.
   */
  async request(capability, data = {}, timeoutMs = this.timeoutMs) {
    const deadline = Date.now() + timeoutMs;
    const event = capability.startsWith("GET_") ? capability : `GET_${capability}`;
    await this.ready(timeoutMs);
    return this.#ask(event, data, deadline - Date.now());
  }

  /** Resolves when the hub has acknowledged the subscription to AAIA_ROOM. */
  ready(timeoutMs = this.timeoutMs) {
    return new Promise((resolve, reject) => {
      const finish = (error) => {
        clearTimeout(timer);
        this.#waiting.delete(finish);
        if (error) reject(error);
        else resolve();
      };
      const timer = setTimeout(() => finish(this.#lastError ?? this.#silence()), timeoutMs);
      this.#waiting.add(finish);
      if (this.#outcome !== undefined) finish(this.#outcome);
    });
  }

  /** Disconnect for good; whatever still waits fails. */
  close() {
    this.#settle(new AAIAError("the client was closed", "closed"));
    this.socket.disconnect();
  }

  async #subscribe() {
    this.#lastError = undefined;
    try {
      await Promise.all([
        this.#ask("CLIENT_REGISTER", this.#identity),
        this.#ask("CLIENT_SUSCRIBE", { room: ROOM }),
      ]);
      this.#settle(null);
    } catch (error) {
      if (this.socket.connected) this.#settle(error); // otherwise the next connection tries again
    }
  }

  async #ask(event, data, timeoutMs = this.timeoutMs) {
    let answer;
    try {
      answer = await this.socket.timeout(timeoutMs).emitWithAck(event, data);
    } catch {
      if (this.#outcome?.code === "closed") throw this.#outcome;
      // socket.io-client has two reasons: no acknowledgement in time, or the link went.
      throw this.socket.connected
        ? new AAIAError(`${event} was not answered in time`, "deadline_exceeded")
        : new AAIAError(`the link went while ${event} was under way`, "link_lost");
    }
    if (answer?.success) return answer;
    throw new AAIAError(answer?.error ?? `${event} failed`, answer?.code, answer?.details);
  }

  #onConnectError({ message }) {
    const refused = !this.socket.active; // the hub itself said no, so there is no next attempt
    this.#lastError = refused
      ? new AAIAError(`the hub at ${this.#url} refuses: ${message}`, "connection_refused")
      : new AAIAError(`cannot reach a hub at ${this.#url}: ${message}`, "connection_refused");
    if (refused || !this.socket.io.reconnection()) this.#settle(this.#lastError);
  }

  #onDisconnect(reason) {
    if (reason === "io client disconnect") return; // by close(), which has said so
    const final = !this.socket.active || !this.socket.io.reconnection();
    this.#settle(final ? new AAIAError(`the link went: ${reason}`, "link_lost") : undefined);
  }

  #settle(outcome) {
    this.#outcome = outcome;
    if (outcome !== undefined) for (const finish of [...this.#waiting]) finish(outcome);
  }

  #silence() {
    return new AAIAError(`no subscription to ${ROOM} at ${this.#url} in time`, "deadline_exceeded");
  }
}
