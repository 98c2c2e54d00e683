// The rest of the fleet: `node stream-publisher.mjs port instances rate how`, forked by streams.mjs. `one-by-one` and `at-once` publish
// over a plain socket, each message by itself or those of 2 ms together. `filtered` and `targeted` publish on a store.
import { connect } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { createKV } from "covara-kv";
import { EVENTS, namesOf, textOf } from "./stream-world.mjs";

const [port, instances, rate] = process.argv.slice(2, 5).map(Number);
const how = process.argv[5];
const names = Array.from({ length: instances }, (_, instance) => namesOf(instance));
const sleeping = new Int32Array(new SharedArrayBuffer(4));
let sent = 0;
let taken = 0;
let isOver = false;

async function publisher() {
  if (how === "filtered" || how === "targeted") {
    const kv = await createKV({ type: "redis", redis: { port, fanout: how } });
    return (texts) => {
      for (const text of texts)
        kv.publish(EVENTS, text).then(() => {
          taken += 1;
        });
    };
  }
  const socket = connect(port, "127.0.0.1").setNoDelay();
  // Each answer has 4 bytes, ":1\r\n".
  socket.on("data", (answers) => {
    taken += answers.length / 4;
  });
  const command = (text) =>
    `*3\r\n$7\r\nPUBLISH\r\n$${EVENTS.length}\r\n${EVENTS}\r\n$${text.length}\r\n${text}\r\n`;
  return (texts) => socket.write(texts.map(command).join(""));
}

const publish = await publisher();
const pause = how === "one-by-one" ? 500 / rate : 2;

async function run() {
  const start = performance.now();
  while (!isOver) {
    const due = Math.floor(((performance.now() - start) / 1_000) * rate);
    const texts = [];
    const most = how === "one-by-one" ? sent + 1 : due;
    for (; sent < Math.min(due, most); sent += 1) texts.push(textOf(sent, instances, names));
    if (texts.length > 0) publish(texts);
    Atomics.wait(sleeping, 0, 0, pause);
    await turn();
  }
  while (taken < sent) await turn();
  process.send?.({ sent }, () => process.exit());
}

process.on("message", (question) => {
  if (question === "stop") isOver = true;
  else process.send?.({ taken });
});
process.send?.("started");
run();
