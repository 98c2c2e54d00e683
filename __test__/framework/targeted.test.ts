// With one channel for the fleet a message costs Redis 154 µs at 300 instances, and goes to every instance over the network.
import assert from "node:assert/strict";
import { clearGlobalKV, createRedisKV, publishEvent, setGlobalKV } from "covara-kv";
import { eventually } from "../backends.js";
import { emissions, PATIENT, test, type World } from "../faults/faults.js";
import { errorOf } from "../replies.js";
import {
  channelOf,
  close,
  EVENTS,
  eventsOf,
  hashOf,
  hear,
  newId,
  open,
  statsOf,
  subscribersOf,
  targeted,
  wire,
} from "./events.js";

/** A server without EVAL, on which a store can run no script. */
const NO_EVAL = { "rename-command": 'EVAL ""' };

async function opened(world: World, server: Record<string, string> = {}) {
  const redis = await world.redis(server);
  const client = world.client(redis);
  const fleet: string[] = [];
  const subscriber = world.client(redis);
  subscriber.on("message", (_, message) => fleet.push(JSON.parse(message).event));
  await subscriber.subscribe(EVENTS);
  /** `fleet` has the events that an instance with the TypeScript store hears. */
  return { redis, kv: await world.open(redis, PATIENT), client, fleet };
}

for (const [how, server] of [
  ["by a script", {}],
  ["without EVAL", NO_EVAL],
] as const) {
  test(`${how}: an event goes to the process with its stream alone, and else to the fleet`, async (world) => {
    const { redis, kv, client, fleet } = await opened(world, server);
    const heard = await hear(kv);
    const [own, far] = [await open(kv), newId()];
    await targeted(client, [own]);
    for (let i = 0; i < 3; i++) {
      assert.equal(await kv.publish(EVENTS, wire(own, `own ${i}`)), 1);
      // This process has subscribed the channel of the fleet too.
      assert.equal(await kv.publish(EVENTS, wire(far, `far ${i}`)), 2);
    }
    await eventually(() => heard.length === 3 && fleet.length === 3);
    assert.deepEqual(eventsOf(heard), ["own 0", "own 1", "own 2"]);
    assert.deepEqual(fleet, ["far 0", "far 1", "far 2"]);
    const message = JSON.stringify({ subscriptionId: own, type: "changed", event: "in another order" });
    assert.equal(await kv.publish(EVENTS, message), 2);
    await close(kv, own);
    await targeted(client, [own], false);
    assert.equal(await kv.publish(EVENTS, wire(own, "closed")), 2);
    assert.equal(statsOf(redis).channels, 0);
  });
}

test("publishEvent goes there too, and tells whether a process was reached", async (world) => {
  const { kv, client, fleet } = await opened(world);
  setGlobalKV(kv);
  world.defer(() => clearGlobalKV());
  const heard = await hear(kv);
  const id = await open(kv);
  await targeted(client, [id]);
  const event = (subscriptionId: string, event: unknown) => ({
    type: "changed" as const,
    subscriptionId,
    event,
  });
  assert.equal(await publishEvent(event(id, 1)), true);
  assert.equal(await publishEvent(event(newId(), 2)), true);
  await eventually(() => heard.length === 1 && fleet.length === 1);
  assert.deepEqual([eventsOf(heard), fleet], [[1], [2]]);
});

// PUBLISH also counts clients that subscribe a matching pattern. If a monitor of `*` counts as the process with the stream, plain instances
// get no event.
test("a client that listens to a pattern is not taken for the process with the stream", async (world) => {
  const { redis, kv, fleet } = await opened(world);
  await world.client(redis).psubscribe("covara:*");
  assert.equal(await kv.publish(EVENTS, wire(newId(), 1)), 2);
  await eventually(() => fleet.length === 1);
});

