// An application's own store has only what the framework's interface requires. A fan-out that uses more fails on it.
import assert from "node:assert/strict";
import { setImmediate as turn, setTimeout as wait } from "node:timers/promises";
import {
  clearGlobalKV,
  createMemoryKV,
  initializeEventSubscription,
  type KVAdapter,
  notifyAggregateWatchers,
  publishEvent,
  registerHandler,
  setGlobalKV,
  trackSubscription,
  unregisterHandler,
} from "covara-kv";
import { eventually } from "../backends.js";
import { warningsOf } from "../warnings.js";
import { AGGREGATE, EVENTS, eventsOf, GAP, test, type World, wire } from "./instances.js";

/** A store without `listen` and events. `beforeSubscribe` is awaited before each SUBSCRIBE, and may fail. */
function useCustom(
  world: World,
  beforeSubscribe: (call: number) => Promise<void> | void = () => {},
): KVAdapter & { calls: number } {
  const memory = createMemoryKV();
  const store = {
    calls: 0,
    get: (key: string) => memory.get(key),
    set: (key: string, value: string) => memory.set(key, value),
    del: (...keys: string[]) => memory.del(...keys),
    hgetall: (key: string) => memory.hgetall(key),
    publish: (channel: string, message: string) => memory.publish(channel, message),
    unsubscribe: (channel: string) => memory.unsubscribe(channel),
    async subscribe(channel: string, callback: (message: string, channel: string) => void) {
      store.calls += 1;
      await beforeSubscribe(store.calls);
      // A new callback each time: the memory store would call the same one only once for a message.
      await memory.subscribe(channel, (message) => callback(message, channel));
    },
  };
  world.defer(() => {
    clearGlobalKV();
    return memory.disconnect();
  });
  setGlobalKV(store as unknown as KVAdapter);
  return store as unknown as KVAdapter & { calls: number };
}

test("a store that has no more than the framework's interface works", async (world) => {
  const kv = useCustom(world);
  const [deliveries, calls] = [world.handler("h", "s"), world.watcher("users")];
  await initializeEventSubscription();
  assert.equal(await kv.publish(EVENTS, wire("s", 1)), 1);
  await kv.publish(AGGREGATE, '{"resource":"users"}');
  await notifyAggregateWatchers("users", [1]);
  const event = { type: "added", subscriptionId: "elsewhere", event: 1 } as const;
  assert.equal(await publishEvent(event), false);
  await kv.publish(AGGREGATE, '{"resource":"users"}');
  await eventually(() => deliveries.length >= 1 && calls.length >= 3);
  assert.deepEqual([eventsOf(deliveries), calls], [["1"], [[], [[1]], []]]);
  unregisterHandler("h");
  await eventually(async () => (await kv.publish(EVENTS, wire("s", 2))) === 0);
});

test("a SUBSCRIBE that fails is told of, and tried again; then handlers are told of the time without", async (world) => {
  const kv = useCustom(world, (call) => {
    if (call <= 2) throw new Error("not now");
  });
  let deliveries: ReturnType<World["handler"]> = [];
  const warnings = await warningsOf(async () => {
    deliveries = world.handler("h", "s");
    await assert.rejects(initializeEventSubscription(), /not now/);
    await eventually(() => kv.calls === 3);
    await turn();
  });
  assert.deepEqual(
    warnings.map(({ message }) => message),
    ["The fan-out could not subscribe covara:events"],
  );
  await kv.publish(EVENTS, wire("s", 1));
  await turn();
  assert.deepEqual(eventsOf(deliveries), [GAP, "1"]);
});

// The attempt of a timer and that of a new handler overlap, and both succeed. Each event is then delivered twice.
test("attempts never overlap: each event is delivered once", async (world) => {
  const waiting: (() => void)[] = [];
  const kv = useCustom(world, (call) => {
    if (call === 1) throw new Error("not now");
    return new Promise((resolve) => waiting.push(resolve));
  });
  const deliveries: string[] = [];
  const register = () => {
    registerHandler("h", (event) => void deliveries.push(event));
    trackSubscription("h", "s");
  };
  world.defer(() => unregisterHandler("h"));
  await warningsOf(async () => {
    register();
    await assert.rejects(initializeEventSubscription(), /not now/);
    await turn();
  });
  unregisterHandler("h");
  await turn();
  register();
  await turn();
  // As long as the timer of the first attempt, and set later, so that timer has fired.
  await wait(1_000);
  while (waiting.length > 0) {
    waiting.shift()?.();
    await turn();
  }
  await initializeEventSubscription();
  await kv.publish(EVENTS, wire("s", 1));
  await turn();
  assert.deepEqual(
    deliveries.filter((event) => event !== GAP),
    ["1"],
  );
});
