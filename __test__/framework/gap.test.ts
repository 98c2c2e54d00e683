// A lost subscribing connection must be told to each stream. Otherwise streams stay open, and stale.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import type { RedisConfig } from "covara-kv";
import { eventually } from "../backends.js";
import { emissions, PATIENT, test, type World } from "../faults/faults.js";
import {
  AGGREGATE,
  channelOf,
  close,
  EVENTS,
  eventsOf,
  hear,
  invalidate,
  type Message,
  newId,
  open,
  statsOf,
  targeted,
  wire,
} from "./events.js";

async function opened(world: World, config: RedisConfig = {}) {
  const server = await world.redis();
  return { server, kv: await world.open(server, { ...PATIENT, ...config }), client: world.client(server) };
}

const invalidated = (heard: readonly Message[]) => heard.filter(({ type }) => type === "invalidate");
const sorted = (ids: readonly string[]) => [...ids].sort();
const idsOf = (heard: readonly Message[]) => sorted(heard.map(({ subscriptionId }) => subscriptionId));

for (const fanout of ["targeted", "filtered", "all"] as const) {
  test(`${fanout}: each stream of the process is told once to read again, in the framework's words`, async (world) => {
    const { kv, client } = await opened(world, { fanout });
    const heard = await hear(kv);
    const listened: string[] = [];
    const gaps: unknown[] = [];
    await kv.listen([EVENTS], (message) => void listened.push(message), {
      onGap: (gap) => void gaps.push(gap),
    });
    const told = emissions(kv, "gap");
    const [one, other, gone] = [await open(kv), await open(kv, newId("users")), await open(kv)];
    await close(kv, gone);
    for (let round = 1; round <= 3; round++) {
      await client.client("KILL", "TYPE", "pubsub");
      await eventually(() => invalidated(heard).length === 2 * round && gaps.length === round);
      await client.publish(EVENTS, wire(one, round));
      await eventually(() => eventsOf(heard, one).includes(round));
    }
    const expected = [one, one, one, other, other, other];
    assert.deepEqual(idsOf(invalidated(heard)), sorted(expected));
    assert.deepEqual(invalidated(heard)[0], invalidate(heard[0]?.subscriptionId as string));
    assert.deepEqual([told.length, gaps.length, listened.length], [3, 3, 3]);
  });
}

// A process that is busy for long keeps up to 64 MB of messages for its callbacks, and drops later ones.
test("messages that a busy process has no room for: its streams are told to read again, behind those it kept", async (world) => {
  const { server, kv, client } = await opened(world);
  const heard = await hear(kv);
  const told = emissions(kv, "gap");
  // What `listen` has added has a queue of its own, which loses nothing.
  const gaps: unknown[] = [];
  await kv.listen(["news"], () => {}, { onGap: (gap) => void gaps.push(gap) });
  const [id, other] = [await open(kv), await open(kv, newId("users"))];
  await targeted(client, [id, other]);
  await client.config("SET", "client-output-buffer-limit", "pubsub 0 0 0");
  const redis = (...words: string[]) =>
    execFileSync("redis-cli", ["-p", `${server.port}`, ...words], { encoding: "utf8" });
  const [head, tail] = wire(id, "N").split('"N"') as [string, string];
  const flood = `for n = 1, 100 do redis.call("PUBLISH", KEYS[1], ARGV[1] .. n .. string.rep(" ", 1000000) .. ARGV[2]) end`;
  // These commands block this thread, so that it takes no message.
  redis("EVAL", flood, "1", channelOf(id), head, tail);
  while (!/ omem=0 /.test(redis("CLIENT", "LIST", "TYPE", "pubsub")));
  await eventually(() => invalidated(heard).length === 2);
  const events = eventsOf(heard, id).filter((event) => typeof event === "number");
  assert.deepEqual(
    events,
    events.map((_, index) => index + 1),
  );
  assert.ok(events.length >= 60 && events.length < 70, `${events.length} events`);
  assert.deepEqual(idsOf(heard.slice(events.length)), sorted([id, other]));
  assert.equal(told.length, 1);
  await client.publish(channelOf(id), wire(id, 101));
  await eventually(() => eventsOf(heard, id).includes(101));
  assert.equal(invalidated(heard).length, 2);
  assert.deepEqual(gaps, []);
});

test("no gap, no invalidate", async (world) => {
  const { kv, client } = await opened(world);
  const heard = await hear(kv);
  const id = await open(kv);
  await client.client("KILL", "TYPE", "normal", "SKIPME", "yes");
  await eventually(async () => (await kv.ping()) === "PONG");
  await kv.unsubscribe(EVENTS);
  const later = await hear(kv);
  await targeted(client, [id]);
  await kv.publish(EVENTS, wire(id, 1));
  await eventually(() => later.length === 1);
  assert.deepEqual([heard, invalidated(later)], [[], []]);
});

test("watchers of changes are told of each resource that they were told of before", async (world) => {
  const { kv, client } = await opened(world);
  const changes = await hear(kv, AGGREGATE);
  for (const resource of ["posts", "users", "posts"])
    await client.publish(AGGREGATE, JSON.stringify({ resource }));
  await client.publish(AGGREGATE, "{}");
  await eventually(() => changes.length === 4);
  changes.length = 0;
  await client.client("KILL", "TYPE", "pubsub");
  await eventually(() => changes.length === 2);
  const resources = changes.map((change) => (change as unknown as { resource: string }).resource);
  assert.deepEqual(sorted(resources), ["posts", "users"]);
});

test("Redis is killed with -9 and comes back: streams read again, and hear what is published from then on", async (world) => {
  const { server, kv, client } = await opened(world);
  const heard = await hear(kv);
  const ids = [await open(kv), await open(kv)];
  await targeted(client, ids);
  for (let round = 1; round <= 2; round++) {
    await server.kill();
    await server.restart();
    await eventually(() => invalidated(heard).length === 2 * round);
    await targeted(client, ids);
    // The record is lost with the server's memory, but its stream is open.
    for (const id of ids) assert.equal(await kv.publish(EVENTS, wire(id, round)), 1);
    await eventually(() => ids.every((id) => eventsOf(heard, id).includes(round)));
  }
  assert.deepEqual(idsOf(invalidated(heard)), sorted([...ids, ...ids]));
});

// After a restart thousands of clients read again at the same moment, and Redis got thousands of SUBSCRIBE at once from every instance.
test("thousands of streams are subscribed again a batch at a time, and told over a second", async (world) => {
  const { server, kv, client } = await opened(world);
  const at = new Map<string, number>();
  let twice = 0;
  await kv.subscribe(EVENTS, (message) => {
    const { type, subscriptionId } = JSON.parse(message);
    if (type !== "invalidate") return;
    twice += Number(at.has(subscriptionId));
    at.set(subscriptionId, performance.now());
  });
  const ids = Array.from({ length: 5_000 }, () => newId());
  await Promise.all(ids.map((id) => open(kv, id)));
  await targeted(client, ids);
  assert.equal(statsOf(server).channels, ids.length);
  await client.client("KILL", "TYPE", "pubsub");
  await eventually(() => at.size > 0);
  // The channels are live before the clients are told, so that no later message is missed.
  await targeted(client, ids);
  await eventually(() => at.size === ids.length);
  const times = [...at.values()];
  const [first, last] = [Math.min(...times), Math.max(...times)];
  assert.ok(last - first > 700, `all within ${last - first} ms`);
  await Promise.all(ids.map((id) => close(kv, id)));
  await targeted(client, ids, false);
  assert.equal(twice, 0);
});
