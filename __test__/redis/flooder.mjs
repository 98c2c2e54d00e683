// A thread with a server that completes the handshake, and floods each subscriber with numbered messages as fast as the socket takes them.
import { createServer } from "node:net";
import { parentPort } from "node:worker_threads";

const bulk = (text) => `$${text.length}\r\n${text}\r\n`;
const handshake = `%2\r\n${bulk("proto")}:3\r\n${bulk("role")}${bulk("master")}`;
/** So many messages are made once and sent again and again. */
const ROUND = 4_000;
const frames = (kind, topic) =>
  Buffer.from(
    Array.from({ length: ROUND }, (_, n) => {
      const payload = String(n).padStart(12, "0").padEnd(100, "x");
      const names = kind === "PSUBSCRIBE" ? [bulk(topic), bulk(topic.replace("*", ""))] : [bulk(topic)];
      return `>${names.length + 2}\r\n${bulk(kind === "PSUBSCRIBE" ? "pmessage" : "message")}${names.join("")}${bulk(payload)}`;
    }).join(""),
  );

const answers = { HELLO: handshake, CLIENT: "+OK\r\n", SELECT: "+OK\r\n", PING: "+PONG\r\n" };

const server = createServer((socket) => {
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    const words = chunk.toString("latin1").split("\r\n");
    socket.write(words.map((word) => answers[word] ?? "").join(""));
    const at = words.findIndex((word) => /^P?SUBSCRIBE$/.test(word));
    if (at < 0) return;
    const [kind, topic] = [words[at], words[at + 2]];
    socket.write(`>3\r\n${bulk(kind.toLowerCase())}${bulk(topic)}:1\r\n`);
    const round = frames(kind, topic);
    const flood = () => {
      while (socket.writable && socket.write(round));
    };
    socket.on("drain", flood);
    flood();
  });
});
server.listen(0, "127.0.0.1", () => {
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  parentPort?.postMessage(port);
});
