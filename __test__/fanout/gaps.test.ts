// A handler or watcher that may have missed something must be told once, when it is live again. All others must be told nothing.
import assert from "node:assert/strict";
import {
  clearGlobalKV,
  createRedisKV,
  getFanoutStats,
  initializeEventSubscription,
  notifyAggregateWatchers,
  publishEvent,
  setGlobalKV,
} from "covara-kv";
import { eventually } from "../backends.js";
import { startRedis } from "../redis-server.js";
import { errorOf } from "../replies.js";
import { AGGREGATE, EVENTS, eventsOf, GAP, PATIENT, server, subscribers, test, wire } from "./instances.js";

const patient = () => ({ ...server.address, ...PATIENT });
const publish = (subscriptionId: string, event: unknown) =>
  publishEvent({ type: "changed", subscriptionId, event });
const areSubscribed = (events: number, aggregate: number) =>
  eventually(async () => (await subscribers()).join() === [events, aggregate].join());

/** Ends every connection that has subscriptions. */
const killSubscribing = () => server.admin.client("KILL", "TYPE", "pubsub");

test("a connection is lost: one invalidation of each subscription, one call of each watcher, in every thread", async (world) => {
  const kv = await world.start(patient());
  const thread = await world.thread(patient());
  await thread.do("register", "there", ["t1", "t2"]);
  await thread.do("watch", "users");
  const [a, b] = [world.handler("a", "a1", "a2"), world.handler("b", "b1")];
  world.handler("without a subscription");
  const [users, posts] = [world.watcher("users"), world.watcher("posts")];
  const gaps: unknown[] = [];
  await kv.listen(["a channel", EVENTS], () => {}, { onGap: (gap) => gaps.push(gap) });
  await initializeEventSubscription();
  const before = getFanoutStats();
  for (let round = 1; round <= 5; round++) {
    await killSubscribing();
    await eventually(() => a.length >= 2 && b.length >= 1 && users.length >= 1 && posts.length >= 1);
    await areSubscribed(1, 1);
    for (const subscription of ["a1", "b1", "t2"]) {
      assert.equal(await server.admin.publish(EVENTS, wire(subscription, round)), 1);
    }
    await eventually(async () => a.length >= 3 && b.length >= 2 && (await thread.do("delivered")) >= 3);
    const invalidated = a.splice(0, 2).map(({ subscription, event }) => [subscription, event]);
    assert.deepEqual(invalidated.sort(), [
      ["a1", GAP],
      ["a2", GAP],
    ]);
    assert.deepEqual(eventsOf(a.splice(0)), [`${round}`]);
    assert.deepEqual(eventsOf(b.splice(0)), [GAP, `${round}`]);
    assert.deepEqual(eventsOf(await thread.do("take")), [GAP, GAP, `${round}`]);
    assert.deepEqual([users.splice(0), posts.splice(0), gaps.length], [[[]], [[]], round]);
    assert.equal((await thread.do("calls", "users")).length, round);
    assert.equal(getFanoutStats().gaps - before.gaps, round);
  }
});

test("the connection for commands is lost: that is no gap", async (world) => {
  const kv = await world.start(patient());
  const deliveries = world.handler("h", "s");
  const calls = world.watcher("users");
  await initializeEventSubscription();
  const { gaps } = getFanoutStats();
  for (let round = 0; round < 3; round++) {
    await kv.get("k");
    await server.admin.client("KILL", "TYPE", "normal", "SKIPME", "yes");
    await eventually(() =>
      publish("elsewhere", 1).then(
        () => true,
        () => false,
      ),
    );
    await server.admin.publish(EVENTS, wire("s", round));
  }
  await eventually(() => deliveries.length >= 3);
  assert.deepEqual([eventsOf(deliveries), calls, getFanoutStats().gaps], [["0", "1", "2"], [], gaps]);
});

