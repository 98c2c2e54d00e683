// A thread that does not take its messages must cost a bounded amount of memory. Otherwise it fills the process's, or its handlers miss
// messages without being told.
import assert from "node:assert/strict";
import {
  getFanoutStats,
  initializeEventSubscription,
  publishEvent,
  registerHandler,
  untrackSubscription,
} from "covara-kv";
import { eventually } from "../backends.js";
import {
  AGGREGATE,
  type Delivery,
  EVENTS,
  eventsOf,
  type Instance,
  OVERFLOW,
  server,
  subscribers,
  test,
  useMemory,
} from "./instances.js";

/** The limits of a thread's queue. */
const MAX_MESSAGES = 100_000;
const MAX_BYTES = 64 << 20;

/** Keeps a thread busy while `work` runs. */
async function whileBlocked(thread: Instance, work: () => Promise<unknown>): Promise<void> {
  const [started, until] = [0, 0].map(() => new Int32Array(new SharedArrayBuffer(4))) as [
    Int32Array,
    Int32Array,
  ];
  const blocked = thread.do("block", started, until);
  await eventually(() => Atomics.load(started, 0) === 1);
  try {
    await work();
  } finally {
    Atomics.store(until, 0, 1);
    Atomics.notify(until, 0);
  }
  await blocked;
}

/** Publishes numbers, one to each subscription in turn, as another instance would. */
const flood = (subscriptions: readonly string[], from: number, count: number) =>
  server.admin.eval(
    `for n = tonumber(ARGV[1]), ARGV[1] + ARGV[2] - 1 do
       local subscription = ARGV[3 + n % (#ARGV - 2)]
       redis.call('publish', KEYS[1], '{"type":"added","subscriptionId":"' .. subscription .. '","event":' .. n .. '}')
     end`,
    1,
    EVENTS,
    from,
    count,
    ...subscriptions,
  );

/** Resolves once `count` messages have come in since there have been `before`. */
const seen = (before: number, count: number) => eventually(() => getFanoutStats().seen >= before + count);

const of = (deliveries: readonly Delivery[], subscription: string) =>
  eventsOf(deliveries.filter((delivery) => delivery.subscription === subscription));

test("more than there is room for: one invalidation of each subscription, and no other handler is affected", async (world) => {
  await world.start();
  const [thread, other] = [await world.thread(), await world.thread()];
  await thread.do("register", "h1", ["s0", "s1"]);
  await thread.do("register", "h2", ["s2", "quiet"]);
  await other.do("register", "other", ["o"]);
  const here = world.handler("here", "m");
  await eventually(async () => (await subscribers())[0] === 1);
  const before = getFanoutStats();
  const subscriptions = ["s0", "s1", "s2"];
  await whileBlocked(thread, async () => {
    await flood(subscriptions, 0, MAX_MESSAGES + 20_000);
    await flood(["o", "m"], 0, 2_000);
    await seen(before.seen, MAX_MESSAGES + 22_000);
    await eventually(async () => here.length >= 1_000 && (await other.do("delivered")) >= 1_000);
    assert.equal(getFanoutStats().overflowed - before.overflowed, 20_000);
  });
  await eventually(async () => (await thread.do("delivered")) >= MAX_MESSAGES + 3);
  const deliveries = await thread.do("take");
  const numbers = eventsOf(deliveries.slice(0, MAX_MESSAGES)).map(Number);
  assert.ok(numbers.every((n, index) => n === index));
  const told = deliveries.slice(MAX_MESSAGES);
  assert.deepEqual(told.map(({ handler, subscription, event }) => [handler, subscription, event]).sort(), [
    ["h1", "s0", OVERFLOW],
    ["h1", "s1", OVERFLOW],
    ["h2", "s2", OVERFLOW],
  ]);
  const [ofOther, ofHere] = [await other.do("take"), here].map((of) => eventsOf(of).map(Number));
  assert.ok(ofOther?.length === 1_000 && ofOther.every((n, index) => n === 2 * index));
  assert.ok(ofHere?.length === 1_000 && ofHere.every((n, index) => n === 2 * index + 1));

  // After the overflow everything is delivered again.
  await flood([...subscriptions, "quiet"], 0, 400);
  await eventually(async () => (await thread.do("delivered")) >= 400);
  const later = await thread.do("take");
  assert.deepEqual(eventsOf(later).map(Number), [...Array(400).keys()]);
  const after = getFanoutStats();
  assert.equal(after.overflowed - before.overflowed, 20_000);
  assert.equal(after.delivered - before.delivered, MAX_MESSAGES + 2_000 + 400);
  assert.equal(after.gaps, before.gaps);
});

test("it overflows again: the invalidation is there again", async (world) => {
  await world.start();
  const thread = await world.thread();
  await thread.do("register", "h", ["s", "t"]);
  await eventually(async () => (await subscribers())[0] === 1);
  for (let round = 0; round < 2; round++) {
    const { seen: before } = getFanoutStats();
    await whileBlocked(thread, async () => {
      await flood(["s"], 0, MAX_MESSAGES + 5);
      await flood(["t"], 0, 5);
      await seen(before, MAX_MESSAGES + 10);
    });
    await eventually(async () => (await thread.do("delivered")) >= MAX_MESSAGES + 2);
    const deliveries = await thread.do("take");
    assert.deepEqual(of(deliveries, "t"), [OVERFLOW]);
    const events = of(deliveries, "s");
    assert.equal(events.length, MAX_MESSAGES + 1);
    assert.equal(events.indexOf(OVERFLOW), MAX_MESSAGES);
  }
});

