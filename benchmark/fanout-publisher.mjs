// The rest of the fleet: `node fanout-publisher.mjs port messages-per-second`, forked by fanout.mjs. It publishes at a steady rate, over a
// plain socket, until it is told to stop. Then it sends how many messages the server had taken at which time.
import { connect } from "node:net";
import { messageText, SUBSCRIPTIONS, subscriptionNames, subscriptionOf } from "./fanout-world.mjs";

const [port, rate] = process.argv.slice(2).map(Number);
const names = subscriptionNames(2 * SUBSCRIPTIONS);
const command = (message) => {
  const text = messageText(message, names[subscriptionOf(message)]);
  return `*3\r\n$7\r\nPUBLISH\r\n$13\r\ncovara:events\r\n$${text.length}\r\n${text}\r\n`;
};

const socket = connect(port, "127.0.0.1");
const now = () => performance.timeOrigin + performance.now();
let sent = 0;
let taken = 0;
/** Pairs of a time and the number of messages that the server had answered by then. */
const samples = [];
// Counts messages that the server has taken, not those that were written: each answer has 4 bytes, ":1\r\n".
socket.on("data", (answers) => {
  taken += answers.length / 4;
});

const start = now();
const clock = setInterval(() => {
  const time = now();
  samples.push([time, Math.floor(taken)]);
  const due = Math.floor(((time - start) / 1_000) * rate);
  let batch = "";
  for (; sent < due; sent += 1) batch += command(sent);
  if (batch !== "") socket.write(batch);
}, 2);

process.once("message", () => {
  clearInterval(clock);
  setInterval(() => {
    if (taken === sent) process.send({ sent, samples }, () => process.exit());
  }, 2);
});
process.send("started");
