// A cluster that changes makes the map of its slots wrong, and calls go to the wrong node or to none. The issues in brackets are those of
// other clients.
import assert from "node:assert/strict";
import { setTimeout as wait } from "node:timers/promises";
import { createKV } from "covara-kv";
import { eventually } from "../eventually.js";
import type { Peer } from "../fake-server.js";
import { Calls, emissions, SLACK, timeOf, underLoad } from "../faults/faults.js";
import { movable } from "../faults/movable.js";
import { Thread } from "../redis/processes.js";
import { keyIn, shareOf, slotOf } from "../redis-cluster.js";
import { errorOf } from "../replies.js";
import { closedPort } from "../sockets.js";
import { CLUSTERDOWN, evenly, homeOf, LOADING, moved, TRYAGAIN } from "./fake-nodes.js";
import { isReady, sharedCluster, test } from "./shared.js";

const cluster = sharedCluster({ nodeTimeout: 500, config: { "cluster-require-full-coverage": "no" } });

const timeouts = { commandTimeout: 1_500, queueTimeout: 8_000 } as const;
/** A key of each master's share. */
const keys = [0, 1, 2].map((shard) => keyIn(shareOf(shard, 3)[0] + 7, "topology")) as [
  string,
  string,
  string,
];

// A master that stops without closing its connections must be left within the deadline (ioredis #559).
test("a master that freezes is left for its replica, and every call ends in its time", async ({ open }) => {
  const kv = await open(cluster(), timeouts);
  await kv.set(keys[0], "1");
  const master = await cluster().replaceable(slotOf(keys[0]));
  const calls = new Calls(timeouts.commandTimeout + timeouts.queueTimeout);
  const load = underLoad(2, async () => {
    await calls.try(() => kv.incr(keys[0]));
    await wait(5);
  });
  await eventually(() => calls.succeeded > 10);
  master.pause();
  await cluster().replaced(master, slotOf(keys[0]));
  const { succeeded } = calls;
  await eventually(() => calls.succeeded > succeeded + 20);
  await load.stop();
  calls.checkDeadlines();
});

// One shard that fails over must not stop the others (valkey-glide #4990). What one node owes must not delay the replies of others (#3946).
test("the other shards go on while one answers nothing", async ({ open }) => {
  const kv = await open(cluster(), timeouts);
  for (const key of keys) await kv.set(key, "1");
  const master = await cluster().replaceable(slotOf(keys[0]));
  master.pause();
  const stuck = kv.get(keys[0]).catch(() => {});
  for (let round = 0; round < 50; round++) {
    const time = await timeOf(Promise.all([kv.incr(keys[1]), kv.incr(keys[2])]));
    assert.ok(time < 1_000, `${time} ms`);
  }
  await stuck;
});

// An MGET over several shards must not wait for ever for the one that does not answer (valkey-glide #5857).
test("a command over several shards ends in its time although one answers nothing", async ({ open }) => {
  const kv = await open(cluster(), { commandTimeout: 300, queueTimeout: 300 });
  const master = await cluster().replaceable(slotOf(keys[0]));
  master.pause();
  const getting = kv.mget(...keys);
  const [time, error] = await Promise.all([timeOf(getting), errorOf(getting)]);
  assert.ok(["TIMEOUT", "CONNECTION"].includes(error.code), error.message);
  assert.ok(time < 600 + SLACK, `${time} ms`);
});

// If each store fetches the map for itself, each time over a new connection, a failover floods the nodes (ioredis #1449 #1506, valkey-go #140).
test("a failover costs 20 stores of a process a few CLUSTER SLOTS, and no connection but to the new master", async ({
  open,
}) => {
  // Redis 7.0 sometimes pauses its clients for seconds when a replica is elected again.
  const long = { commandTimeout: 20_000, queueTimeout: 20_000 };
  const stores = await Promise.all(Array.from({ length: 20 }, () => open(cluster(), long)));
  await Promise.all(stores.map((kv, index) => kv.set(keys[0], `${index}`)));
  // A connection that is late would be counted below.
  for (const kv of stores) await eventually(() => isReady(kv));
  const before = await cluster().counters();
  const load = underLoad(stores.length, async (worker) => {
    await Promise.all(keys.map((key) => stores[worker]?.incr(key)));
    await wait(20);
  });
  await cluster().failover(keys[0]);
  await cluster().converged();
  await Promise.all(stores.map((kv) => kv.incr(keys[0])));
  await load.stop();
  const after = await cluster().counters();
  assert.ok(after.slots - before.slots <= 10, `${after.slots - before.slots} calls of CLUSTER SLOTS`);
  const connections = after.connections - before.connections;
  assert.ok(connections <= stores.length, `${connections} connections for ${stores.length} stores`);
});

