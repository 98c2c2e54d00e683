// Reads at replicas that do what real ones do not on demand.
import assert from "node:assert/strict";
import { eventually } from "../eventually.js";
import { bulk, type Peer } from "../fake-server.js";
import { timeOf } from "../faults/faults.js";
import { keyIn, slotOf } from "../redis-cluster.js";
import { errorOf } from "../replies.js";
import {
  ask,
  CLUSTERDOWN,
  error,
  evenly,
  type FakeCluster,
  type FakeNode,
  moved,
  type Range,
  TRYAGAIN,
} from "./fake-nodes.js";
import { test, type World } from "./shared.js";

const timeouts = { commandTimeout: 3_000, queueTimeout: 8_000 } as const;
const MODES = ["replica", "prefer-replica"] as const;

const key = keyIn(5, "fake");

/** Two masters, with the replicas of each. */
async function faked(world: World, replicasEach = 1): Promise<FakeCluster & { replicas: FakeNode[][] }> {
  const fake = await world.fake({ nodes: 2 * (1 + replicasEach) });
  const masters = fake.nodes.slice(0, 2);
  fake.ranges = evenly(masters.map(({ name }) => name));
  const replicas = masters.map(({ index }) =>
    fake.nodes.filter((node) => node.index > 1 && node.index % 2 === index),
  );
  for (const [index, range] of fake.ranges.entries()) {
    range.nodes.push(...(replicas[index] ?? []).map(({ name }) => name));
  }
  return Object.assign(fake, { replicas });
}

/** Has the first master's last slot be the second's. A write of the key in it is answered by MOVED, for which a store asks for the map. */
function moveLastSlot(fake: FakeCluster): { moving: string; reply: string } {
  const [first, second] = fake.ranges as [Range, Range];
  fake.ranges = [
    { ...first, last: first.last - 1 },
    { ...second, first: first.last },
  ];
  return { moving: keyIn(first.last), reply: moved(first.last, fake.nodes[1] as FakeNode) };
}

test("a connection to a replica is opened for the first read, and begins with READONLY", async (world) => {
  const fake = await faked(world);
  const [replica] = fake.replicas[0] as [FakeNode];
  const kv = await world.open(fake, { ...timeouts, readFrom: "replica" });
  await kv.set(key, "1");
  assert.equal(replica.peers.length, 0);
  fake.answer = ([name], node) => (name === "GET" ? bulk(`node ${node.index}`) : undefined);
  assert.equal(await kv.get(key), `node ${replica.index}`);
  const names = replica.peers[0]?.commands.map(([name]) => name) ?? [];
  assert.ok(names.includes("READONLY") && names.indexOf("READONLY") < names.indexOf("GET"), `${names}`);
  const { connections } = await kv.health();
  // Every connection must be reported as one for commands, not only the first.
  assert.deepEqual(
    connections.map(({ connection }) => connection),
    ["commands", "commands", "commands"],
  );
  assert.ok(connections.some(({ node }) => node === `${replica.host}:${replica.port}`));
  await kv.disconnect();
  await eventually(() => replica.peers.every(({ socket }) => socket.destroyed || socket.readableEnded));
});

test("a store reads from one replica of a master, and many stores from all of them", async (world) => {
  const fake = await faked(world, 2);
  const replicas = fake.replicas[0] as FakeNode[];
  const counts = replicas.map(() => 0);
  for (let store = 0; store < 16; store++) {
    const kv = await world.open(fake, { ...timeouts, readFrom: "replica" });
    const before = replicas.map(({ calls }) => calls.length);
    for (let round = 0; round < 10; round++) await kv.get(key);
    const read = replicas.map(({ calls }, index) => calls.length - (before[index] as number));
    assert.deepEqual(
      [...read].sort((one, other) => one - other),
      [0, 10],
    );
    const index = read.indexOf(10);
    counts[index] = (counts[index] as number) + 1;
  }
  assert.ok(
    counts.every((count) => count > 0),
    `${counts}`,
  );
});