test("large events are bounded by their bytes, events of this process too", async (world) => {
  await world.start();
  const thread = await world.thread();
  await thread.do("register", "h", ["s"]);
  const before = getFanoutStats();
  const padding = "x".repeat(1 << 20);
  const fits = Math.floor(MAX_BYTES / (padding.length + 100));
  await whileBlocked(thread, async () => {
    for (let n = 0; n < fits + 10; n++) {
      assert.equal(await publishEvent({ type: "added", subscriptionId: "s", event: [n, padding] }), true);
    }
    // A small event would still fit. It is dropped too: after the dropped one its place is behind the invalidation.
    await publishEvent({ type: "added", subscriptionId: "s", event: "small" });
  });
  await eventually(async () => (await thread.do("delivered")) >= fits + 2);
  const events = eventsOf(await thread.do("take")).map((event) => JSON.parse(event));
  const numbers = events.map((event) => (Array.isArray(event) ? event[0] : (event.reason ?? event)));
  assert.deepEqual(numbers, [...Array(fits).keys(), "overflow", "small"]);
  assert.equal(getFanoutStats().overflowed - before.overflowed, 10);
});

test("one event alone is taken however large it is", async (world) => {
  await world.start();
  const thread = await world.thread();
  await thread.do("register", "h", ["s"]);
  const event = "x".repeat(MAX_BYTES + 1);
  await whileBlocked(thread, async () => {
    assert.equal(await publishEvent({ type: "added", subscriptionId: "s", event }), true);
  });
  await eventually(async () => (await thread.do("delivered")) === 1);
  const [delivery] = await thread.do("take");
  assert.equal(delivery?.event.length, event.length + 2);
});

test("a watcher is told of changes that were too many at least once, after the last of them", async (world) => {
  await world.start();
  const thread = await world.thread();
  await thread.do("watch", "users");
  await thread.do("watch", "posts");
  await eventually(async () => (await subscribers())[1] === 1);
  const { seen: before } = getFanoutStats();
  await whileBlocked(thread, async () => {
    const script = "for _ = 1, ARGV[1] do redis.call('publish', KEYS[1], ARGV[2]) end";
    await server.admin.eval(script, 1, AGGREGATE, MAX_MESSAGES + 5_000, '{"resource":"users"}');
    await server.admin.publish(AGGREGATE, '{"resource":"posts"}');
    await seen(before, MAX_MESSAGES + 5_001);
  });
  await eventually(async () => (await thread.do("calls", "posts")).length > 0);
  assert.deepEqual(await thread.do("calls", "posts"), [[]]);
  const calls = (await thread.do("calls", "users")).length;
  assert.ok(calls >= MAX_MESSAGES && calls <= MAX_MESSAGES + 1, `${calls} calls`);
});

test("a handler that is gone by the time takes its invalidation with it", async (world) => {
  await world.start();
  const thread = await world.thread();
  await thread.do("register", "h", ["s"]);
  await thread.do("register", "stays", ["t"]);
  await eventually(async () => (await subscribers())[0] === 1);
  const { seen: before } = getFanoutStats();
  await whileBlocked(thread, async () => {
    await flood(["s", "t"], 0, MAX_MESSAGES + 10);
    await seen(before, MAX_MESSAGES + 10);
    untrackSubscription("s");
  });
  await eventually(async () => (await thread.do("delivered")) >= MAX_MESSAGES / 2 + 1);
  await thread.do("register", "h", ["s"]);
  await publishEvent({ type: "added", subscriptionId: "s", event: "anew" });
  await eventually(async () => (await thread.do("delivered")) >= MAX_MESSAGES / 2 + 2);
  const deliveries = await thread.do("take");
  assert.deepEqual(of(deliveries, "s"), ['"anew"']);
  assert.equal(of(deliveries, "t").at(-1), OVERFLOW);
});

test("a handler that publishes more than there is room for, to its own thread, overflows too", async (world) => {
  useMemory(world);
  const reached: Promise<boolean>[] = [];
  const starts = world.handler("starts", "start");
  const here = world.handler("here", "s");
  registerHandler("starts", () => {
    for (let n = 0; n < MAX_MESSAGES + 10; n++) {
      reached.push(publishEvent({ type: "added", subscriptionId: "s", event: n }));
    }
  });
  await publishEvent({ type: "added", subscriptionId: "start", event: 1 });
  assert.ok((await Promise.all(reached)).every((outcome) => outcome));
  await initializeEventSubscription();
  await eventually(() => here.length >= MAX_MESSAGES + 1);
  assert.equal(here.length, MAX_MESSAGES + 1);
  assert.equal(here.at(-1)?.event, OVERFLOW);
  assert.deepEqual(starts, []);
});
