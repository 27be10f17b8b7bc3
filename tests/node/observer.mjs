// A stock member of a room that prints what it receives.
//
//   node observer.mjs --url URL [--room AAIA_ROOM] [--namespace /runtime]
//                     [--transport websocket|polling|default]
//
// {"ready":true} comes first, once the hub confirms the subscription (or after a second, for
// hubs that never do) and again after each reconnection; then {"event":…, "args":[…]} a line.
import { connect, payloads, print, readOptions } from "./peer.mjs";

const options = readOptions({
  url: undefined,
  room: "AAIA_ROOM",
  namespace: "/runtime",
  transport: "default",
});
const { room } = options;
const socket = connect(options, options.namespace);

let ready = false;
let held = []; // what came before the line that says ready
let timer;

function becomeReady() {
  clearTimeout(timer);
  if (ready) return;
  ready = true;
  print({ ready: true });
  held.forEach(print);
  held = [];
}

socket.on("connect", () => {
  timer = setTimeout(becomeReady, 1000);
  socket.emit("CLIENT_REGISTER", { usuario: "observer", sesion: `-${socket.id}` });
  socket.emit("CLIENT_SUSCRIBE", { room }, (answer) => {
    if (answer?.success === false) console.error(`not subscribed: ${answer.error}`);
    else becomeReady();
  });
});
socket.on("disconnect", () => {
  clearTimeout(timer);
  ready = false;
});
socket.on("SUSCRIBE_OK", becomeReady);
socket.onAny((event, ...args) => {
  const line = { event, args: payloads(args) };
  if (ready) print(line);
  else held.push(line);
});