// A replica that comes to the map may take no connection for seconds. Reads that would rather go there must not wait while another is ready.
test("reads go to the replica that is connected while another is on its way", async (world) => {
  const fake = await faked(world, 2);
  const [first] = fake.ranges;
  const [ready, joining] = fake.replicas[0] as [FakeNode, FakeNode];
  assert.ok(first);
  const all = first.nodes;
  first.nodes = all.filter(({ port }) => port !== joining.port);
  fake.answer = (_, node) => (node === joining ? null : undefined);
  const timeouts = { commandTimeout: 2_000, queueTimeout: 2_000, connectTimeout: 10_000 };
  const opening = Array.from({ length: 8 }, () => world.open(fake, { ...timeouts, readFrom: "replica" }));
  const stores = await Promise.all(opening);
  const read = () => Promise.all(stores.map((kv) => kv.get(key)));
  await read();
  first.nodes = all;
  const { moving, reply } = moveLastSlot(fake);
  fake.answer = ([, asked], node) => {
    if (node === joining) return null;
    return asked === moving && node === fake.nodes[0] ? reply : undefined;
  };
  await stores[0]?.set(moving, "1");
  // One in 256 runs no store would rather read there.
  await eventually(async () => (await read()) && joining.peers.length > 0);
  for (let round = 0; round < 3; round++) await read();
  assert.ok(ready.count("GET") > 0);
});

