// A channel that stays subscribed when no handler or watcher needs it costs every instance each message.
import assert from "node:assert/strict";
import {
  clearGlobalKV,
  createKV,
  createRedisKV,
  initializeEventSubscription,
  publishEvent,
  registerAggregateWatcher,
  registerHandler,
  setGlobalKV,
  unregisterHandler,
} from "covara-kv";
import { eventually } from "../backends.js";
import { run } from "../redis/processes.js";
import { startRedis } from "../redis-server.js";
import { errorOf } from "../replies.js";
import {
  AGGREGATE,
  EVENTS,
  eventsOf,
  GAP,
  PATIENT,
  server,
  subscribers,
  subscribingConnections,
  test,
  wire,
} from "./instances.js";

const areSubscribed = (events: number, aggregate: number) =>
  eventually(async () => (await subscribers()).join() === [events, aggregate].join());

test("the first handler and the first watcher subscribe, the last ones unsubscribe", async (world) => {
  const kv = await world.start();
  assert.deepEqual(await subscribers(), [0, 0]);
  assert.equal(await subscribingConnections(), 0);
  const deliver = () => {};
  registerHandler("a", deliver);
  registerHandler("b", deliver);
  await areSubscribed(1, 0);
  world.watcher("users");
  await areSubscribed(1, 1);
  unregisterHandler("a");
  await kv.get("k"); // A command that the end of `a` might have caused has reached the server by now.
  await initializeEventSubscription();
  assert.deepEqual(await subscribers(), [1, 1]);
  unregisterHandler("b");
  await areSubscribed(0, 1);
  registerHandler("b", deliver);
  registerHandler("b", deliver);
  await areSubscribed(1, 1);
  unregisterHandler("b");
  await areSubscribed(0, 1);
});

test("the last watcher unsubscribes, and one that left twice counts once", async (world) => {
  await world.start();
  const leave = ["users", "users", "posts"].map((resource) => registerAggregateWatcher(resource, () => {}));
  await areSubscribed(0, 1);
  leave[0]?.();
  leave[0]?.();
  leave[1]?.();
  await initializeEventSubscription();
  assert.deepEqual(await subscribers(), [0, 1]);
  leave[2]?.();
  await areSubscribed(0, 0);
});

test("handlers that come and go in one tick leave what is needed", async (world) => {
  await world.start();
  for (let round = 0; round < 200; round++) {
    registerHandler("h", () => {});
    unregisterHandler("h");
  }
  const deliveries = world.handler("h", "s");
  await initializeEventSubscription();
  assert.deepEqual(await subscribers(), [1, 0]);
  await server.admin.publish(EVENTS, wire("s", 1));
  await eventually(() => deliveries.length > 0);
  assert.deepEqual(eventsOf(deliveries), ["1"]);
});

test("initializeEventSubscription resolves once live, however often it is called", async (world) => {
  const kv = await createKV({ type: "redis", redis: server.address });
  world.defer(() => kv.disconnect());
  world.defer(clearGlobalKV);
  assert.equal((await errorOf(initializeEventSubscription())).code, "CONFIG");
  setGlobalKV(kv);
  const [deliveries, calls] = [world.handler("h", "s"), world.watcher("users")];
  await Promise.all([initializeEventSubscription(), initializeEventSubscription()]);
  assert.deepEqual(await subscribers(), [1, 1]);
  // A message that is published from now on is heard.
  assert.equal(await server.admin.publish(EVENTS, wire("s", 1)), 1);
  assert.equal(await server.admin.publish(AGGREGATE, '{"resource":"users"}'), 1);
  await initializeEventSubscription();
  await eventually(() => deliveries.length > 0 && calls.length > 0);
  assert.deepEqual([eventsOf(deliveries), calls], [["1"], [[]]]);
  assert.equal(await subscribingConnections(), 1);
});

test("it resolves once live for handlers that came later, too", async (world) => {
  await world.start();
  for (let round = 0; round < 20; round++) {
    const deliveries = world.handler("h", "s");
    await initializeEventSubscription();
    assert.equal(await server.admin.publish(EVENTS, wire("s", round)), 1);
    await eventually(() => deliveries.length > 0);
    assert.deepEqual(eventsOf(deliveries), [`${round}`]);
    unregisterHandler("h");
  }
});

test("a store that is not connected yet works", async (world) => {
  const kv = createRedisKV(server.address);
  world.defer(() => kv.disconnect());
  world.defer(clearGlobalKV);
  setGlobalKV(kv);
  const deliveries = world.handler("h", "s");
  await initializeEventSubscription();
  await server.admin.publish(EVENTS, wire("s", 1));
  await eventually(() => deliveries.length > 0);
});

