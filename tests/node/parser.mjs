// Node's own Socket.IO and Engine.IO parsers, asked over stdin: one JSON question a line, one
// JSON answer a line. `{encode: packets}` is answered with a polling body, `{decode: body}` with
// packets, or with what is wrong with it. A packet is `{type, data}` of Engine.IO's, and holds
// Socket.IO's as `packet` in place of `data`; `attachments` of these are added to what it carries.
import { createInterface } from "node:readline";
import { decodePayload, encodePayload } from "engine.io-parser";
import { Decoder, Encoder } from "socket.io-parser";

function encode(packets) {
  const messages = packets.flatMap(({ type, data, packet, attachments = 0 }) => {
    if (!packet) return [{ type, data }];
    for (let n = 0; n < attachments; n++) packet.data.push(Buffer.from([n]));
    return new Encoder().encode(packet).map((each) => ({ type, data: each }));
  });
  let body;
  encodePayload(messages, (encoded) => (body = encoded)); // it calls back at once
  return { body };
}

function decode(body) {
  return { packets: decodePayload(body).map((each) => (each.type === "message" ? read(each) : each)) };
}

function read({ type, data }) {
  const message = { type };
  const decoder = new Decoder();
  decoder.on("decoded", (packet) => (message.packet = packet));
  decoder.add(data);
  return message;
}

for await (const line of createInterface({ input: process.stdin })) {
  const question = JSON.parse(line);
  let answer;
  try {
    answer = question.encode ? encode(question.encode) : decode(question.decode);
  } catch (error) {
    answer = { error: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