test("with filtered and all no subscription has a channel of its own, and no store publishes there", async (world) => {
  const { redis, client, fleet } = await opened(world);
  for (const fanout of ["filtered", "all"] as const) {
    const kv = await world.open(redis, { fanout });
    const heard = await hear(kv);
    const id = await open(kv);
    await kv.publish(EVENTS, wire(id, fanout));
    await eventually(() => heard.length === 1 && fleet.includes(fanout));
    assert.equal(await subscribersOf(client, channelOf(id)), 0);
    assert.equal(statsOf(redis).channels, 0);
    await kv.disconnect();
  }
});

test("channels are subscribed while there is a callback that hears them, and by no other", async (world) => {
  const { kv, client } = await opened(world);
  const ids = [await open(kv), await open(kv)];
  await kv.listen([EVENTS], () => {});
  assert.equal(await subscribersOf(client, channelOf(ids[0] as string)), 0);
  const heard = await hear(kv);
  await targeted(client, ids);
  await kv.unsubscribe(EVENTS);
  await targeted(client, ids, false);
  const again = await hear(kv);
  await targeted(client, ids);
  await kv.publish(EVENTS, wire(ids[0] as string, 1));
  await eventually(() => again.length === 1);
  assert.equal(heard.length, 0);
  await kv.disconnect();
  await targeted(client, ids, false);
});

for (const [who, rules] of [
  ["who hears", "+@all &covara:events &covara:aggregate"],
  ["who publishes, too", "+@all &covara:events &covara:aggregate"],
  ["who may run no script", "+@all -eval -evalsha &covara:*"],
  ["who may ask for no subscribers", "+@all -pubsub &covara:*"],
] as const) {
  test(`rules of an ACL for ${who}: events come all the same, and no error is told`, async (world) => {
    const redis = await world.redis({ user: `limited on nopass ~* resetchannels ${rules}` });
    const limited = { ...PATIENT, username: "limited", password: "any" };
    const kv = await world.open(redis, limited);
    const errors = emissions(kv, "error");
    const heard = await hear(kv);
    const id = await open(kv);
    const mayHear = rules.includes("&covara:*");
    if (mayHear) await targeted(world.client(redis), [id]);
    else await eventually(() => statsOf(redis).refused);
    const publishers = [kv, await world.open(redis, PATIENT)];
    for (let round = 0; round < 20; round++)
      for (const publisher of publishers) assert.equal(await publisher.publish(EVENTS, wire(id, round)), 1);
    await eventually(() => heard.length === 40);
    assert.deepEqual(
      eventsOf(heard),
      Array.from({ length: 40 }, (_, i) => Math.floor(i / 2)),
    );
    assert.deepEqual(errors, []);
    if (who === "who hears") {
      // A refusal of a channel of the application is told by the call.
      const silent = createRedisKV({
        host: redis.host,
        port: redis.port,
        username: "limited",
        password: "any",
      });
      world.defer(() => silent.disconnect());
      await assert.rejects(silent.publish("other", ""), { code: "NOPERM" });
    }
  });
}

for (const [how, server] of [
  ["by a script", {}],
  ["without EVAL", NO_EVAL],
] as const) {
  // Between the reply to HSET and the confirmation of SUBSCRIBE, a publisher changes from the channel of the fleet to that of the
  // subscription.
  test(`${how}: events that are under way while a stream's channel comes are heard once and in order`, async (world) => {
    const { redis, kv, client, fleet } = await opened(world, server);
    const heard = await hear(kv);
    const publishers = [await world.open(redis, PATIENT), await world.open(redis, PATIENT)];
    const EVENTS_EACH = 40;
    const ids: string[] = [];
    for (let stream = 0; stream < 100; stream++) {
      const id = newId();
      ids.push(id);
      const created = open(kv, id);
      // Half of the streams publish once another process may see the record, the others once this process has the reply.
      if (stream % 2 === 0) await created;
      else await eventually(async () => (await client.hexists(hashOf("posts"), id)) === 1);
      const published = publishers.map(async (publisher, who) => {
        for (let i = 0; i < EVENTS_EACH; i++) {
          const receivers = publisher.publish(EVENTS, wire(id, [who, i]));
          if ((i + who) % 8 === 0) await receivers;
        }
      });
      await Promise.all([created, ...published]);
    }
    await eventually(() => heard.length >= publishers.length * ids.length * EVENTS_EACH);
    for (const id of ids)
      for (const who of publishers.keys()) {
        const events = (eventsOf(heard, id) as [number, number][]).filter(([by]) => by === who);
        assert.deepEqual(
          events.map(([, i]) => i),
          Array.from({ length: EVENTS_EACH }, (_, i) => i),
        );
      }
    await targeted(client, ids);
    // How many events come before the server confirms the channel depends on the machine: up to a few in a hundred.
    assert.ok(fleet.length < 0.9 * heard.length, `${fleet.length} of ${heard.length} went to the fleet`);
  });
}