test("a thread closes its store, and opens it again: its own handlers are told, and no others", async (world) => {
  await world.start();
  const thread = await world.thread();
  await thread.do("register", "there", ["t"]);
  const deliveries = world.handler("here", "s");
  await areSubscribed(1, 0);
  await thread.do("disconnect");
  await server.admin.publish(EVENTS, wire("t", "missed"));
  await server.admin.publish(EVENTS, wire("s", "heard"));
  // An event of this process needs no store.
  assert.equal(await publish("t", "from here"), true);
  await eventually(async () => deliveries.length > 0 && (await thread.do("delivered")) > 0);
  assert.deepEqual(eventsOf(await thread.do("take")), ['"from here"']);
  await thread.do("open", server.address);
  await eventually(async () => (await thread.do("delivered")) > 0);
  await server.admin.publish(EVENTS, wire("t", "again"));
  await server.admin.publish(EVENTS, wire("s", "again"));
  await eventually(async () => deliveries.length > 1 && (await thread.do("delivered")) > 1);
  assert.deepEqual(eventsOf(await thread.do("take")), [GAP, '"again"']);
  assert.deepEqual(eventsOf(deliveries), ['"heard"', '"again"']);
});

// initializeEventSubscription has failed with TIMEOUT. Without this the handler is not told when its channel becomes live.
test("a handler that came while the server was away is told when it is heard", async (world) => {
  const redis = await startRedis();
  world.defer(() => redis.stop());
  const { host, port } = redis;
  const kv = createRedisKV({ host, port, ...PATIENT, commandTimeout: 200, queueTimeout: 200 });
  world.defer(() => kv.disconnect());
  world.defer(clearGlobalKV);
  await kv.connect();
  setGlobalKV(kv);
  await initializeEventSubscription();
  await redis.kill();
  await eventually(() => kv.status === "reconnecting");
  const deliveries = world.handler("h", "s");
  assert.match((await errorOf(initializeEventSubscription())).code, /TIMEOUT|CONNECTION/);
  await redis.restart();
  const admin = world.client(redis);
  await eventually(async () => (await subscribers(admin))[0] === 1);
  await admin.publish(EVENTS, wire("s", 1));
  await eventually(() => eventsOf(deliveries).includes("1"));
  assert.deepEqual(eventsOf(deliveries).sort(), [GAP, "1"].sort());
});

test("changes told while the connection is lost: afterwards each one is heard once again", async (world) => {
  await world.start(patient());
  const [users, last] = [world.watcher("users"), world.watcher("last")];
  await initializeEventSubscription();
  const told: Promise<unknown>[] = [];
  for (let n = 0; n < 300; n++) {
    told.push(notifyAggregateWatchers("users", [n]));
    if (n % 60 === 30) await killSubscribing();
    else await Promise.resolve();
  }
  await Promise.all(told);
  await eventually(async () => {
    await initializeEventSubscription();
    return (await server.admin.publish(AGGREGATE, '{"resource":"last"}')) === 1;
  });
  await eventually(() => last.length > 0);
  assert.deepEqual(
    users.filter((args) => args.length > 0).map(([rows]) => rows),
    told.map((_, n) => [n]),
  );
  users.length = 0;
  last.length = 0;
  for (let n = 0; n < 10; n++) {
    await server.admin.publish(AGGREGATE, '{"resource":"users"}');
    await notifyAggregateWatchers("users", [n]);
  }
  await server.admin.publish(AGGREGATE, '{"resource":"last"}');
  await eventually(() => last.length > 0);
  assert.equal(users.length, 20);
});

// A message that waits for the server is published when this process is subscribed again. The process then takes its own message for
// another instance's.
for (const what of ["an event", "a change"]) {
  test(`${what} that is published while the server is away is not taken for another instance's`, async (world) => {
    const redis = await startRedis();
    world.defer(() => redis.stop());
    const kv = await world.start({ host: redis.host, port: redis.port, ...PATIENT });
    world.handler("h", "s");
    const [users, last] = [world.watcher("users"), world.watcher("last")];
    await initializeEventSubscription();
    for (let round = 0; round < 5; round++) {
      await redis.kill();
      await eventually(() => kv.status === "reconnecting");
      const published =
        what === "an event"
          ? publish("elsewhere", 1).then((reached) => assert.equal(reached, false, "nobody else is there"))
          : notifyAggregateWatchers("users", [round]);
      await redis.restart();
      await published;
      await eventually(() => last.length > 0); // The call of the gap.
      await initializeEventSubscription();
      last.length = 0;
      await kv.publish(AGGREGATE, '{"resource":"last"}');
      await eventually(() => last.length > 0);
      // The last call is that of the gap.
      assert.deepEqual(users.splice(0), what === "an event" ? [[]] : [[[round]], []]);
      last.length = 0;
    }
  });
}