const NOT_YET = {
  LOADING: error("LOADING Redis is loading the dataset in memory"),
  MASTERDOWN: error("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
  CLUSTERDOWN,
  MOVED: undefined,
};

for (const [what, reply] of Object.entries(NOT_YET)) {
  test(`a replica that answers ${what} is passed over: "prefer-replica" reads from the master, "replica" waits`, async (world) => {
    for (const readFrom of MODES) {
      const fake = await faked(world);
      const [master] = fake.nodes as [FakeNode];
      const [replica] = fake.replicas[0] as [FakeNode];
      let refuses = true;
      fake.answer = ([name], node) => {
        if (name !== "GET") return undefined;
        if (node === replica && refuses) return reply ?? moved(slotOf(key), master);
        return bulk(`node ${node.index}`);
      };
      const kv = await world.open(fake, { ...timeouts, readFrom });
      if (readFrom === "prefer-replica") {
        await eventually(async () => {
          assert.equal(await kv.get(key), "node 0");
          return replica.count("GET") > 0;
        });
        refuses = false;
        await eventually(async () => (await kv.get(key)) === `node ${replica.index}`);
      } else {
        const reading = kv.get(key);
        await eventually(() => replica.count("GET") > 2);
        refuses = false;
        assert.equal(await reading, `node ${replica.index}`);
        assert.equal(master.count("GET"), 0);
        refuses = true;
        const short = await world.open(fake, { commandTimeout: 400, queueTimeout: 400, readFrom });
        const failed = await errorOf(short.get(key));
        assert.equal(failed.code, "CONNECTION");
        assert.ok(failed.message.includes(what), failed.message);
        assert.equal(failed.node, `${replica.host}:${replica.port}`);
        assert.ok(replica.count("GET") < 40, "it waits between two tries");
      }
    }
  });
}

// While a slot migrates, a key that has left the source is at the target, which is a master.
test("a replica that answers ASK or TRYAGAIN leaves the read to the masters", async (world) => {
  for (const readFrom of MODES) {
    const fake = await faked(world);
    const [master, other] = fake.nodes as [FakeNode, FakeNode];
    const kv = await world.open(fake, { ...timeouts, readFrom });
    for (const reply of [ask(slotOf(key), other), TRYAGAIN]) {
      fake.answer = ([name], node) => {
        if (name !== "GET") return undefined;
        if (node === other) return bulk("target");
        return node === master && reply === TRYAGAIN ? bulk("master") : reply;
      };
      const expected = reply === TRYAGAIN ? "master" : "target";
      for (let round = 0; round < 3; round++) assert.equal(await kv.get(key), expected);
    }
  }
});

// The masters owe nothing while a store closes, so they end first. What the replica then refuses needs a new connection.
test("what a replica refuses after disconnect is still read from the master", async (world) => {
  for (const refusal of [TRYAGAIN, NOT_YET.LOADING]) {
    const fake = await faked(world);
    const [master] = fake.nodes as [FakeNode];
    const [replica] = fake.replicas[0] as [FakeNode];
    const kv = await world.open(fake, { ...timeouts, readFrom: "prefer-replica" });
    await eventually(async () => {
      await kv.get(key);
      return replica.count("GET") > 0;
    });
    let owing: Peer | undefined;
    fake.answer = ([name], node, peer) => {
      if (name !== "GET") return undefined;
      if (node === master) return bulk("master");
      owing = peer;
      return null;
    };
    const reading = kv.get(key);
    await eventually(() => owing !== undefined);
    const closing = kv.disconnect();
    await eventually(() => master.peers.every(({ socket }) => socket.destroyed || socket.readableEnded));
    owing?.send(refusal);
    assert.equal(await reading, "master");
    await closing;
  }
});

test("reads of a replica do not wait for a slot in trouble, and writes keep their order", async (world) => {
  const fake = await faked(world);
  const kv = await world.open(fake, { ...timeouts, readFrom: "replica" });
  await kv.get(key);
  let troubled = true;
  fake.answer = ([name]) => (troubled && name === "SET" ? TRYAGAIN : undefined);
  const writes = ["1", "2", "3"].map((value) => kv.set(key, value));
  assert.ok((await timeOf(kv.get(key))) < 1_000);
  troubled = false;
  await Promise.all(writes);
  const [master] = fake.nodes as [FakeNode];
  assert.deepEqual(master.calls.slice(-3), [`SET ${key} 1`, `SET ${key} 2`, `SET ${key} 3`]);
});

test("a slot without a replica", async (world) => {
  const fake = await world.fake();
  const preferring = await world.open(fake, { ...timeouts, readFrom: "prefer-replica" });
  assert.equal(await preferring.get("a"), "");
  const kv = await world.open(fake, { commandTimeout: 300, queueTimeout: 300, readFrom: "replica" });
  const failed = await errorOf(kv.mget("a", "b"));
  assert.deepEqual([failed.code, failed.node], ["CONNECTION", undefined]);
  assert.match(failed.message, /No replica was ready .* 127\.0\.0\.1:\d+ has none/);
});

// A replica may leave the map before its connection is lost. A read in flight there must then move to the master.
test("a read that a replica owes when it leaves the map is run by the master once the replica is gone", async (world) => {
  const fake = await faked(world);
  const kv = await world.open(fake, { ...timeouts, readFrom: "prefer-replica" });
  const [master, other] = fake.nodes as [FakeNode, FakeNode];
  const [replica] = fake.replicas[0] as [FakeNode];
  await eventually(async () => {
    await kv.get(key);
    return replica.calls.includes(`GET ${key}`);
  });
  fake.answer = ([name], node) => (name === "GET" && node === replica ? null : undefined);
  const [asked, before] = [replica.calls.length, master.calls.length];
  const read = kv.get(key);
  await eventually(() => replica.calls.length > asked);
  fake.ranges = evenly([master.name, other.name]);
  const { moving, reply } = moveLastSlot(fake);
  fake.answer = ([name, asked], node) => {
    if (asked === moving && node === master) return reply;
    return name === "GET" && node === replica ? null : undefined;
  };
  await kv.set(moving, "1");
  // When a read goes to the master, the store has taken the replica out of its map.
  const reads: Promise<unknown>[] = [];
  await eventually(() => {
    reads.push(kv.get(key));
    return master.calls.length > before + 1;
  });
  await replica.stop();
  await Promise.all([read, ...reads]);
});
