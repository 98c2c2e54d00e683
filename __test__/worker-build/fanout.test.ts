// In a Worker each handler and watcher has a socket of its own. Without a sign it may miss something when the socket is lost.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { createDurableObjectKV, type KVStore } from "covara-kv";
import { eventually } from "../backends.js";
import { FakeNamespace, type FakeObject } from "../durable-object/fake-namespace.js";

/** The entry exports the same names as that for Node.js. */
type Worker = typeof import("covara-kv");

const GAP = '{"type":"invalidate","reason":"fanout-gap"}';

let worker: Worker;
let namespace: FakeNamespace;
let object: FakeObject;
let store: KVStore;
/** The store with which another isolate publishes. */
let elsewhere: KVStore;

beforeEach(async () => {
  worker = (await import("covara-kv/durable-object")) as Worker;
  namespace = new FakeNamespace();
  object = namespace.object();
  store = worker.createDurableObjectKV(namespace, { reconnectDelay: () => 0 });
  elsewhere = createDurableObjectKV(namespace);
  worker.setGlobalKV(store);
  await worker.initializeEventSubscription();
});

afterEach(async () => {
  for (const id of ["a", "b"]) worker.unregisterHandler(id);
  assert.equal(worker.getActiveHandlerCount() + worker.getAggregateWatcherCount(), 0);
  worker.clearGlobalKV();
  await Promise.all([store.disconnect(), elsewhere.disconnect()]);
});

/** Registers a handler that collects its events. */
async function registered(id: string, ...subscriptions: string[]): Promise<string[]> {
  const got: string[] = [];
  worker.registerHandler(id, (event, subscription) => got.push(`${subscription} ${event}`));
  await worker.initializeEventSubscription();
  for (const subscription of subscriptions) worker.trackSubscription(id, subscription);
  return got;
}

const sockets = () => object.getWebSockets().length;

test("nothing is opened while there is no handler, and each has a socket that goes with it", async () => {
  assert.deepEqual(namespace.requests, []);
  const [a, b] = [await registered("a", "1:x"), await registered("b", "2:x")];
  assert.equal(sockets(), 2);
  const event = { type: "changed", subscriptionId: "2:x", event: { id: 7 } } as const;
  assert.equal(await worker.publishEvent(event), true);
  await eventually(() => b.length === 1);
  assert.deepEqual([a, b], [[], ['2:x {"id":7}']]);
  worker.unregisterHandler("a");
  await eventually(() => sockets() === 1);
  worker.unregisterHandler("b");
  await eventually(() => sockets() === 0);
  assert.equal(await worker.publishEvent(event), false);
  assert.deepEqual(a, []);
});

test("an event reaches a handler as the text it came as, whatever wrote it, in its order and once", async () => {
  const got = await registered("a", "1:x", 'q"\\:x');
  const messages = [
    '{"type":"added","subscriptionId":"1:x","event":{"n":12345678901234567890, "__proto__":1}}',
    '{"subscriptionId":"1:x","event":{"a" : 1},"type":"added"}',
    '{"type":"added","subscriptionId":"1:x","event":1,"more":2}',
    '{"type":"added","subscriptionId":"q\\"\\\\:x","event":"}"}',
    '{"type":"added","subscriptionId":"\\u0031:x","event":null}',
  ];
  for (const message of messages) await elsewhere.publish("covara:events", message);
  await eventually(() => got.length === messages.length);
  assert.deepEqual(got, [
    '1:x {"n":12345678901234567890, "__proto__":1}',
    '1:x {"a":1}',
    "1:x 1",
    'q"\\:x "}"',
    "1:x null",
  ]);
});

test("what is no message, and what is for others, is counted and dropped", async () => {
  const got = await registered("a", "1:x");
  const before = worker.getFanoutStats();
  const malformed = [
    "",
    "null",
    "[]",
    "{}",
    '{"subscriptionId":1,"event":{}}',
    '{"subscriptionId":"1:x"}',
    '{"type":"added","subscriptionId":"1:x","event":{x}}',
  ];
  for (const message of malformed) await elsewhere.publish("covara:events", message);
  await elsewhere.publish("covara:events", '{"type":"added","subscriptionId":"far:x","event":1}');
  await elsewhere.publish("covara:events", '{"event":1,"subscriptionId":"far:x"}');
  await elsewhere.publish("covara:events", '{"type":"added","subscriptionId":"1:x","event":"last"}');
  await eventually(() => got.length === 1);
  const { seen, delivered, notLocal, malformed: dropped } = worker.getFanoutStats();
  assert.deepEqual(
    [
      seen - before.seen,
      delivered - before.delivered,
      notLocal - before.notLocal,
      dropped - before.malformed,
    ],
    [malformed.length + 3, 1, 2, malformed.length],
  );
});

