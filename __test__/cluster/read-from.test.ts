// Reads from replicas: `readFrom`. A replica that loads its data, or is gone, must not fail a read (ioredis #358 #539, iovalkey #50).
import assert from "node:assert/strict";
import { setTimeout as wait } from "node:timers/promises";
import { createKV, type KVStore } from "covara-kv";
import { eventually } from "../eventually.js";
import { bulk, type Peer } from "../fake-server.js";
import { SLACK, timeOf } from "../faults/faults.js";
import { type ClusterNode, keyIn, shareOf, slotOf } from "../redis-cluster.js";
import { errorOf } from "../replies.js";
import { ask, CLUSTERDOWN, error, evenly, type FakeNode, moved, TRYAGAIN } from "./fake-nodes.js";
import { fakeReplicas } from "./fake-replicas.js";
import { sharedCluster, test } from "./shared.js";

const cluster = sharedCluster({ nodeTimeout: 500 });

const timeouts = { commandTimeout: 3_000, queueTimeout: 8_000 } as const;
const MODES = ["replica", "prefer-replica"] as const;

/** A key of each master's share. */
const keys = [0, 1, 2].map((shard) => keyIn(shareOf(shard, 3)[0] + 9, "read")) as [string, string, string];

/** How often a node has run a command. */
async function callsOf(node: ClusterNode, command: string): Promise<number> {
  const stats = (await node.info("commandstats")).get(`cmdstat_${command}`) ?? "";
  return Number(/calls=(\d+)/.exec(stats)?.[1] ?? 0);
}

async function callsAt(role: "masters" | "replicas", command: string): Promise<number> {
  const masters = new Set((await cluster().masters()).map(({ node }) => node));
  const nodes = cluster().running.filter((node) => masters.has(node) === (role === "masters"));
  const calls = await Promise.all(nodes.map((node) => callsOf(node, command)));
  return calls.reduce((sum, one) => sum + one, 0);
}

/** Waits until every read gives the written value. A replica may be behind, or not connected yet. */
async function written(kv: KVStore, value: string): Promise<void> {
  await Promise.all(keys.map((key) => kv.set(key, value)));
  await eventually(async () => (await kv.mget(...keys)).every((text) => text === value));
}

/** Resolves once replicas take all reads. */
async function readsFromReplicas(kv: KVStore): Promise<void> {
  await eventually(async () => {
    const before = await callsAt("masters", "get");
    await Promise.all(keys.map((key) => kv.get(key)));
    return (await callsAt("masters", "get")) === before;
  });
}

for (const readFrom of MODES) {
  test(`with "${readFrom}" reads are run by replicas, and all else by masters`, async ({ open }) => {
    const kv = await open(cluster(), { ...timeouts, readFrom });
    await written(kv, "1");
    await readsFromReplicas(kv);
    const before = await callsAt("masters", "get");
    const reads = await callsAt("replicas", "get");
    for (let round = 0; round < 20; round++) {
      assert.deepEqual(await Promise.all(keys.map((key) => kv.get(key))), ["1", "1", "1"]);
    }
    assert.equal(await callsAt("masters", "get"), before);
    assert.equal((await callsAt("replicas", "get")) - reads, 60);
    assert.equal(await kv.exists(...keys), 3);
    assert.deepEqual((await kv.keys("read*")).sort(), [...keys].sort());
    for (const command of ["exists", "keys"]) assert.equal(await callsAt("masters", command), 0);
    await kv.scan("0");
    await kv.multi().get(keys[0]).exec();
    await kv.eval("return redis.call('get', KEYS[1])", [keys[0]], []);
    for (const command of ["scan", "multi", "eval"]) assert.equal(await callsAt("replicas", command), 0);
    assert.equal(await kv.ping(), "PONG");
    await kv.del(...keys);
    await cluster().converged();
    for (const node of cluster().nodes) await node.admin.call("CONFIG", "RESETSTAT");
  });

  test(`with "${readFrom}" reads go on through a planned failover, and the old master takes them then`, async ({
    open,
    defer,
  }) => {
    const kv = await open(cluster(), { ...timeouts, readFrom });
    await written(kv, "2");
    const errors: unknown[] = [];
    let done = false;
    defer(() => {
      done = true;
    });
    const reading = (async () => {
      while (!done) {
        await kv.get(keys[0]).catch((error) => errors.push(error));
        await wait(1);
      }
    })();
    const before = await cluster().masterOf(keys[0]);
    await cluster().failover(keys[0]);
    await cluster().converged();
    // Reads also succeed at the new master, so they do not show that the roles changed. A write does: it makes the store fetch the map.
    await kv.set(keys[0], "2");
    const reads = await callsOf(before, "get");
    await eventually(async () => (await callsOf(before, "get")) > reads + 10);
    done = true;
    await reading;
    assert.deepEqual(errors, []);
    await kv.del(...keys);
  });
}

