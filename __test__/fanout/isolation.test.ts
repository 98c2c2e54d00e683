// A handler or a watcher that throws, leaves or publishes may keep events from the others.
import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import {
  getActiveHandlerCount,
  getFanoutStats,
  initializeEventSubscription,
  notifyAggregateWatchers,
  publishEvent,
  registerAggregateWatcher,
  registerHandler,
  trackSubscription,
  unregisterHandler,
  untrackSubscription,
} from "covara-kv";
import { eventually } from "../backends.js";
import { errorOf } from "../replies.js";
import { warningsOf } from "../warnings.js";
import { EVENTS, eventsOf, server, subscribers, test, useMemory, wire } from "./instances.js";

const publish = (subscriptionId: string, event: unknown) =>
  publishEvent({ type: "changed", subscriptionId, event });

test("what a handler or a watcher throws becomes a warning, and the others get theirs", async (world) => {
  useMemory(world);
  const register = (id: string, deliver: () => unknown) => {
    registerHandler(id, deliver);
    trackSubscription(id, `of ${id}`);
    world.defer(() => unregisterHandler(id));
  };
  register("throws", () => {
    throw new Error("thrown");
  });
  register("rejects", () => Promise.reject(new Error("rejected")));
  register("throws oddly", () => {
    throw null;
  });
  const deliveries = world.handler("good", "of good");
  world.defer(
    registerAggregateWatcher("users", () => {
      throw new Error("watcher");
    }),
  );
  world.defer(registerAggregateWatcher("users", async () => Promise.reject(1)));
  const calls = world.watcher("users");
  const warnings = await warningsOf(async () => {
    for (const id of ["throws", "rejects", "throws oddly", "good", "throws", "good"]) {
      assert.equal(await publish(`of ${id}`, 1), true);
    }
    await notifyAggregateWatchers("users", [{ id: 1 }]);
  });
  assert.deepEqual([eventsOf(deliveries), calls], [["1", "1"], [[[{ id: 1 }]]]]);
  const count = (message: string) => warnings.filter((warning) => warning.message === message).length;
  assert.equal(count("A handler of the fan-out failed"), 4);
  assert.equal(count("An aggregate watcher of the fan-out failed"), 2);
  assert.ok(warnings.every(({ code }) => code === "COVARA_KV_CALLBACK"));
});

test("a handler that throws loses nothing of a batch, by way of Redis too", async (world) => {
  await world.start();
  registerHandler("throws", (event) => {
    if (event === "1") throw new Error("thrown");
    seen.push(event);
  });
  world.defer(() => unregisterHandler("throws"));
  trackSubscription("throws", "s");
  const seen: string[] = [];
  await initializeEventSubscription();
  const warnings = await warningsOf(async () => {
    await Promise.all(Array.from({ length: 100 }, (_, n) => server.admin.publish(EVENTS, wire("s", n % 2))));
    await eventually(() => seen.length === 50);
  });
  assert.equal(warnings.length, 50);
});

test("a subscription that ends inside deliver gets nothing more, a handler that leaves neither", async (world) => {
  useMemory(world);
  const seen: string[] = [];
  registerHandler("h", (event, subscription) => {
    seen.push(`${subscription} ${event}`);
    if (event === '"untrack"') untrackSubscription(subscription);
    if (event === '"leave"') unregisterHandler("h");
  });
  for (const subscription of ["a", "b"]) trackSubscription("h", subscription);
  const other = world.handler("other", "c");
  await publish("a", "untrack");
  assert.equal(await publish("a", 1), false);
  await publish("b", "leave");
  assert.equal(await publish("b", 2), false);
  assert.equal(await publish("c", 3), true);
  assert.deepEqual([seen, eventsOf(other)], [['a "untrack"', 'b "leave"'], ["3"]]);
});

test("one of a batch ends a subscription, or a handler: the rest of the batch is dropped", async (world) => {
  await world.start();
  const seen: string[] = [];
  const record = (event: string, subscription: string) => void seen.push(`${subscription} ${event}`);
  registerHandler("first", (event, subscription) => {
    record(event, subscription);
    untrackSubscription("b");
    unregisterHandler("third");
  });
  world.defer(() => unregisterHandler("first"));
  registerHandler("second", record);
  world.defer(() => unregisterHandler("second"));
  registerHandler("third", record);
  for (const [handler, subscription] of [
    ["first", "a"],
    ["second", "b"],
    ["second", "c"],
    ["third", "d"],
  ] as const) {
    trackSubscription(handler, subscription);
  }
  await initializeEventSubscription();
  // One script publishes all of them, so that they come in as one batch.
  const messages = ["a", "b", "c", "d", "b", "c"].map((name, n) => wire(name, n));
  await server.admin.eval(
    "for _, m in ipairs(ARGV) do redis.call('publish', KEYS[1], m) end",
    1,
    EVENTS,
    ...messages,
  );
  await eventually(() => seen.includes("c 5"));
  assert.deepEqual(seen, ["a 0", "c 2", "c 5"]);
});

// A subscription that begins anew inside deliver loses the events published to it before deliver returns, although publishEvent resolves to
// true.
test("a subscription that ends and begins anew inside deliver gets what comes after that", async (world) => {
  useMemory(world);
  const seen: string[] = [];
  const outcomes: Promise<boolean>[] = [];
  registerHandler("h", (event, subscription) => {
    seen.push(event);
    if (event !== "1") return;
    untrackSubscription(subscription);
    trackSubscription("h", subscription);
    outcomes.push(publish(subscription, 2));
  });
  world.defer(() => unregisterHandler("h"));
  trackSubscription("h", "s");
  outcomes.push(publish("s", 1));
  assert.deepEqual(await Promise.all(outcomes), [true, true]);
  assert.deepEqual(seen, ["1", "2"]);
});