test("a lost socket comes back, and its handler alone is told of the gap, once for each subscription", async () => {
  const got = await registered("a", "1:x", "2:x");
  const calls: unknown[] = [];
  const end = worker.registerAggregateWatcher("posts", (changed) => calls.push(changed));
  await worker.initializeEventSubscription();
  const before = calls.length;
  object.breakSockets();
  await eventually(() => got.length === 2 && calls.length === before + 1);
  assert.deepEqual(got, [`1:x ${GAP}`, `2:x ${GAP}`]);
  assert.equal(calls.at(-1), undefined);
  await elsewhere.publish("covara:events", '{"type":"added","subscriptionId":"2:x","event":1}');
  await eventually(() => got.length === 3);
  end();
});

// In a Worker the socket opens only after the handler is registered: an event that is published in between reaches no handler.
test("a subscription that was tracked before the socket was live is told that it may have missed something", async () => {
  const got: string[] = [];
  worker.registerHandler("a", (event, subscription) => got.push(`${subscription} ${event}`));
  worker.trackSubscription("a", "1:x");
  await worker.initializeEventSubscription();
  worker.trackSubscription("a", "2:x");
  await elsewhere.publish("covara:events", '{"type":"added","subscriptionId":"2:x","event":1}');
  await eventually(() => got.length === 2);
  assert.deepEqual(got, [`1:x ${GAP}`, "2:x 1"]);
});

test("a handler that is registered again keeps its subscriptions, and is told of the time between the sockets", async () => {
  const old = await registered("a", "1:x");
  const got = await registered("a");
  await eventually(() => sockets() === 1 && got.length === 1);
  await elsewhere.publish("covara:events", '{"type":"added","subscriptionId":"1:x","event":1}');
  await eventually(() => got.length === 2);
  assert.deepEqual([old, got], [[], [`1:x ${GAP}`, "1:x 1"]]);
});

test("a signal unregisters its own handler alone, and one that is aborted registers none", async () => {
  const [first, second] = [new AbortController(), new AbortController()];
  worker.registerHandler("a", () => {}, { signal: first.signal });
  worker.registerHandler("a", () => {}, { signal: second.signal });
  first.abort();
  assert.equal(worker.getActiveHandlerCount(), 1);
  second.abort();
  assert.equal(worker.getActiveHandlerCount(), 0);
  worker.registerHandler("b", () => {}, { signal: first.signal });
  assert.equal(worker.getActiveHandlerCount(), 0);
  await eventually(() => sockets() === 0);
});

test("watchers hear of changes of their own resource from any isolate, without rows", async () => {
  const calls: unknown[][] = [];
  const others: unknown[] = [];
  const end = worker.registerAggregateWatcher("posts", (...args) => calls.push(args));
  const endOther = worker.registerAggregateWatcher("users", () => others.push(1));
  // Each is called once when its socket is live, as it may have missed a change before.
  await eventually(() => calls.length === 1 && others.length === 1);
  await worker.notifyAggregateWatchers("posts", [{ id: 1 }]);
  await elsewhere.publish("covara:aggregate", "{}");
  await elsewhere.publish("covara:aggregate", '{"resource":"posts"}');
  await eventually(() => calls.length === 3);
  assert.deepEqual(calls, [[], [], []]);
  assert.equal(others.length, 1);
  assert.deepEqual([worker.getAggregateWatcherCount("posts"), worker.getAggregateWatcherCount()], [1, 2]);
  end();
  end();
  endOther();
});

test("a handler that throws harms no other, and its error is in the log", async (t) => {
  const warn = t.mock.method(console, "warn", () => {});
  worker.registerHandler("a", () => {
    throw new Error("mine");
  });
  worker.trackSubscription("a", "1:x");
  const got = await registered("b", "2:x");
  await worker.publishEvent({ type: "added", subscriptionId: "1:x", event: 1 });
  await worker.publishEvent({ type: "added", subscriptionId: "2:x", event: 1 });
  await eventually(() => got.length === 1 && warn.mock.callCount() === 2);
  for (const { arguments: said } of warn.mock.calls) {
    assert.equal(said[0], "[COVARA_KV_CALLBACK] A handler of the fan-out failed");
    assert.equal((said[1] as Error).message, "mine");
  }
});

test("an object that cannot be reached is tried again, and waiting handlers are told", async () => {
  namespace.failure = new Error("no such object");
  const got: string[] = [];
  worker.registerHandler("a", (event) => got.push(event));
  await assert.rejects(worker.initializeEventSubscription(), { code: "CONNECTION" });
  worker.trackSubscription("a", "1:x");
  namespace.failure = undefined;
  await eventually(() => got.length === 1);
  assert.deepEqual(got, [GAP]);
  await worker.initializeEventSubscription();
});

// A socket whose request ends while it opens never opens. Every later request then waits 5 s for it, and is refused.
test("a handler that never becomes live holds up others no longer than its own time limit", async () => {
  const get = namespace.get;
  namespace.get = () => ({ fetch: () => new Promise(() => {}) });
  worker.registerHandler("a", () => {});
  await assert.rejects(worker.initializeEventSubscription(), { code: "TIMEOUT" });
  namespace.get = get;
  const got = await registered("b", "2:x");
  await worker.publishEvent({ type: "added", subscriptionId: "2:x", event: 1 });
  await eventually(() => got.length === 1);
});