// Without a map for the whole process each thread asks for one: a process with many threads floods the nodes.
test("the stores of three worker threads ask for the map once, and once more when a slot has moved", async (world) => {
  const fake = await world.fake();
  const open = async () => {
    const thread = new Thread("gets", { cluster: { nodes: fake.addresses } });
    await thread.hasRaised(1);
  };
  await open();
  const first = fake.count("CLUSTER");
  for (let more = 0; more < 2; more++) await open();
  // The first one may ask again once it is connected. Two more would ask twice.
  const opened = fake.count("CLUSTER");
  assert.ok(opened - first < 2, `${opened} calls of CLUSTER SLOTS`);

  const home = homeOf(fake, "key");
  const next = fake.nodes.find((node) => node !== home);
  const range = fake.ranges.find(({ nodes }) => nodes[0] === home.name);
  assert.ok(next && range);
  range.nodes = [next.name];
  const calls = new Map<Peer, number>();
  fake.answer = ([name], node, peer) => {
    if (name !== "GET") return undefined;
    if (node === home) return moved(slotOf("key"), next);
    calls.set(peer, (calls.get(peer) ?? 0) + 1);
    return undefined;
  };
  // So many calls take longer than any store would wait before it asks.
  await eventually(() => calls.size === 3 && Math.min(...calls.values()) > 1_000);
  const asked = fake.count("CLUSTER") - opened;
  assert.ok(asked === 1 || asked === 2, `${asked} calls of CLUSTER SLOTS for one change`);
});

// Without a batch for each node every call is a write of its own, and costs a system call.
test("what is called in one tick is one write to each node", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, timeouts);
  const names = fake.ranges.map(({ first }, index) => keyIn(first, `${index}`));
  const ticks = 10;
  for (let tick = 0; tick < ticks; tick++)
    await Promise.all(Array.from({ length: 50 }, () => names.map((name) => kv.set(name, "1"))).flat());
  for (const { chunks } of fake.nodes) {
    // A question for the map may be among them.
    const sets = chunks.map((chunk) => chunk.filter(([name]) => name === "SET").length);
    assert.deepEqual(
      sets.filter((count) => count > 0),
      Array(ticks).fill(50),
    );
  }
});

// After one MOVED the store must use the new owner directly. Otherwise every call costs two requests.
test("a slot that has moved is asked for at its new owner", async ({ open }) => {
  const kv = await open(cluster(), timeouts);
  const slot = shareOf(0, 3)[0] + 11;
  const key = keyIn(slot, "moves");
  await kv.set(key, "1");
  const { from, to } = await cluster().mastersFor(slot);
  const before = await from.errors("MOVED");
  await (await cluster().migrate(slot, to)).finish();
  for (let round = 0; round < 20; round++) assert.equal(await kv.get(key), "1");
  assert.ok((await from.errors("MOVED")) - before <= 1);
  await (await cluster().migrate(slot, from)).finish();
});

// A call without any connection must wait for one. Otherwise it fails with a TypeError (node-redis #2704, keyv #1529).
test("what is called while there is no connection to any node waits for one", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, timeouts);
  for (const { peers } of fake.nodes) for (const { socket } of peers) socket.destroy();
  const names = Array.from({ length: 20 }, (_, index) => `k${index}`);
  await Promise.all(names.map((name) => kv.get(name)));
});

// Told without its node, an operator does not know which of 60 servers is there again.
test("a node whose connection was lost is named once it is ready again, and no other is", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, { ...timeouts, retryDelay: 20 });
  await eventually(() => isReady(kv));
  const [ready, lost] = [emissions(kv, "ready"), emissions(kv, "reconnecting")];
  for (const { name, peers } of fake.nodes) {
    for (const { socket } of peers) socket.destroy();
    const seen = ready.length;
    await eventually(() => ready.length > seen);
    const told = [...ready.slice(seen), ...lost.splice(0)].map(({ node }) => node);
    assert.deepEqual(new Set(told), new Set([`${name.host}:${name.port}`]));
  }
});

