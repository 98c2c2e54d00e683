// On a memory store one process is the whole fleet, or the threads of a process share a store. An event that leaves its thread only by
// Redis never arrives.
import assert from "node:assert/strict";
import {
  createMemoryKV,
  getFanoutStats,
  initializeEventSubscription,
  initializeKV,
  notifyAggregateWatchers,
  publishEvent,
  registerAggregateWatcher,
  setGlobalKV,
  unregisterHandler,
} from "covara-kv";
import { eventually } from "../backends.js";
import { AGGREGATE, EVENTS, eventsOf, GAP, server, subscribers, test, useMemory, wire } from "./instances.js";

const publish = (subscriptionId: string, event: unknown) =>
  publishEvent({ type: "changed", subscriptionId, event });

test("handlers and watchers work on a memory store, in order, before the calls return", async (world) => {
  useMemory(world);
  const [a, b] = [world.handler("a", "a1", "a2"), world.handler("b", "b1")];
  const [users, posts] = [world.watcher("users"), world.watcher("posts")];
  const outcomes: Promise<unknown>[] = [];
  for (let n = 0; n < 3_000; n++) outcomes.push(publish(["a1", "b1", "a2"][n % 3] as string, n));
  outcomes.push(notifyAggregateWatchers("users", [{ id: 1 }]), notifyAggregateWatchers("users"));
  assert.deepEqual([a.length, b.length, users], [2_000, 1_000, [[[{ id: 1 }]], []]]);
  const expected = Array.from({ length: 3_000 }, (_, n) => n);
  assert.deepEqual(
    a.map(({ event }) => Number(event)),
    expected.filter((n) => n % 3 !== 1),
  );
  assert.ok(a.every(({ event, subscription }) => subscription === (Number(event) % 3 === 0 ? "a1" : "a2")));
  assert.deepEqual(
    b.map(({ event }) => Number(event)),
    expected.filter((n) => n % 3 === 1),
  );
  assert.ok((await Promise.all(outcomes)).slice(0, 3_000).every((reached) => reached === true));
  assert.equal(await publish("nobody's", 1), false);
  assert.deepEqual([posts, users.length], [[], 2]);
});

for (const initialized of [false, true]) {
  const how = initialized ? "initializeKV" : "setGlobalKV and initializeEventSubscription";
  test(`what is published on the channels by hand arrives: ${how}`, async (world) => {
    const kv = initialized ? await initializeKV({ type: "memory", prefix: "p" }) : useMemory(world);
    world.defer(() => kv.disconnect());
    await initializeEventSubscription();
    const [deliveries, calls] = [world.handler("h", "s"), world.watcher("users")];
    await initializeEventSubscription();
    const { malformed } = getFanoutStats();
    await kv.publish(EVENTS, ' {"event": {"a" : [1, "é\\ud83d"]} ,"subscriptionId":"s"}');
    await kv.publish(EVENTS, wire("other", 1));
    await kv.publish(EVENTS, "nonsense");
    await kv.publish(AGGREGATE, '{"resource":"users"}');
    await kv.publish(AGGREGATE, '{"resource":"posts"}');
    await kv.publish(AGGREGATE, "{}");
    await eventually(() => getFanoutStats().malformed === malformed + 2);
    assert.deepEqual([eventsOf(deliveries), calls], [['{"a" : [1, "é\\ud83d"]}'], [[]]]);
    await notifyAggregateWatchers("users");
    await kv.publish(AGGREGATE, '{"resource":"users"}');
    await eventually(() => calls.length >= 3);
    assert.deepEqual(calls, [[], [], []]); // Its own message is not heard a second time.
  });
}

test("without a handler or a watcher nothing is subscribed; the last to leave unsubscribes", async (world) => {
  const kv = useMemory(world);
  await initializeEventSubscription();
  const heard = async () => [await kv.publish(EVENTS, wire("x", 1)), await kv.publish(AGGREGATE, "{}")];
  assert.deepEqual(await heard(), [0, 0]);
  world.handler("h", "s");
  await initializeEventSubscription();
  assert.deepEqual(await heard(), [1, 0]);
  const leave = registerAggregateWatcher("users", () => {});
  await initializeEventSubscription();
  assert.deepEqual(await heard(), [1, 1]);
  unregisterHandler("h");
  leave();
  await eventually(async () => (await heard()).join() === "0,0");
});

