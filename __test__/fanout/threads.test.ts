// The threads of a process are one instance. If a thread's handlers and watchers outlive it, events go to nothing.
import assert from "node:assert/strict";
import {
  createKV,
  getActiveHandlerCount,
  getAggregateWatcherCount,
  getFanoutStats,
  getGlobalKV,
  initializeEventSubscription,
  notifyAggregateWatchers,
  publishEvent,
  registerHandler,
  trackSubscription,
  unregisterHandler,
} from "covara-kv";
import { eventually } from "../backends.js";
import {
  AGGREGATE,
  EVENTS,
  eventsOf,
  GAP,
  Instance,
  server,
  subscribers,
  subscribingConnections,
  test,
  wire,
} from "./instances.js";

const publish = (subscriptionId: string, event: unknown) =>
  publishEvent({ type: "changed", subscriptionId, event });

/** The number of PUBLISH commands that the server has run. */
async function publications(): Promise<number> {
  const info = await server.admin.info("commandstats");
  return Number(/cmdstat_publish:calls=(\d+)/.exec(info)?.[1] ?? 0);
}

const areSubscribed = (events: number, aggregate: number) =>
  eventually(async () => (await subscribers()).join() === [events, aggregate].join());

test("all threads of a process have one subscribing connection, whatever they subscribe", async (world) => {
  const kv = await world.start();
  const threads = [await world.thread(), await world.thread()];
  const deliveries = world.handler("main", "s");
  await kv.subscribe("of the main thread", () => {});
  await using _ = await kv.listen(["and more"], () => {});
  for (const [n, thread] of threads.entries()) {
    await thread.do("register", `h ${n}`, [`s ${n}`]);
    await thread.do("watch", "users");
    await thread.do("subscribe", `of thread ${n}`);
  }
  await initializeEventSubscription();
  await areSubscribed(1, 1);
  assert.equal(await subscribingConnections(), 1);
  const store = await createKV({ type: "redis", redis: server.address, prefix: "p" });
  world.defer(() => store.disconnect());
  await store.subscribe("of another store", () => {});
  assert.equal(await subscribingConnections(), 1);
  // Each thread gets its own events over this connection.
  await server.admin.publish(EVENTS, wire("s", 0));
  await server.admin.publish(EVENTS, wire("s 1", 1));
  await eventually(async () => deliveries.length > 0 && (await threads[1]?.do("delivered")) === 1);
  assert.equal(await threads[0]?.do("delivered"), 0);
});

test("an event for a handler of another thread is handed over without the server", async (world) => {
  await world.start();
  const [a, b] = [await world.thread(), await world.thread()];
  await a.do("register", "a", ["of a"]);
  await b.do("register", "b", ["of b"]);
  const deliveries = world.handler("main", "of main");
  const before = await publications();
  const events = ["of a", "of b", "of main"].map((subscriptionId) => ({ subscriptionId, event: "local" }));
  for (const { subscriptionId, event } of events) assert.equal(await publish(subscriptionId, event), true);
  assert.deepEqual(await a.do("publish", events), [true, true, true]);
  assert.deepEqual(await b.do("publish", events), [true, true, true]);
  await eventually(async () => {
    const counts = [await a.do("delivered"), await b.do("delivered"), deliveries.length];
    return counts.every((count) => count >= 3);
  });
  assert.equal(await publications(), before);
  for (const taken of [await a.do("take"), await b.do("take"), deliveries]) {
    assert.deepEqual(eventsOf(taken), ['"local"', '"local"', '"local"']);
  }
  assert.equal(getActiveHandlerCount(), 3);
  assert.deepEqual((await a.do("stats")).handlers, 3);
});

test("events cross from thread to thread in order, and none is lost", async (world) => {
  await world.start();
  const [a, b] = [await world.thread(), await world.thread()];
  await a.do("register", "a", ["of a"]);
  const deliveries = world.handler("main", "of main");
  const events = (by: string, subscriptionId: string) =>
    Array.from({ length: 5_000 }, (_, n) => ({ subscriptionId, event: `${by} ${n}` }));
  const outcomes = await Promise.all([
    a.do("publish", events("a", "of main")),
    b.do("publish", events("b", "of main")),
    b.do("publish", events("b", "of a")),
  ]);
  assert.ok(outcomes.flat().every((outcome) => outcome === true));
  await eventually(async () => deliveries.length >= 10_000 && (await a.do("delivered")) >= 5_000);
  const of = (by: string, all = eventsOf(deliveries)) => all.filter((event) => event.startsWith(`"${by}`));
  const expected = (by: string) => events(by, "").map(({ event }) => JSON.stringify(event));
  assert.deepEqual([of("a"), of("b")], [expected("a"), expected("b")]);
  assert.deepEqual(eventsOf(await a.do("take")), expected("b"));
});