// If initializeKV closes the new store, the process has none.
test("a handler that an earlier store cannot reach does not make initializeKV fail", async () => {
  namespace.failure = new Error("no such object");
  worker.registerHandler("a", () => {});
  await assert.rejects(worker.initializeEventSubscription(), { code: "CONNECTION" });
  const durableObject = { namespace: new FakeNamespace() };
  const kv = await worker.initializeKV({ type: "durable-object", durableObject });
  assert.equal(worker.getGlobalKV(), kv);
  await kv.disconnect();
});

test("an initializeKV that fails takes back its own store alone", async () => {
  worker.clearGlobalKV();
  worker.registerHandler("a", () => {});
  const refusing = new FakeNamespace();
  refusing.failure = new Error("no such object");
  const type = "durable-object";
  const failing = worker.initializeKV({ type, durableObject: { namespace: refusing } });
  failing.catch(() => {});
  await eventually(() => worker.hasGlobalKV());
  const kv = worker.createDurableObjectKV(new FakeNamespace());
  worker.setGlobalKV(kv);
  await assert.rejects(failing, { code: "CONNECTION" });
  assert.equal(worker.getGlobalKV(), kv);
  worker.unregisterHandler("a");
  await kv.disconnect();
});

// A socket that is still being opened when its store is closed must not be forgotten. Otherwise its attempts go on every second for ever,
// or until it lives beside its successor.
test("what a store that is closed had not opened yet is not opened later", async () => {
  namespace.failure = new Error("no such object");
  const got: string[] = [];
  worker.registerHandler("a", (event) => got.push(event));
  await assert.rejects(worker.initializeEventSubscription(), { code: "CONNECTION" });
  worker.trackSubscription("a", "1:x");

  // A handler on a store of its own fails later, so its next attempt is later too.
  const elsewhere = new FakeNamespace();
  elsewhere.failure = new Error("no such object either");
  const other = worker.createDurableObjectKV(elsewhere);
  const later: string[] = [];
  worker.setGlobalKV(other);
  worker.registerHandler("b", (event) => later.push(event));
  worker.trackSubscription("b", "2:x");
  worker.setGlobalKV(store);

  await store.disconnect();
  namespace.failure = undefined;
  await store.connect();
  await eventually(() => got.length === 1);
  elsewhere.failure = undefined;
  await eventually(() => later.length === 1);
  assert.deepEqual([sockets(), got], [1, [GAP]]);
  worker.unregisterHandler("b");
  await other.disconnect();
});

test("handlers stay with their store until it is closed, and then go to the one that there is", async () => {
  const got = await registered("a", "1:x");
  const other = new FakeNamespace();
  const next = worker.createDurableObjectKV(other);
  worker.setGlobalKV(next);
  await elsewhere.publish("covara:events", '{"type":"added","subscriptionId":"1:x","event":1}');
  await eventually(() => got.length === 1);
  await store.disconnect();
  await eventually(() => got.length === 2);
  assert.equal(got[1], `1:x ${GAP}`);
  await worker.publishEvent({ type: "added", subscriptionId: "1:x", event: 2 });
  await eventually(() => got.length === 3);
  // After the store has opened again its handlers hear again.
  await next.disconnect();
  await next.connect();
  await eventually(() => got.length === 4);
  assert.deepEqual(got.slice(2), ["1:x 2", `1:x ${GAP}`]);
  worker.unregisterHandler("a");
  await next.disconnect();
});

// Stores of the framework's interface have no listen, and their unsubscribe removes the callbacks of all handlers: the others heard
// nothing.
test("a handler that leaves a store without listen takes no other along", async () => {
  for (const isScoped of [true, false]) {
    const own = new Proxy(store, {
      get(target, name) {
        if (name === "listen" || (name === "subscribeScoped" && !isScoped)) return undefined;
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    worker.setGlobalKV(own);
    const [a, b] = [await registered("a", "1:x"), await registered("b", "2:x")];
    worker.unregisterHandler("a");
    await eventually(() => sockets() === 1);
    await elsewhere.publish("covara:events", '{"type":"added","subscriptionId":"2:x","event":1}');
    await eventually(() => b.length === 1);
    assert.deepEqual([a, b], [[], ["2:x 1"]]);
    worker.unregisterHandler("b");
    await eventually(() => sockets() === 0);
  }
});

test("nothing is heard before initializeEventSubscription", async () => {
  const { stdout } = spawnSync(
    process.execPath,
    [
      "--import",
      "tsx",
      "--input-type=module",
      "--eval",
      `
    import { createDurableObjectKV, initializeEventSubscription, registerHandler, setGlobalKV } from "covara-kv/durable-object";
    const requests = [];
    const fetch = (input) => { requests.push(input); return new Promise(() => {}); };
    registerHandler("a", () => {});
    setGlobalKV(createDurableObjectKV({ idFromName: (name) => name, get: () => ({ fetch }) }));
    await null;
    const before = requests.length;
    void initializeEventSubscription();
    while (requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
    console.log(before, requests.length);
    process.exit();`,
    ],
    { cwd: join(__dirname, "../.."), encoding: "utf8" },
  );
  assert.equal(stdout, "0 1\n");
});
