// A stock peer that asks what it is told to: a line `[event, payload]` in, a line with the answer out.
import { createInterface } from "node:readline";
import { connect, print, readOptions } from "./peer.mjs";

const options = readOptions({ url: "", transport: "websocket", room: "LOBBY", usuario: "asker" });
const socket = connect(options, "/runtime");

socket.on("connect", () => {
  socket.emit("CLIENT_REGISTER", { usuario: options.usuario, sesion: "s" });
  socket.emit("CLIENT_SUSCRIBE", { room: options.room }, () => print({ ready: true }));
});
createInterface({ input: process.stdin }).on("line", (line) => {
  const [event, payload] = JSON.parse(line);
  socket.emit(event, payload, print);
});