test("the store becomes another one: the fan-out follows it, and tells of a gap", async (world) => {
  const [first, second] = [useMemory(world), createMemoryKV()];
  world.defer(() => second.disconnect());
  const [deliveries, calls] = [world.handler("h", "s"), world.watcher("users")];
  await initializeEventSubscription();
  setGlobalKV(second);
  await eventually(() => deliveries.length > 0 && calls.length > 0);
  assert.deepEqual([eventsOf(deliveries.splice(0)), calls.splice(0)], [[GAP], [[]]]);
  assert.equal(await first.publish(EVENTS, wire("s", "first")), 0);
  await second.publish(EVENTS, wire("s", "second"));
  await second.publish(AGGREGATE, '{"resource":"users"}');
  await eventually(() => deliveries.length > 0 && calls.length > 0);
  // Then to a Redis, and back.
  await world.start();
  await initializeEventSubscription();
  assert.deepEqual(await subscribers(), [1, 1]);
  await server.admin.publish(EVENTS, wire("s", "Redis"));
  await eventually(() => eventsOf(deliveries).includes('"Redis"'));
  setGlobalKV(second);
  await eventually(() => deliveries.length >= 4);
  await second.publish(EVENTS, wire("s", "back"));
  await eventually(() => deliveries.length >= 5);
  assert.deepEqual(eventsOf(deliveries), ['"second"', GAP, '"Redis"', GAP, '"back"']);
  assert.equal(calls.length, 3);
  await eventually(async () => (await subscribers()).join() === "0,0");
});

test("a store that is disconnected and connected again is heard again, with an invalidation", async (world) => {
  const kv = useMemory(world);
  const deliveries = world.handler("h", "s");
  await initializeEventSubscription();
  await kv.disconnect();
  assert.equal(await publish("s", "here"), true);
  await kv.connect();
  await eventually(() => deliveries.length >= 2);
  await kv.publish(EVENTS, wire("s", "again"));
  await eventually(() => deliveries.length >= 3);
  assert.deepEqual(eventsOf(deliveries), ['"here"', GAP, '"again"']);
});

test("stores that are shared are one fleet; a private one is not of it", async (world) => {
  const shared = createMemoryKV("", { shared: "fan-out" });
  const same = createMemoryKV("other prefix", { shared: "fan-out" });
  const alone = useMemory(world);
  world.defer(() => Promise.all([shared.disconnect(), same.disconnect()]));
  const deliveries = world.handler("h", "s");
  setGlobalKV(shared);
  await initializeEventSubscription();
  await eventually(() => deliveries.length > 0);
  assert.deepEqual(eventsOf(deliveries.splice(0)), [GAP]);
  assert.equal(await alone.publish(EVENTS, wire("s", "alone")), 0);
  assert.equal(await same.publish(EVENTS, wire("s", "same")), 1);
  await eventually(() => deliveries.length > 0);
  assert.deepEqual(eventsOf(deliveries), ['"same"']);
  // Another subscriber of the channel may have the handler, so it counts as reached.
  await using _ = await same.listen([EVENTS], () => {});
  assert.equal(await publish("elsewhere", 1), true);
});

// The fan-out listens to both channels of such a store, and was told of one gap by each.
test("messages that are dropped are told to a watcher once", async (world) => {
  const kv = useMemory(world);
  const calls = world.watcher("users");
  world.handler("h", "s");
  await initializeEventSubscription();
  const { gaps } = getFanoutStats();
  let heard = 0;
  await kv.subscribe("news", () => {
    heard += 1;
    if (heard === 1) for (let n = 0; n < 150_000; n++) void kv.publish("news", "");
  });
  await kv.publish("news", "");
  await eventually(() => getFanoutStats().gaps > gaps);
  await kv.publish(AGGREGATE, '{"resource":"users"}');
  await eventually(() => calls.length >= 2);
  assert.deepEqual([getFanoutStats().gaps - gaps, calls.length], [1, 2]);
});
