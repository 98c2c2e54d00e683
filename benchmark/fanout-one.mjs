// One instance that hears the events in one of the ways: `node --expose-gc fanout-one.mjs port way`, forked by fanout.mjs.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as wait } from "node:timers/promises";
import {
  dueOf,
  HANDLERS,
  handlerName,
  handlerOf,
  SUBSCRIPTIONS,
  subscriptionName,
  subscriptionNames,
  subscriptionOf,
} from "./fanout-world.mjs";

const [port, way] = process.argv.slice(2);
/** How long the last event may take after the last message was published, in ms. */
const GRACE_MS = 1_000;
/** The interval of the event loop's monitor, in ms. Each of its samples includes the interval. */
const PERIOD_MS = 10;

/** Handler, subscription and text of each event, one after the other. They are checked after the window. */
const received = [];
const deliverTo = (handler) => (event, subscription) => void received.push(handler, subscription, event);
const delivered = () => received.length / 3;

let cutOff = 0;

async function openIoredis() {
  const { resolve } = createRequire(new URL("peers/package.json", import.meta.url));
  const { Redis } = await import(resolve("ioredis"));
  const redis = new Redis({ port: Number(port) });
  // Redis closes the connection of a subscriber that takes its messages too slowly. The messages that were waiting are lost.
  redis.on("close", () => {
    cutOff += 1;
  });
  return redis;
}

/** Each way opens what it needs, and resolves to a function that tells how many messages it has handled. */
const ways = {
  async "covara-kv"() {
    const kv = await import("covara-kv");
    await kv.initializeKV({ type: "redis", redis: { port: Number(port) } });
    for (let i = 0; i < HANDLERS; i += 1) kv.registerHandler(handlerName(i), deliverTo(i));
    for (const [i, name] of subscriptionNames(SUBSCRIPTIONS).entries())
      kv.trackSubscription(handlerName(handlerOf(i)), name);
    await kv.initializeEventSubscription();
    return () => kv.getFanoutStats().seen;
  },

  /** As the framework does: it looks up in Redis to which handler a subscription belongs. fanout.mjs has written that. */
  async "JSON.parse, store"() {
    const [subscriber, store] = [await openIoredis(), await openIoredis()];
    const handlers = new Map();
    for (let i = 0; i < HANDLERS; i += 1) handlers.set(handlerName(i), deliverTo(i));
    let handled = 0;
    subscriber.on("message", async (_channel, message) => {
      const { subscriptionId, event } = JSON.parse(message);
      const handlerId = await store.hget("subscriptions", subscriptionId);
      const subscriptions = await store.smembers(`handler:${handlerId}:subscriptions`);
      const deliver = handlers.get(handlerId);
      if (deliver !== undefined && subscriptions.includes(subscriptionId))
        deliver(JSON.stringify(event), subscriptionId);
      handled += 1;
    });
    await subscriber.subscribe("covara:events");
    return () => handled;
  },

  /** As the framework could do, with its own subscriptions in memory. */
  async "JSON.parse, Map"() {
    const subscriber = await openIoredis();
    const handlers = new Map();
    for (const [i, name] of subscriptionNames(SUBSCRIPTIONS).entries())
      handlers.set(name, deliverTo(handlerOf(i)));
    let handled = 0;
    subscriber.on("message", (_channel, message) => {
      const { subscriptionId, event } = JSON.parse(message);
      handlers.get(subscriptionId)?.(JSON.stringify(event), subscriptionId);
      handled += 1;
    });
    await subscriber.subscribe("covara:events");
    return () => handled;
  },
};

/** The CPU time of the thread that runs JavaScript, and the time for which it was ready and had no core, in ms. Linux only. */
function thread() {
  const [js, coreless] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ");
  return { js: Number(js) / 1e6, coreless: Number(coreless) / 1e6 };
}

function processCpu() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e3;
}

const now = () => performance.timeOrigin + performance.now();

async function measure(seconds, handledSoFar) {
  globalThis.gc();
  const loop = monitorEventLoopDelay({ resolution: PERIOD_MS });
  const before = { ...thread(), process: processCpu(), handled: handledSoFar() };
  const from = now();
  loop.enable();
  await wait(seconds * 1_000);
  loop.disable();
  const to = now();
  const after = { ...thread(), process: processCpu(), handled: handledSoFar() };
  const delay = (nanoseconds) => Math.max(0, nanoseconds / 1e6 - PERIOD_MS);
  return {
    from,
    to,
    handledUpTo: after.handled,
    handled: after.handled - before.handled,
    js: after.js - before.js,
    coreless: after.coreless - before.coreless,
    process: after.process - before.process,
    p50: delay(loop.percentile(50)),
    p99: delay(loop.percentile(99)),
    max: delay(loop.max),
  };
}

/** The number of events that were not due, came twice, went to another handler, were out of order, or were of another type. */
function countWrong() {
  const lastOf = new Map();
  let wrong = 0;
  for (let i = 0; i < received.length; i += 3) {
    const [handler, name, text] = received.slice(i, i + 3);
    const { type, object = {} } = JSON.parse(text);
    const subscription = subscriptionOf(object.id);
    const isRight =
      type === "changed" &&
      name === subscriptionName(subscription) &&
      handler === handlerOf(subscription) &&
      object.id > (lastOf.get(handler) ?? -1);
    if (!isRight) wrong += 1;
    lastOf.set(handler, object.id);
  }
  return wrong;
}

const handledSoFar = await ways[way]();
process.on("message", async ({ seconds, sent }) => {
  if (seconds !== undefined) return process.send(await measure(seconds, handledSoFar));
  const due = dueOf(sent);
  for (const end = now() + GRACE_MS; delivered() < due && now() < end; ) await wait(10);
  process.send({ due, inTime: delivered(), wrong: countWrong(), cutOff }, () => process.exit());
});
process.send("ready");
