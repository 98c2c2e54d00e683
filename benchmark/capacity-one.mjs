// One measurement of `npm run bench:capacity` on one store, in a process of its own: prints the result as JSON.
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setImmediate as turn } from "node:timers/promises";
import { stores } from "./stores.mjs";

const KEYS = 1_000_000;
/** After how many seconds every key expires. */
const LIFETIME = 2;
/** How long the event loop is watched: until after the last key's end, in ms. */
const WATCHED = 6_000;
/** A stall, in ms. */
const LONG = 2;

/** 100 bytes, like those of no other key. In one piece: V8 keeps a string that was joined as its parts. */
function value(number) {
  return Buffer.from(String(number).padStart(100, "*")).toString();
}

/** What a program that makes the same strings and keeps none of them takes by itself: the young generation at its full size. */
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

/** The longest time from one turn of the event loop to the next, how many were over the bar, and what Node's own monitor saw, in ms. */
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
  // One key after the other: their ends are as far apart as these calls, which is about a second.
  for (let i = 0; i < KEYS; i += 1) await kv.expire(`user:${i}`, LIFETIME);
  const result = await longestStall(WATCHED);
  const swept = footprint().rss;
  await fill(kv, "session");
  const refilled = footprint().rss;
  // Nothing but the memory tells from outside whether the keys are gone, or only out of sight.
  if (refilled - full > (full - empty) / 2) throw new Error("The expired keys still take memory.");
  return { ...result, kept: (swept - empty) / (full - empty) };
}

async function idle() {
  footprint();
  return longestStall(WATCHED);
}

const [measurement, store] = process.argv.slice(2);
console.log(JSON.stringify(await { growth, stall, idle }[measurement](store)));
