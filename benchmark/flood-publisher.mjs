// Publishes messages of 100 bytes, each beginning with its number, over a plain socket for `ms`: `node flood-publisher.mjs port channel
// messages-per-second ms`. At the rate 0 it publishes as fast as the server takes them. Messages on covara:events are events of the
// subscription "flood".
import { connect } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { FLOOD_AFTER_MS } from "./flood-time.mjs";

const [port, channel, rate, duration] = process.argv.slice(2);
/** The most messages without an answer. */
const WINDOW = 2_000;
const EACH_MS = 2;

const text = (number) => {
  const padded = String(number).padStart(12, "0").padEnd(100, "x");
  return channel === "covara:events"
    ? `{"type":"changed","subscriptionId":"flood","event":"${padded.slice(0, 54)}"}`
    : padded;
};
const command = (number) => {
  const message = text(number);
  return `*3\r\n$7\r\nPUBLISH\r\n$${channel.length}\r\n${channel}\r\n$${message.length}\r\n${message}\r\n`;
};

const socket = connect(Number(port), "127.0.0.1");
let sent = 0;
let answered = 0;

/** Writes all messages up to a number. */
function write(due) {
  let batch = "";
  for (; sent < due; sent += 1) batch += command(sent);
  if (batch !== "") socket.write(batch);
}

// Each answer has 4 bytes, ":1\r\n".
socket.on("data", (answers) => {
  answered += answers.length / 4;
  if (rate === "0") write(Math.floor(answered) + WINDOW);
});
await wait(FLOOD_AFTER_MS);
const start = performance.now();
const due = () => Math.floor(((performance.now() - start) / 1_000) * Number(rate));
if (rate === "0") write(WINDOW);
else setInterval(() => write(due()), EACH_MS);
await wait(Number(duration));
socket.end(() => process.exit());
