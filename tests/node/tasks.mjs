// A stock peer that uses tasks: one event with its payload, acknowledged, and the end.
//
//   node tasks.mjs --url URL --event TASK_SUBMIT --payload '{"capability":"X","payload":{}}'
//                  [--usuario me] [--watch 1]
//
// It prints the answer as a line of JSON; with --watch it then prints each TASK_CHANGED until one
// tells of an end.
import { connect, print, readOptions } from "./peer.mjs";

const options = readOptions({
  url: undefined,
  event: undefined,
  payload: "{}",
  usuario: "node",
  watch: "",
  namespace: "/runtime",
  transport: "default",
});
const socket = connect(options, options.namespace);

socket.once("connect", () => {
  socket.emit("CLIENT_REGISTER", { usuario: options.usuario, sesion: `-${socket.id}` });
  socket.on("TASK_CHANGED", ({ task }) => {
    if (!options.watch) return;
    print({ changed: task });
    if (["done", "failed", "cancelled"].includes(task.state)) socket.disconnect();
  });
  socket.emit(options.event, JSON.parse(options.payload), (answer) => {
    print(answer);
    if (!options.watch) socket.disconnect();
  });
});
