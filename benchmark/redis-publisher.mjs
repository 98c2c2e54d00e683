// Publishes 64 bytes to "bench" at a steady rate, over a plain socket, until it is killed: `node redis-publisher.mjs port messages-per-second`
import { connect } from "node:net";

const [port, rate] = process.argv.slice(2).map(Number);
const message = "x".repeat(64);
const command = `*3\r\n$7\r\nPUBLISH\r\n$5\r\nbench\r\n$${message.length}\r\n${message}\r\n`;
const socket = connect(port, "127.0.0.1");
socket.resume();

const start = performance.now();
let sent = 0;
setInterval(() => {
  const due = Math.floor(((performance.now() - start) / 1_000) * rate);
  if (due > sent) socket.write(command.repeat(due - sent));
  sent = due;
}, 2);
