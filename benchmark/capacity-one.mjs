// One measurement of `npm run bench:capacity` on one store, in a process of its own: prints the result as JSON.
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setImmediate as turn } from "node:timers/promises";
import { stores } from "./stores.mjs";

const KEYS = 1_000_000;
/** The time to live of every key, in seconds. */
const LIFETIME = 2;
/** How long the event loop is watched, in ms: until after the last key has expired. */
const WATCHED = 6_000;
/** A turn that takes at least this long is a stall, in ms. */
const LONG = 2;

/** 100 bytes that no other key has. Made in one piece, as V8 keeps a concatenated string as its parts. */
function value(number) {
  return Buffer.from(String(number).padStart(100, "*")).toString();
}

/** Makes the same strings and keeps none, so that V8's young generation has its full size before the measurement. */
async function warmUp() {
  let length = 0;
  for (let i = 0; i < KEYS; i += 1) length += (await Promise.resolve(`user:${i}${value(i)}`)).length;
  return length;
}

function footprint() {
  for (let i = 0; i < 3; i += 1) globalThis.gc();
  const { rss, heapUsed } = process.memoryUsage();
  return { rss, heap: heapUsed };
}

async function fill(kv, name) {
  for (let i = 0; i < KEYS; i += 1) await kv.set(`${name}:${i}`, value(i));
}

async function growth(store) {
  const kv = stores[store]();
  await kv.set("user:0", value(0));
  await warmUp();
  const before = footprint();
  await fill(kv, "user");
  const after = footprint();
  if ((await kv.get(`user:${KEYS - 1}`)) !== value(KEYS - 1)) throw new Error("The last key is not there.");
  return { rss: after.rss - before.rss, heap: after.heap - before.heap };
}

/** The longest turn of the event loop, the number of stalls, and the maximum of Node.js's own monitor; times in ms. */
async function longestStall(duration) {
  const monitor = monitorEventLoopDelay({ resolution: 1 });
  monitor.enable();
  const end = performance.now() + duration;
  let longest = 0;
  let over = 0;
  let last = performance.now();
  while (last < end) {
    await turn();
    const now = performance.now();
    longest = Math.max(longest, now - last);
    if (now - last >= LONG) over += 1;
    last = now;
  }
  monitor.disable();
  return { longest, over, monitor: monitor.max / 1e6 };
}

async function stall(store) {
  const kv = stores[store]();
  await warmUp();
  const empty = footprint().rss;
  await fill(kv, "user");
  const full = footprint().rss;
  // One key after the other, so that they expire over about a second, the time that these calls take.
  for (let i = 0; i < KEYS; i += 1) await kv.expire(`user:${i}`, LIFETIME);
  const result = await longestStall(WATCHED);
  const swept = footprint().rss;
  await fill(kv, "session");
  const refilled = footprint().rss;
  // Only the memory shows whether the keys were freed, or only hidden.
  if (refilled - full > (full - empty) / 2) throw new Error("The expired keys still take memory.");
  return { ...result, kept: (swept - empty) / (full - empty) };
}

async function idle() {
  footprint();
  return longestStall(WATCHED);
}

const [measurement, store] = process.argv.slice(2);
console.log(JSON.stringify(await { growth, stall, idle }[measurement](store)));