test("the store becomes one on another server: the fan-out follows, and tells of what it may have missed", async (world) => {
  await using other = await anotherRedis();
  const before = await world.start();
  const [deliveries, calls] = [world.handler("h", "s"), world.watcher("users")];
  await initializeEventSubscription();
  const after = await createKV({ type: "redis", redis: { host: other.host, port: other.port } });
  world.defer(() => after.disconnect());
  setGlobalKV(after);
  await eventually(() => deliveries.length > 0 && calls.length > 0);
  await areSubscribed(0, 0);
  const admin = world.client(other);
  assert.deepEqual(await subscribers(admin), [1, 1]);
  await server.admin.publish(EVENTS, wire("s", "the server before"));
  await admin.publish(EVENTS, wire("s", "the server now"));
  await admin.publish(AGGREGATE, '{"resource":"users"}');
  await eventually(() => deliveries.length > 1 && calls.length > 1);
  assert.deepEqual(
    [eventsOf(deliveries), calls],
    [
      [GAP, '"the server now"'],
      [[], []],
    ],
  );
  // The store before is not used, so that its end changes nothing.
  await before.disconnect();
  await admin.publish(EVENTS, wire("s", 2));
  await eventually(() => deliveries.length > 2);
  setGlobalKV(after);
  await initializeEventSubscription();
  clearGlobalKV();
  await eventually(async () => (await subscribers(admin)).join() === "0,0");
  setGlobalKV(after);
  await eventually(() => deliveries.length > 3 && calls.length > 2);
  assert.deepEqual(eventsOf(deliveries).slice(2), ["2", GAP]);
});

test("a store that is disconnected and connected again is heard again", async (world) => {
  const kv = await world.start();
  const [deliveries, calls] = [world.handler("h", "s"), world.watcher("users")];
  await initializeEventSubscription();
  for (let round = 1; round <= 3; round++) {
    await kv.disconnect();
    await areSubscribed(0, 0);
    await server.admin.publish(EVENTS, wire("s", "missed"));
    assert.equal(await publishEvent({ type: "added", subscriptionId: "s", event: `here ${round}` }), true);
    assert.equal(
      (await errorOf(publishEvent({ type: "added", subscriptionId: "other", event: 1 }))).code,
      "CLOSED",
    );
    await kv.connect();
    await eventually(() => calls.length === round);
    await server.admin.publish(EVENTS, wire("s", round));
    await eventually(() => deliveries.length >= 3);
    assert.deepEqual(eventsOf(deliveries.splice(0)), [`"here ${round}"`, GAP, `${round}`]);
  }
});

test("what waits for the server is told when the store is closed meanwhile, or becomes another", async (world) => {
  await using other = await anotherRedis();
  const redis = { host: other.host, port: other.port, ...PATIENT, commandTimeout: 300, queueTimeout: 300 };
  const away = await createKV({ type: "redis", redis });
  world.defer(() => away.disconnect());
  world.defer(clearGlobalKV);
  setGlobalKV(away);
  await initializeEventSubscription();
  await other.kill();
  await eventually(() => away.status === "reconnecting");
  world.handler("h", "s");
  const started = initializeEventSubscription();
  const published = publishEvent({ type: "added", subscriptionId: "other", event: 1 });
  const settled = [started, published].map((promise) => promise.catch(() => {}));
  clearGlobalKV();
  await Promise.all(settled);
  setGlobalKV(away);
  const again = initializeEventSubscription().catch(() => {});
  await away.disconnect();
  await again;
});

test("without a handler or a watcher nothing is told of a time without a store", async (world) => {
  const kv = await world.start();
  world.handler("h", "s");
  unregisterHandler("h");
  await kv.disconnect();
  await kv.connect();
  const deliveries = world.handler("h", "s");
  await initializeEventSubscription();
  await server.admin.publish(EVENTS, wire("s", 1));
  await eventually(() => deliveries.length > 0);
  assert.deepEqual(eventsOf(deliveries), ["1"]);
});

const program = (rest: string) => `
  const { initializeKV, registerHandler, trackSubscription, registerAggregateWatcher } = await import("covara-kv");
  const kv = await initializeKV({ type: "redis", redis });
  registerHandler("h", (event) => { console.log(event); if (event === '"end"') kv.disconnect(); });
  trackSubscription("h", "s");
  ${rest}`;

test("a process ends once its store is disconnected, although it has handlers", async () => {
  const ended = await run(server.address, program("await kv.disconnect();"));
  assert.deepEqual(ended, { code: 0, stdout: "", stderr: "" });
  const watching = `registerAggregateWatcher("users", () => {}); await kv.disconnect();`;
  assert.deepEqual(await run(server.address, program(watching)), { code: 0, stdout: "", stderr: "" });
});

test("a process stays alive while it has handlers, and a store to hear by", async () => {
  // On a busy machine the server has the channel's subscription before the next line runs, which gives it to the handler.
  const ended = run(server.address, program('await kv.set("tracked", "");'));
  await areSubscribed(1, 0);
  await eventually(() => server.admin.exists("tracked"));
  await server.admin.publish(EVENTS, wire("s", 1));
  await server.admin.publish(EVENTS, wire("s", "end"));
  assert.deepEqual(await ended, { code: 0, stdout: '1\n"end"\n', stderr: "" });
});

test("a process that has unregistered all it had ends by itself", async () => {
  const left = `
    const { unregisterHandler, initializeEventSubscription } = await import("covara-kv");
    const leave = registerAggregateWatcher("users", () => {});
    await initializeEventSubscription();
    leave();
    unregisterHandler("h");`;
  assert.deepEqual(await run(server.address, program(left)), { code: 0, stdout: "", stderr: "" });
});

async function anotherRedis() {
  const redis = await startRedis();
  return Object.assign(redis, { [Symbol.asyncDispose]: () => redis.stop() });
}
