// A Socket.IO client for one namespace over one websocket: packets, acknowledgements, reconnecting.

export const NAMESPACE = "/runtime";

const KINDS = ["connect", "disconnect", "event", "ack", "refused"];

/** A Socket.IO packet as the text of a websocket message. */
export function encode(kind, data, ack = "") {
  const json = data === undefined ? "" : JSON.stringify(data);
  return `4${KINDS.indexOf(kind)}${NAMESPACE},${ack}${json}`;
}

/** What a message of the hub is, as `{kind, data, ack}`; null if it is none of ours. */
export function decode(text) {
  if (text[0] === "0") return { kind: "open", data: JSON.parse(text.slice(1)) };
  if (text[0] === "1") return { kind: "close" };
  if (text[0] === "2") return { kind: "ping" };
  const found = /^4([0-4])(\/[^,]*),(\d*)(.*)$/s.exec(text);
  if (found === null || found[2] !== NAMESPACE) return null;
  const [, kind, , ack, json] = found;
  const packet = { kind: KINDS[kind] };
  if (ack) packet.ack = Number(ack);
  if (json) packet.data = JSON.parse(json);
  return packet;
}

/** Milliseconds before the next attempt: longer each time, and of many pages not all at once. */
export function backoff(attempt, random = Math.random()) {
  return Math.min(250 * 2 ** attempt, 5000) * (0.5 + random / 2);
}

/** Why a question got no answer: the link went while it was open, or was not there. */
export class LinkLost extends Error {}

/**
 * A link to the hub that comes back by itself.
 *
 * `told` is what it tells: `joined()`, `lost()` with every loss or vain attempt, `refused(message)`
 * when the hub does not let it in, `heard(event, args, answer)`.
 */
export class Socket {
  #told;
  #credentials;
  #websocket = null;
  #isJoined = false;
  #attempt = 0;
  #lastAck = 0;
  #open = new Map(); // ack -> how its promise ends
  #retry;
  #silence;
  #patience = 0; // milliseconds

  constructor(told, credentials) {
    this.#told = told;
    this.#credentials = credentials;
  }

  /** Connect now; whatever there was before is dropped. */
  connect() {
    clearTimeout(this.#retry);
    this.#drop();
    const url = new URL("socket.io/?EIO=4&transport=websocket", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const websocket = new WebSocket(url);
    this.#websocket = websocket;
    websocket.onmessage = ({ data }) => this.#received(data);
    websocket.onclose = () => this.#lost();
  }

  /** Ask the hub; `number` names the question, `answer` is the promise of what it is answered. */
  ask(event, ...args) {
    const number = (this.#lastAck += 1);
    const answer = new Promise((resolve, reject) => {
      if (!this.#isJoined) throw new LinkLost("there is no link to the hub");
      this.#open.set(number, { resolve, reject });
      this.#websocket.send(encode("event", [event, ...args], number));
    });
    return { number, answer };
  }

  /** Say something that is not answered. */
  say(event, ...args) {
    if (this.#isJoined) this.#websocket.send(encode("event", [event, ...args]));
  }

  /** End a question here; what it is answered later is nobody's. */
  forget(number, error) {
    this.#open.get(number)?.reject(error);
    this.#open.delete(number);
  }

  #received(text) {
    const packet = decode(text);
    switch (packet?.kind) {
      case "open":
        this.#patience = packet.data.pingInterval + packet.data.pingTimeout;
        this.#expectPing();
        return this.#websocket.send(encode("connect", this.#credentials()));
      case "ping":
        this.#expectPing();
        return this.#websocket.send("3");
      case "connect":
        this.#isJoined = true;
        this.#attempt = 0;
        return this.#told.joined();
      case "event":
        return this.#heard(packet);
      case "ack":
        this.#open.get(packet.ack)?.resolve(packet.data[0]);
        return this.#open.delete(packet.ack);
      case "refused":
        return this.#refused(packet.data?.message ?? "");
      case "disconnect":
      case "close":
        return this.#lost();
    }
  }

  #heard({ data: [event, ...args], ack }) {
    const answer = (said) => this.#websocket?.send(encode("ack", [said], ack));
    this.#told.heard(event, args, ack === undefined ? () => {} : answer);
  }

  #refused(message) {
    this.#drop();
    if (message !== "unauthorized") this.#again(); // without a token it would be in vain
    this.#told.refused(message);
  }

  /** A link can be gone without a word; the hub's pings that stay out are how it shows. */
  #expectPing() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#lost(), this.#patience);
  }

  #lost() {
    this.#drop();
    this.#again();
    this.#told.lost();
  }

  #again() {
    this.#retry = setTimeout(() => this.connect(), backoff(this.#attempt));
    this.#attempt += 1;
  }

  #drop() {
    clearTimeout(this.#silence);
    this.#isJoined = false;
    if (this.#websocket !== null) {
      this.#websocket.onmessage = this.#websocket.onclose = null;
      this.#websocket.close();
      this.#websocket = null;
    }
    for (const number of [...this.#open.keys()]) {
      this.forget(number, new LinkLost("the link to the hub went"));
    }
  }
}