test("a thread that is terminated takes its handlers with it, 100 times while events flow", async (world) => {
  await world.start();
  const deliveries = world.handler("main", "of main");
  const busy = await world.thread();
  await busy.do("register", "busy", ["of busy"]);
  await busy.do("flood", ["of main", "of busy", ...Array.from({ length: 20 }, (_, n) => `of ${n}`)]);
  const other = await world.instance();
  await other.do("flood", ["of main", ...Array.from({ length: 20 }, (_, n) => `of ${n}`)]);
  await areSubscribed(1, 0);
  for (let round = 0; round < 5; round++) {
    const threads = Array.from({ length: 20 }, () => Instance.thread());
    const lives = threads.map(async (thread, n) => {
      // Some threads end before they open a store, others in the middle of their work.
      if (n % 5 > 0) await thread.do("open", server.address);
      if (n % 5 > 1) await thread.do("register", `h ${n}`, [`of ${n}`]);
      if (n % 5 > 2) await thread.do("watch", "users");
      if (n % 5 > 3) await eventually(async () => (await thread.do("delivered")) > 0);
      await thread.end();
    });
    await Promise.all(lives);
    await eventually(() => getFanoutStats().handlers === 2);
    const { subscriptions, watchers } = getFanoutStats();
    assert.deepEqual([subscriptions, watchers], [2, 0]);
  }
  const before = deliveries.length;
  await eventually(() => deliveries.length > before + 100);
  await busy.end();
  await other.end();
  assert.equal(await publish("of busy", 1), false);
  await areSubscribed(1, 0);
  assert.ok(!eventsOf(deliveries).includes(GAP));
  await eventually(async () => (await server.clients()).length === 2);
});

test("the last thread with a handler ends: nothing is subscribed any more", async (world) => {
  await world.start();
  const [a, b] = [await world.thread(), await world.thread()];
  await a.do("register", "a", ["s"]);
  await a.do("watch", "users");
  await b.do("register", "b", ["t"]);
  await areSubscribed(1, 1);
  await a.end();
  await areSubscribed(1, 0);
  await b.end();
  await areSubscribed(0, 0);
  assert.equal(getAggregateWatcherCount(), 0);
  assert.equal(await subscribingConnections(), 0);
});

test("a handler that is registered in another thread moves there with its subscriptions", async (world) => {
  await world.start();
  const [a, b] = [await world.thread(), await world.thread()];
  await a.do("register", "h", ["s", "t"]);
  await b.do("register", "h", ["u"]);
  for (const subscription of ["s", "t", "u"]) assert.equal(await publish(subscription, 1), true);
  await eventually(async () => (await b.do("delivered")) === 3);
  assert.deepEqual(await a.do("take"), []);
  assert.equal(getActiveHandlerCount(), 1);
  // The end of the thread that has lost the handler does not affect it.
  await a.end();
  assert.equal(await publish("s", 2), true);
  await eventually(async () => (await b.do("delivered")) === 4);
  // Any thread may track a subscription, or unregister the handler.
  trackSubscription("h", "v");
  assert.equal(await publish("v", 3), true);
  await eventually(async () => (await b.do("delivered")) === 5);
  const here = world.handler("h");
  assert.equal(await publish("v", 4), true);
  assert.deepEqual(eventsOf(here), ["4"]);
  await b.do("unregister", "h");
  assert.equal(await publish("v", 5), false);
  assert.equal(getActiveHandlerCount(), 0);
});

// A client reconnects, and another thread takes it. Then the old thread aborts its signal, which must not unregister the new handler.
test("the signal of a handler that has moved does not unregister it where it is now", async (world) => {
  await world.start();
  const thread = await world.thread();
  const abort = new AbortController();
  registerHandler("h", () => {}, { signal: abort.signal });
  world.defer(() => unregisterHandler("h"));
  trackSubscription("h", "s");
  const [started, until] = [0, 0].map(() => new Int32Array(new SharedArrayBuffer(4))) as [
    Int32Array,
    Int32Array,
  ];
  const registered = thread.do("register", "h", ["t"]);
  const blocked = thread.do("block", started, until);
  assert.notEqual(Atomics.wait(started, 0, 0, 20_000), "timed-out"); // This thread has not been told of the move yet.
  abort.abort();
  Atomics.store(until, 0, 1);
  Atomics.notify(until, 0);
  await Promise.all([registered, blocked]);
  assert.equal(await publish("s", 1), true);
  await eventually(async () => (await thread.do("delivered")) === 1);
});