test("a handler and a subscription that begin inside deliver are there at once", async (world) => {
  useMemory(world);
  const seen: string[] = [];
  registerHandler("h", (event) => {
    seen.push(`h ${event}`);
    if (event !== "1") return;
    registerHandler("new", (event) => void seen.push(`new ${event}`));
    trackSubscription("new", "t");
    publish("t", 2);
    publish("s", 3);
    seen.push("not yet: deliver is not called within deliver");
  });
  world.defer(() => unregisterHandler("h"));
  world.defer(() => unregisterHandler("new"));
  trackSubscription("h", "s");
  assert.equal(await publish("s", 1), true);
  assert.deepEqual(seen, ["h 1", "not yet: deliver is not called within deliver", "new 2", "h 3"]);
});

// A client comes back under its old id. The events that have come in for it, and wait for the event loop, are then dropped.
test("a handler that is replaced loses nothing of what waits for it", async (world) => {
  await world.start();
  const before = world.handler("h", "s");
  await initializeEventSubscription();
  const other = await world.instance();
  const events = Array.from({ length: 50 }, (_, n) => ({ subscriptionId: "s", event: n }));
  for (let round = 0; round < 20; round++) {
    const seen: string[] = [];
    before.length = 0;
    const { delivered } = getFanoutStats();
    const published = other.do("publish", events);
    // Without a turn of the event loop, so that the events have come in and no handler has taken them.
    const deadline = Date.now() + 5_000;
    while (getFanoutStats().delivered < delivered + events.length && Date.now() < deadline);
    registerHandler("h", (event) => void seen.push(event));
    await published;
    await server.admin.publish(EVENTS, wire("s", "last"));
    await eventually(() => seen.includes('"last"'));
    const all = [...eventsOf(before), ...seen];
    const isWhole = all.length === 51 || all.some((event) => event.includes("invalidate"));
    assert.ok(isWhole, `${all.length} of 51 arrived, and nobody was told`);
  }
});

test("what Redis brings and what is published here keep to the order in which they came", async (world) => {
  await world.start();
  const deliveries = world.handler("h", "s");
  await initializeEventSubscription();
  const { delivered } = getFanoutStats();
  server.admin.publish(EVENTS, wire("s", 1));
  await eventually(() => getFanoutStats().delivered > delivered);
  await publish("s", 2);
  assert.deepEqual(eventsOf(deliveries), ["1", "2"]);
});

test("a signal unregisters the handler that it came with, and only that one", async (world) => {
  useMemory(world);
  const [first, second] = [new AbortController(), new AbortController()];
  registerHandler("h", () => {}, { signal: first.signal });
  trackSubscription("h", "s");
  const deliveries: string[] = [];
  registerHandler("h", (event) => void deliveries.push(event), { signal: second.signal });
  first.abort();
  assert.equal(await publish("s", 1), true);
  second.abort();
  await turn();
  assert.equal(await publish("s", 2), false);
  assert.deepEqual([deliveries, getActiveHandlerCount()], [["1"], 0]);
  registerHandler("h", () => {}, { signal: AbortSignal.abort() });
  assert.equal(getActiveHandlerCount(), 0);
  registerHandler("h", () => {}, {});
  unregisterHandler("h");
  unregisterHandler("h");
});

test("watchers that come and go inside a watcher", async (world) => {
  useMemory(world);
  const seen: string[] = [];
  const leave = registerAggregateWatcher("users", () => {
    seen.push("first");
    leave();
    leaveSecond();
    world.defer(registerAggregateWatcher("users", () => seen.push("third")));
  });
  const leaveSecond = registerAggregateWatcher("users", () => seen.push("second"));
  await notifyAggregateWatchers("users");
  assert.deepEqual(seen, ["first"]);
  await notifyAggregateWatchers("users");
  assert.deepEqual(seen, ["first", "third"]);
});

// The store still counts this process as a subscriber. A process that has left does not subtract itself, and its result is wrong.
for (const where of ["a memory store", "Redis"]) {
  test(`a process that has just left is not taken for one that was reached, on ${where}`, async (world) => {
    if (where === "Redis") await world.start();
    else useMemory(world);
    for (let round = 0; round < 20; round++) {
      registerHandler("h", () => {});
      if (round % 2 === 0) await initializeEventSubscription();
      unregisterHandler("h");
      assert.equal(await publish("s", 1), false, `round ${round}`);
    }
  });
}

test("without a store only what is here is reached", async (world) => {
  const [deliveries, calls] = [world.handler("h", "s"), world.watcher("users")];
  assert.equal(await publish("s", 1), true);
  assert.equal((await errorOf(publish("elsewhere", 1))).code, "CONFIG");
  assert.equal((await errorOf(notifyAggregateWatchers("users", []))).code, "CONFIG");
  assert.deepEqual([eventsOf(deliveries), calls], [["1"], [[[]]]]);
  assert.deepEqual(await subscribers(), [0, 0]);
});

// If every event that a handler publishes to itself is delivered before the first publishEvent returns, that never returns.
test("a handler that publishes to its own thread without end does not block the event loop", async (world) => {
  useMemory(world);
  let count = 0;
  let isOver = false;
  registerHandler("loops", (_, subscriptionId) => {
    count += 1;
    if (!isOver) void publishEvent({ type: "added", subscriptionId, event: count });
  });
  trackSubscription("loops", "l");
  await publishEvent({ type: "added", subscriptionId: "l", event: 1 });
  for (let turn = 0; turn < 20; turn++) {
    const before = count;
    await eventually(() => count > before);
  }
  const here = world.handler("here", "s");
  await publishEvent({ type: "added", subscriptionId: "s", event: 2 });
  assert.equal(here.length, 1);
  isOver = true;
  unregisterHandler("loops");
});
