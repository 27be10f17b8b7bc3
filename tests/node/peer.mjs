// What the command line peers of this directory share: options, a connection, lines, an end.
import { parseArgs } from "node:util";
import { io } from "socket.io-client";

const TRANSPORTS = { websocket: ["websocket"], polling: ["polling"], default: undefined };

/** Command line options, all of them strings; `defaults` names every one there is. */
export function readOptions(defaults) {
  const options = Object.fromEntries(
    Object.entries(defaults).map(([name, value]) => [name, { type: "string", default: value }]),
  );
  const { values } = parseArgs({ options });
  if (!values.url) throw new Error("--url is needed, for example http://127.0.0.1:3010");
  if (!(values.transport in TRANSPORTS)) throw new Error(`unknown transport ${values.transport}`);
  return values;
}

/** One JSON object a line. */
export function print(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Where a stock client connects: its address is host and namespace, the hub's prefix is an option. */
function place(url, namespace) {
  const { origin, pathname } = new URL(url);
  return [origin + namespace, { path: `${pathname.replace(/\/$/, "")}/socket.io` }];
}

/** A stock socket that ends the process cleanly on SIGTERM, and with 1 if the hub refuses it. */
export function connect({ url, transport }, namespace) {
  const [address, options] = place(url, namespace);
  const socket = io(address, { ...options, transports: TRANSPORTS[transport] });
  socket.on("connect_error", (error) => {
    console.error(`connect_error: ${error.message}`);
    if (!socket.active) end(1); // the hub said no; otherwise the client tries again
  });
  process.once("SIGTERM", () => end(0));

  function end(code) {
    process.exitCode = code;
    socket.disconnect();
    setTimeout(() => process.exit(code), 500).unref(); // a hub that hangs does not keep us
  }
  return socket;
}

/** The arguments of an event as JSON carries them: without the acknowledgement function. */
export function payloads(args) {
  return args.filter((arg) => typeof arg !== "function");
}
