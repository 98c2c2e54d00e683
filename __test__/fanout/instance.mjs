// An instance of an application, in a process or a thread of its own: does the jobs of instances.ts.
import process from "node:process";
import { setImmediate as turn } from "node:timers/promises";
import { parentPort } from "node:worker_threads";
import {
  getFanoutStats,
  getGlobalKV,
  initializeKV,
  notifyAggregateWatchers,
  publishEvent,
  registerAggregateWatcher,
  registerHandler,
  trackSubscription,
  unregisterHandler,
} from "covara-kv";

/** The number of events that are published in one tick. */
const AT_ONCE = 50;

let deliveries = [];
const watchers = new Map();
let published = 0;

/** Resolves to the outcome of each event: whether a handler has been reached, or the code of the error. */
async function publish(events) {
  const outcome = ({ subscriptionId, event }) =>
    publishEvent({ type: "changed", subscriptionId, event }).then(
      (reached) => reached,
      ({ code, stack }) => code ?? stack,
    );
  const outcomes = [];
  for (let i = 0; i < events.length; i += AT_ONCE) {
    const some = events.slice(i, i + AT_ONCE);
    outcomes.push(...(await Promise.all(some.map(outcome))));
    published += some.length;
    await turn();
  }
  return outcomes;
}

const jobs = {
  async open(redis, prefix) {
    await initializeKV({ type: "redis", redis, prefix });
  },
  register(handler, subscriptions) {
    registerHandler(handler, (event, subscription) => {
      deliveries.push({ handler, subscription, event, at: Date.now() });
    });
    for (const subscription of subscriptions) trackSubscription(handler, subscription);
  },
  registerAll(handlers) {
    for (const [handler, subscriptions] of handlers) jobs.register(handler, subscriptions);
  },
  unregister: unregisterHandler,
  watch(resource) {
    const calls = [];
    registerAggregateWatcher(resource, (...args) => void calls.push(args));
    watchers.set(resource, calls);
  },
  publish,
  published: () => published,
  notify: (resource) => notifyAggregateWatchers(resource),
  delivered: () => deliveries.length,
  /** The deliveries since the last call. */
  take() {
    const taken = deliveries;
    deliveries = [];
    return taken;
  },
  calls: (resource) => watchers.get(resource),
  stats: getFanoutStats,
  async subscribe(channel) {
    const kv = getGlobalKV();
    await kv.subscribe(channel, () => {});
    await kv.listen([`${channel}, too`], () => {});
  },
  /** Blocks the thread until the caller sets the first element of `until`. */
  block(started, until) {
    Atomics.store(started, 0, 1);
    Atomics.notify(started, 0);
    Atomics.wait(until, 0, 0);
  },
  /** Publishes until the thread ends. */
  flood(subscriptions) {
    const events = subscriptions.map((subscriptionId, n) => ({ subscriptionId, event: { n } }));
    (async () => {
      for (;;) await publish(events);
    })();
  },
  disconnect: () => getGlobalKV().disconnect(),
};

const send = (message) => (parentPort === null ? process.send(message) : parentPort.postMessage(message));

async function answer({ id, job, args }) {
  try {
    send({ id, result: await jobs[job](...args) });
  } catch (error) {
    send({ id, error: error.stack });
  }
}

if (parentPort === null) process.on("message", answer);
else parentPort.on("message", answer);
