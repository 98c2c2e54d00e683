// An instance of the framework: `node --expose-gc stream-instance.mjs port fanout`, forked by streams.mjs. It has the streams of instance 0.
import { readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { createKV } from "covara-kv";
import { create, EVENTS, handlerOf, namesOf } from "./stream-world.mjs";

const [port, fanout] = process.argv.slice(2);
const handlers = new Set(["handler-0"]);
const written = [];
let handled = 0;

const kv = await createKV({
  type: "redis",
  redis: { port: Number(port), fanout: /** @type {any} */ (fanout) },
});
const onMessage = handlerOf(kv, handlers, (event) => {
  // An event without an object is an invalidation: the store was too far behind.
  if (event.object !== undefined) written.push(event.object.id);
});
await kv.subscribe(EVENTS, (text) => {
  onMessage(text).finally(() => {
    handled += 1;
  });
});
for (const name of namesOf(0)) await create(kv, name, "handler-0");

/** The CPU time of the process, and of the thread that runs JavaScript, in µs. Linux only. */
function cpu() {
  const { user, system } = process.cpuUsage();
  const js = Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ")[0]) / 1e3;
  return { process: user + system, js };
}

process.on("message", async (/** @type {any} */ { seconds }) => {
  if (seconds === undefined) {
    const inOrder = written.every((id, index) => index === 0 || id > written[index - 1]);
    process.send?.({ written: written.length, inOrder });
    return;
  }
  globalThis.gc?.();
  const [before, handledBefore] = [cpu(), handled];
  await wait(seconds * 1_000);
  const after = cpu();
  process.send?.({
    process: after.process - before.process,
    js: after.js - before.js,
    handled: handled - handledBefore,
  });
});
process.send?.("ready");
