// Reads from replicas: `readFrom`. A replica that loads its data, or is gone, must not fail a read (ioredis #358 #539, iovalkey #50).
import assert from "node:assert/strict";
import { setTimeout as wait } from "node:timers/promises";
import { createKV, type KVStore } from "covara-kv";
import { eventually } from "../eventually.js";
import { SLACK, timeOf } from "../faults/faults.js";
import { type ClusterNode, keyIn, shareOf, slotOf } from "../redis-cluster.js";
import { errorOf } from "../replies.js";
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

test("with Sentinels, readFrom is a wrong configuration", async () => {
  const sentinel = { name: "mymaster", nodes: [{ host: "127.0.0.1", port: 26_379 }] };
  for (const redis of [{ sentinel }, { url: "redis+sentinel://127.0.0.1:26379/mymaster" }]) {
    const failed = await errorOf(createKV({ type: "redis", redis: { ...redis, readFrom: "replica" } }));
    assert.equal(failed.code, "CONFIG");
    assert.match(failed.message, /redis\.readFrom: with Sentinels/);
  }
});