test("an event whose script is refused overtakes none of those under way", async (world) => {
  const { redis, kv, client } = await opened(world);
  const heard = await hear(kv);
  const id = await open(kv);
  await targeted(client, [id]);
  await client.call("ACL", "SETUSER", "changing", "on", "nopass", "~*", "&*", "+@all");
  const publisher = await world.open(redis, { ...PATIENT, username: "changing", password: "any" });
  const ROUNDS = 3_000;
  const published: Promise<number>[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    published.push(publisher.publish(EVENTS, wire(id, round)));
    if (round === ROUNDS / 3) client.call("ACL", "SETUSER", "changing", "-eval", "-evalsha");
    if (round % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok((await Promise.all(published)).every((receivers) => receivers === 1));
  await eventually(() => heard.length === ROUNDS);
  assert.deepEqual(
    eventsOf(heard),
    Array.from({ length: ROUNDS }, (_, round) => round),
  );
});

// An error within the steps ended the process, and the events of that subscription waited for ever.
test("without EVAL: a store that is disconnected rejects what waits, and publishes again once it is connected", async (world) => {
  const { kv } = await opened(world, NO_EVAL);
  const id = newId();
  // Nobody hears it on its own channel, which is remembered.
  await kv.publish(EVENTS, wire(id, 0));
  const late = [1, 2, 3].map((event) => errorOf(kv.publish(EVENTS, wire(id, event)) as Promise<unknown>));
  await kv.disconnect();
  const codes = (await Promise.all(late)).map(({ code }) => code);
  assert.ok(
    codes.every((code) => code === "CLOSED"),
    codes.join(),
  );
  await kv.connect();
  assert.equal(await kv.publish(EVENTS, wire(id, 4)), 1);
});

// Encoded for the socket, half of a pair becomes U+FFFD: other text than was published.
test("an event that is no text is refused, and nothing is published", async (world) => {
  const { kv, fleet } = await opened(world);
  for (const message of [wire("#", 1), wire(newId(), "#")]) {
    const half = message.replace("#", "\ud800");
    assert.equal((await errorOf(kv.publish(EVENTS, half) as Promise<unknown>)).code, "INVALID_ARGUMENT");
  }
  await kv.publish(EVENTS, wire(newId(), "last"));
  await eventually(() => fleet.length > 0);
  assert.deepEqual(fleet, ["last"]);
});

// The other store takes the channel of the stream first. Publishers then use that, and the stream's own store hears nothing.
test("a store with other options does not take the events of another one's stream", async (world) => {
  const { redis, kv, client } = await opened(world);
  const filtered = await world.open(redis, { ...PATIENT, fanout: "filtered" });
  await hear(kv);
  const heard = await hear(filtered);
  const id = await open(filtered);
  // One of the targeted store's own is live by its own channel, so that of the other would be too.
  await targeted(client, [await open(kv)]);
  await targeted(client, [id], false);
  assert.equal(await kv.publish(EVENTS, wire(id, "own")), 2);
  await eventually(() => heard.length > 0);
  assert.deepEqual(eventsOf(heard), ["own"]);
});