// The events that its old thread has not taken yet are lost with that thread.
test("a handler that moves loses nothing of what its thread has not taken without being told", async (world) => {
  await world.start();
  const [a, b] = [await world.thread(), await world.thread()];
  await a.do("register", "h", ["s", "quiet"]);
  const [started, until] = [0, 0].map(() => new Int32Array(new SharedArrayBuffer(4))) as [
    Int32Array,
    Int32Array,
  ];
  const blocked = a.do("block", started, until);
  blocked.catch(() => {}); // The thread is ended while it is blocked.
  await eventually(() => Atomics.load(started, 0) === 1);
  for (let n = 0; n < 10; n++) assert.equal(await publish("s", n), true);
  await b.do("register", "h", ["t"]);
  await a.end();
  assert.equal(await publish("s", "last"), true);
  await eventually(async () => (await b.do("delivered")) > 0);
  const events = eventsOf(await b.do("take"));
  assert.ok(events.length === 11 || events.some((event) => event.includes("invalidate")), `${events}`);
});

test("threads whose stores are configured differently each hear for themselves, and once", async (world) => {
  await world.start();
  const thread = await world.thread({ ...server.address, connectTimeout: 9_999 });
  await thread.do("register", "there", ["t"]);
  await thread.do("watch", "users");
  const [deliveries, calls] = [world.handler("here", "s"), world.watcher("users")];
  await areSubscribed(2, 2);
  assert.equal(await subscribingConnections(), 2);
  for (const subscription of ["s", "t"]) await server.admin.publish(EVENTS, wire(subscription, 1));
  for (let n = 0; n < 5; n++) {
    await notifyAggregateWatchers("users");
    await thread.do("notify", "users");
    await server.admin.publish(AGGREGATE, '{"resource":"users"}');
  }
  await eventually(async () => calls.length >= 15 && (await thread.do("calls", "users")).length >= 15);
  await server.admin.publish(EVENTS, wire("s", 2));
  await server.admin.publish(EVENTS, wire("t", 2));
  await eventually(async () => deliveries.length >= 2 && (await thread.do("delivered")) >= 2);
  assert.deepEqual(
    [eventsOf(deliveries), eventsOf(await thread.do("take"))],
    [
      ["1", "2"],
      ["1", "2"],
    ],
  );
  assert.deepEqual([calls.length, (await thread.do("calls", "users")).length], [15, 15]);
});

test("what an application subscribes itself on the channels is its own affair", async (world) => {
  const kv = await world.start();
  const deliveries = world.handler("h", "s");
  await initializeEventSubscription();
  const heard: string[] = [];
  await kv.subscribe(EVENTS, (message) => heard.push(message));
  await server.admin.publish(EVENTS, wire("s", 1));
  await eventually(() => heard.length === 1 && deliveries.length === 1);
  await kv.unsubscribe(EVENTS);
  assert.deepEqual(await subscribers(), [1, 0]);
  await server.admin.publish(EVENTS, wire("s", 2));
  await eventually(() => deliveries.length === 2);
  await kv.subscribe(EVENTS, (message) => heard.push(message));
  unregisterHandler("h");
  await initializeEventSubscription();
  await server.admin.publish(EVENTS, wire("s", 3));
  await eventually(() => heard.length === 2);
  assert.deepEqual(eventsOf(deliveries), ["1", "2"]);
});

test("watchers in two threads are called once for each change, whichever thread or process tells of it", async (world) => {
  await world.start();
  const threads = [await world.thread(), await world.thread()];
  const [users, posts] = [world.watcher("users"), world.watcher("posts")];
  for (const thread of threads) for (const name of ["users", "last"]) await thread.do("watch", name);
  const last = world.watcher("last");
  const other = await world.instance();
  await other.do("watch", "users");
  await areSubscribed(0, 2);
  for (let n = 0; n < 10; n++) {
    await notifyAggregateWatchers("users", [n]);
    await threads[0]?.do("notify", "users");
    await other.do("notify", "users");
    await server.admin.publish(AGGREGATE, '{"resource":"users"}');
  }
  await Promise.all([
    notifyAggregateWatchers("users"),
    notifyAggregateWatchers("users"),
    threads[1]?.do("notify", "users"),
  ]);
  // A message that comes last on the same channel comes after all the others.
  await server.admin.publish(AGGREGATE, '{"resource":"last"}');
  await eventually(
    async () =>
      last.length > 0 &&
      (await threads[0]?.do("calls", "last"))?.length === 1 &&
      (await other.do("calls", "users")).length >= 43,
  );
  await getGlobalKV().get("k");
  const calls = [users, await threads[0]?.do("calls", "users"), await threads[1]?.do("calls", "users")];
  assert.deepEqual(
    [...calls, await other.do("calls", "users")].map((of) => of?.length),
    [43, 43, 43, 43],
  );
  assert.deepEqual(
    users.filter((args) => args.length > 0),
    Array.from({ length: 10 }, (_, n) => [[n]]),
  );
  assert.deepEqual([posts, getAggregateWatcherCount("users"), getAggregateWatcherCount()], [[], 3, 7]);
});