test("the master takes the reads of a replica that is killed, and the replica has them when it is back", async ({
  open,
}) => {
  const kv = await open(cluster(), { ...timeouts, readFrom: "prefer-replica" });
  await written(kv, "3");
  await readsFromReplicas(kv);
  const [replica] = await cluster().replicasOf(await cluster().masterOf(keys[0]));
  assert.ok(replica);
  const reading = Promise.all(Array.from({ length: 500 }, () => kv.get(keys[0])));
  await replica.kill();
  assert.ok((await reading).every((value) => value === "3"));
  for (let round = 0; round < 50; round++) {
    const time = await timeOf(kv.get(keys[0]));
    assert.ok(time < 500, `${time} ms`);
  }
  assert.equal(kv.status, "ready");
  await cluster().heal();
  const before = await callsOf(replica, "get");
  await eventually(async () => {
    await kv.get(keys[0]);
    return (await callsOf(replica, "get")) > before;
  });
  await kv.del(...keys);
});

test("a replica that freezes is passed over after a second", async ({ open }) => {
  const kv = await open(cluster(), { ...timeouts, readFrom: "prefer-replica" });
  await written(kv, "4");
  await readsFromReplicas(kv);
  const [replica] = await cluster().replicasOf(await cluster().masterOf(keys[0]));
  assert.ok(replica);
  replica.pause();
  const stuck = kv.get(keys[0]).catch((error) => error.code);
  await eventually(async () => {
    const winner = await Promise.race([kv.get(keys[0]).catch(() => {}), wait(100)]);
    return winner === "4";
  });
  assert.equal(await stuck, "TIMEOUT");
  await kv.del(...keys);
});

test('with "replica" and none that is there a read waits for one, and is told at its deadline', async ({
  open,
}) => {
  const kv = await open(cluster(), { commandTimeout: 1_000, queueTimeout: 700, readFrom: "replica" });
  await written(kv, "5");
  const master = await cluster().masterOf(keys[0]);
  const [replica] = await cluster().replicasOf(master);
  assert.ok(replica);
  await replica.kill();
  const reading = kv.get(keys[0]);
  const [time, failed] = await Promise.all([timeOf(reading), errorOf(reading)]);
  assert.deepEqual([failed.code, failed.reason, failed.slot], ["CONNECTION", "not-ready", slotOf(keys[0])]);
  for (const words of ["No replica", "readFrom", `slot ${slotOf(keys[0])}`]) {
    assert.ok(failed.message.includes(words), failed.message);
  }
  assert.ok(time > 600 && time < 700 + SLACK, `${time} ms`);
  await kv.set(keys[0], "6");
  const patient = await open(cluster(), { ...timeouts, queueTimeout: 30_000, readFrom: "replica" });
  const waiting = patient.get(keys[0]);
  await cluster().heal();
  // A restarted replica may first answer from its file, before it is in sync. So the first read may give an old value.
  await waiting;
  await eventually(async () => (await patient.get(keys[0])) === "6");
  await kv.del(...keys);
});

test("a plain url of a node takes readFrom too", async ({ defer }) => {
  const [{ host, port } = { host: "", port: 0 }] = cluster().addresses;
  const kv = await createKV({ type: "redis", redis: { host, port, readFrom: "prefer-replica" } });
  defer(() => kv.disconnect());
  await written(kv, "7");
  await readsFromReplicas(kv);
  await kv.del(...keys);
});

const key = keyIn(5, "fake");

test("a connection to a replica is opened for the first read, and begins with READONLY", async (world) => {
  const fake = await fakeReplicas(world);
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
  const fake = await fakeReplicas(world, 2);
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

const NOT_YET = {
  LOADING: error("LOADING Redis is loading the dataset in memory"),
  MASTERDOWN: error("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
  CLUSTERDOWN,
  MOVED: undefined,
};

for (const [what, reply] of Object.entries(NOT_YET)) {
  test(`a replica that answers ${what} is passed over: "prefer-replica" reads from the master, "replica" waits`, async (world) => {
    for (const readFrom of MODES) {
      const fake = await fakeReplicas(world);
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
    const fake = await fakeReplicas(world);
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
    const fake = await fakeReplicas(world);
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
  const fake = await fakeReplicas(world);
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

test("with Sentinels, readFrom is a wrong configuration", async () => {
  const sentinel = { name: "mymaster", nodes: [{ host: "127.0.0.1", port: 26_379 }] };
  for (const redis of [{ sentinel }, { url: "redis+sentinel://127.0.0.1:26379/mymaster" }]) {
    const failed = await errorOf(createKV({ type: "redis", redis: { ...redis, readFrom: "replica" } }));
    assert.equal(failed.code, "CONFIG");
    assert.match(failed.message, /redis\.readFrom: with Sentinels/);
  }
});

// A replica may leave the map before its connection is lost. A read in flight there must then move to the master.
test("a read that a replica owes when it leaves the map is run by the master once the replica is gone", async (world) => {
  const fake = await fakeReplicas(world);
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
  // A MOVED reply from a master makes the store fetch the map.
  const moving = keyIn(shareOf(0, 2)[1]);
  const [first, second] = fake.ranges;
  assert.ok(first && second);
  fake.ranges = [
    { ...first, last: first.last - 1 },
    { ...first, first: first.last, nodes: [other.name] },
    second,
  ];
  fake.answer = ([name, asked], node) => {
    if (asked === moving && node === master) return moved(slotOf(moving), other);
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
