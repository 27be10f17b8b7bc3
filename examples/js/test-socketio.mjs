// Walk once through a session of demo-logica and show everything that is seen on the way.
//
//   node test-socketio.mjs [--url http://localhost:3010] [--transport websocket|polling|default]
//                          [--json]
//
// Ends with 0 if every request succeeded and the room was told, with 1 and a sentence if not.
// With --json each line is {"request", "response"} or {"event", "data"}, the last {"done":true}.
import { EventEmitter, once } from "node:events";
import { parseArgs } from "node:util";
import { AAIAClient, ROOM } from "./aaia-client.mjs";

const TRANSPORTS = { websocket: ["websocket"], polling: ["polling"], default: undefined };
const STEP_MS = 5_000; // for one answer or one event
const TOTAL_MS = 20_000;

async function main() {
  const { url, transport, json } = readOptions();
  const show = json ? showJson : showText;
  const client = new AAIAClient(url, {
    usuario: "TestClient",
    timeoutMs: STEP_MS,
    transports: TRANSPORTS[transport],
    reconnection: false,
  });

  const seen = []; // the room's events so far
  const arrivals = new EventEmitter();
  client.socket.onAny((event, data) => {
    seen.push({ event, data });
    show.event(event, data);
    arrivals.emit("event");
  });
  let gone; // why the link went, once it has
  client.socket.on("disconnect", (reason) => {
    gone = reason;
    arrivals.emit("event");
  });

  /** Ask, show the answer and hand it on. */
  async function ask(capability, data) {
    const response = await client.request(capability, data);
    show.answer(capability, response);
    return response;
  }

  /** Wait until the room has been told about the session, unless it already was. */
  async function told(event, sessionId) {
    const signal = AbortSignal.timeout(STEP_MS);
    while (!seen.some((one) => one.event === event && one.data?.sessionId === sessionId)) {
      if (gone) throw new Error(`the link went before ${event} came: ${gone}`);
      await once(arrivals, "event", { signal }).catch(() => {
        throw new Error(`the answer came, but no ${event} in ${ROOM} within ${STEP_MS} ms`);
      });
    }
  }

  try {
    await client.ready();
    show.note(`connected to ${url}, subscribed to ${ROOM}`);

    const { session } = await ask("AAIA_CREATE_SESSION", { appId: "demo-logica" });
    const sessionId = session?.sessionId;
    if (!sessionId) throw new Error("the answer to AAIA_CREATE_SESSION names no session");
    await told("SESSION_CREATED", sessionId);

    const percepto = {
      tipo: "comando",
      fuente: "test-socketio",
      payload: { query: "p(X,Y)" },
    };
    await ask("AAIA_SEND_PERCEPTO", { sessionId, percepto });
    await told("PERCEPTO", sessionId);

    await ask("AAIA_STEP_FIA", { sessionId, fiaIndex: 0 });
    await told("FIA_STEP", sessionId);

    await ask("AAIA_QUERY_MUNDO", { sessionId });

    await ask("AAIA_DESTROY_SESSION", { sessionId });
    await told("SESSION_DESTROYED", sessionId);

    show.done();
  } finally {
    client.close();
  }
}

const print = (line) => console.log(JSON.stringify(line));

const showJson = {
  note() {},
  event: (event, data) => print({ event, data }),
  answer: (request, response) => print({ request, response }),
  done: () => print({ done: true }),
};

const showText = {
  note: (text) => console.log(text),
  event: (event, data) => console.log(`event   ${event}  ${JSON.stringify(data)}`),
  answer: (request, response) => console.log(`answer  ${request}  ${JSON.stringify(response)}`),
  done: () => console.log("done"),
};

function readOptions() {
  const { values } = parseArgs({
    options: {
      url: { type: "string", default: "http://localhost:3010" },
      transport: { type: "string", default: "default" },
      json: { type: "boolean", default: false },
    },
  });
  if (!Object.hasOwn(TRANSPORTS, values.transport)) {
    throw new Error(`--transport is websocket, polling or default, not ${values.transport}`);
  }
  return values;
}

function fail({ message }) {
  console.error(`test-socketio failed: ${message}`);
  process.exit(1);
}

// Not unref'd: without it a process whose link is gone could end early, and with 0.
const guard = setTimeout(() => fail(new Error(`not finished after ${TOTAL_MS} ms`)), TOTAL_MS);
main().catch(fail).finally(() => clearTimeout(guard));