// "Failed to refresh slots cache" says neither which nodes are tried, nor why they fail (ioredis #711 #220 #1000).
test("where no node can be reached, the error says which were tried and why not", async () => {
  const ports = [await closedPort(), await closedPort()];
  const nodes = ports.map((port) => ({ host: "127.0.0.1", port }));
  const opening = createKV({ type: "redis", redis: { cluster: { nodes }, retryDelay: 10 } });
  opening.then((kv) => kv.disconnect()).catch(() => {});
  const { code, message } = await errorOf(opening);
  assert.equal(code, "CONNECTION");
  for (const port of ports) assert.ok(message.includes(`127.0.0.1:${port}`), message);
  assert.match(message, /refused/i);
});

// All nodes may get new addresses. Then only the configured name still leads to the cluster (redis-py #3604, lettuce #462, fred #59).
test("once all known nodes are gone, the configured ones are asked again", async (world) => {
  const [old, next] = [await world.fake(), await world.fake()];
  const name = await movable(world, old.addresses[0] as { host: string; port: number });
  const kv = await world.open({ addresses: [{ host: name.host, port: name.port }] }, timeouts);
  assert.equal(await kv.incr("a"), 1);
  await old.stop();
  name.move(next.addresses[0] as { host: string; port: number });
  await eventually(() => kv.incr("a").catch(() => undefined));
  assert.ok(homeOf(next, "a").calls.includes("INCR a"));
});

// Without this the connections to nodes that have left stay for ever (ioredis PR#2060, node-redis #2806).
test("the connection to a node that has left the cluster is closed", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, timeouts);
  const [one, two, left] = fake.nodes;
  assert.ok(one && two && left);
  for (const { first } of fake.ranges) await kv.set(keyIn(first), "1");
  await eventually(() => left.peers.some(({ socket }) => !socket.destroyed));
  fake.ranges = evenly([one.name, two.name]);
  // The next call at that node makes the store fetch the map.
  fake.answer = ([name], node) =>
    node === left && name === "SET" ? `-MOVED ${shareOf(2, 3)[1]} ${two.host}:${two.port}\r\n` : undefined;
  await kv.set(keyIn(shareOf(2, 3)[1]), "1");
  await eventually(() => left.peers.every(({ socket }) => socket.destroyed));
});

for (const [word, reply] of Object.entries({ TRYAGAIN, CLUSTERDOWN, LOADING })) {
  // TRYAGAIN, CLUSTERDOWN and LOADING often end within a second. So the call waits instead of failing (radix #136, redis-clustr #5).
  test(`${word} is waited out`, async (world) => {
    const fake = await world.fake();
    const kv = await world.open(fake, timeouts);
    const until = Date.now() + 700;
    fake.answer = ([name]) => (name === "INCR" && Date.now() < until ? reply : undefined);
    const replies = await Promise.all([kv.incr("a"), kv.incr("a"), kv.set("a", "1")]);
    assert.equal(replies.length, 3);
    const [first, second] = replies;
    assert.ok(first < second, `${replies}`);
    const asked = homeOf(fake, "a").calls.filter((call) => call === "INCR a").length;
    assert.ok(asked < 100, `it was asked ${asked} times`);
  });

  test(`${word} that does not pass ends with the deadline, and says so`, async (world) => {
    const fake = await world.fake();
    const kv = await world.open(fake, { commandTimeout: 400, queueTimeout: 400 });
    fake.answer = ([name]) => (name === "INCR" ? reply : undefined);
    const calling = kv.incr("a");
    const [time, error] = await Promise.all([timeOf(calling), errorOf(calling)]);
    assert.ok([word, "TIMEOUT"].includes(error.code), error.message);
    assert.ok(error.message.includes(word), error.message);
    assert.ok(time < 800 + SLACK, `${time} ms`);
  });
}

// A connection may break before the reply comes. If INCR is then sent again, it may run twice (hiredis-cluster #140, jedis #1466, ioredis).
test("a write whose reply is lost is not sent again", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, timeouts);
  fake.answer = ([name], _, peer) => {
    if (name !== "INCR") return undefined;
    peer.send(":");
    peer.socket.destroy();
    return null;
  };
  const error = await errorOf(kv.incr("a"));
  assert.deepEqual([error.code, error.reason], ["CONNECTION", "lost"]);
  assert.equal(fake.nodes.flatMap(({ calls }) => calls).filter((call) => call === "INCR a").length, 1);
  fake.answer = () => undefined;
  await kv.set("a", "1");
});
