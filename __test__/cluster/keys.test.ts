// Commands on several keys, and commands about all keys. Sent to one node they fail, run in part, or give the keys of one master.
import assert from "node:assert/strict";
import type { KVStore } from "covara-kv";
import type { ClusterNode } from "../cluster-node.js";
import { eventually } from "../eventually.js";
import { bulk } from "../fake-server.js";
import { SLACK, timeOf } from "../faults/faults.js";
import { keyIn, shareOf, slotOf } from "../redis-cluster.js";
import { errorOf } from "../replies.js";
import { evenly } from "./fake-nodes.js";
import { sharedCluster, test } from "./shared.js";

const cluster = sharedCluster({ nodeTimeout: 500, elections: false });

/** Two keys of each master's share, in different slots. */
const keys = [0, 1, 2].flatMap((shard) =>
  [1, 2].map((offset) => keyIn(shareOf(shard, 3)[0] + offset, "keys")),
);

/** The keys that a whole SCAN gives. Redis itself gives a key twice now and then, while its table shrinks after many deletions. */
async function allKeys(kv: KVStore, match: string, count = 10): Promise<string[]> {
  const found = new Set<string>();
  let cursor = "0";
  do {
    const page = await kv.scan(cursor, { match, count });
    for (const key of page.keys) found.add(key);
    cursor = page.cursor;
  } while (cursor !== "0");
  return [...found];
}

// No node has keys of all slots, so each gets its part of the command (ioredis #1602 #1264 #734 #417, go-redis #399).
test("MGET, EXISTS and DEL take keys of all slots", async ({ open }) => {
  const kv = await open(cluster());
  await Promise.all(keys.map((key, index) => kv.set(key, `${index}`)));
  const some = [...keys, "missing", keys[0] as string];
  assert.deepEqual(await kv.mget(...some), ["0", "1", "2", "3", "4", "5", null, "0"]);
  assert.equal(await kv.exists(...some), 7);
  assert.equal(await kv.del(...some), 6);
  assert.deepEqual(await kv.mget(...some), Array(8).fill(null));
  assert.deepEqual([await kv.mget(), await kv.del()], [[], 0]);
});

test("50,000 keys at once come back in their order", async ({ open }) => {
  const kv = await open(cluster(), {}, "many");
  const many = Array.from({ length: 50_000 }, (_, index) => `k${index}`);
  for (let at = 0; at < many.length; at += 5_000)
    await Promise.all(many.slice(at, at + 5_000).map((key) => kv.set(key, key)));
  assert.deepEqual(await kv.mget(many), many);
  assert.equal(await kv.del(many), many.length);
});

// A command on many keys is split by slot. It must keep its place among the other calls for each key.
test("calls of one key keep their order, commands of many keys among them", async ({ open }) => {
  const kv = await open(cluster());
  const results = await Promise.all([
    ...keys.map((key) => kv.set(key, "1")),
    kv.mget(...keys),
    ...keys.map((key) => kv.set(key, "2")),
    kv.mget(...keys),
    kv.del(...keys),
    kv.exists(...keys),
  ]);
  const told = results.filter((result) => result !== undefined);
  assert.deepEqual(told, [keys.map(() => "1"), keys.map(() => "2"), 6, 0]);
});

// The server queues such commands and refuses only EXEC. So the store refuses before it sends anything (redis #8274 #11946).
test("a transaction with keys of two slots is refused before anything is sent, and the error says what to do", async ({
  fake,
  open,
}) => {
  const nodes = await fake();
  const kv = await open(nodes);
  const { code, message } = await errorOf(
    kv.multi().set("user:1", "a").get("user:1").set("user:2", "b").exec(),
  );
  assert.equal(code, "CROSSSLOT");
  for (const word of ["user:1", "user:2", "{tag}"]) assert.ok(message.includes(word), message);
  assert.equal(nodes.count("MULTI") + nodes.count("SET"), 0);
  const script = await errorOf(kv.eval("return 1", ["user:1", "user:2"], []));
  assert.equal(script.code, "CROSSSLOT");
  for (const word of ["user:1", "user:2", "{tag}"]) assert.ok(script.message.includes(word), script.message);
  assert.equal(nodes.count("EVAL") + nodes.count("EVALSHA"), 0);
});

test("a tag in the prefix keeps all keys together: transactions and scripts of any keys", async ({
  open,
}) => {
  const kv = await open(cluster(), {}, "{app}");
  assert.deepEqual(await kv.multi().incr("a").incr("b").get("a").del("a", "b").exec(), [1, 1, "1", 2]);
  const script = 'return redis.call("incr", KEYS[1]) + redis.call("incr", KEYS[2])';
  assert.equal(await kv.eval(script, ["a", "b"], []), 2);
  await kv.del("a", "b");
});

// At one node SCAN and KEYS give the keys of one master (ioredis #175 #736 #764, node-redis #2606).
test("KEYS and SCAN give the keys of all masters", async ({ open }) => {
  const kv = await open(cluster(), {}, "scanned");
  const names = Array.from({ length: 500 }, (_, index) => `k${index}`).sort();
  await Promise.all(names.map((name) => kv.set(name, "1")));
  assert.deepEqual((await kv.keys("k*")).sort(), names);
  for (const count of [1, 10, 1_000]) assert.deepEqual((await allKeys(kv, "k*", count)).sort(), names);
  assert.deepEqual(
    (await allKeys(kv, "k1*")).sort(),
    names.filter((name) => name.startsWith("k1")),
  );
  await kv.del(names);
  assert.deepEqual(await allKeys(kv, "*"), []);
});

// KEYS is not redirected. By an old map it leaves out the keys of a master that has come since.
test("KEYS gives the keys of a master that the map does not have yet", async ({ fake, open }) => {
  const nodes = await fake();
  const [first, second, third] = evenly(nodes.nodes.map(({ name }) => name));
  assert.ok(first && second && third);
  nodes.ranges = [first, { ...second, last: third.last }];
  const keys = [first, second, third].map((range) => keyIn(range.first));
  nodes.answer = ([name], node) => (name === "KEYS" ? `*1\r\n${bulk(keys[node.index] ?? "")}` : undefined);
  const kv = await open(nodes);
  assert.deepEqual((await kv.keys("*")).sort(), keys.slice(0, 2).sort());
  nodes.ranges = [first, second, third];
  assert.deepEqual((await kv.keys("*")).sort(), [...keys].sort());
});

// Calls at one time each asked for the map of the slots.
test("calls of KEYS and SCAN that end at one time share the questions for a new map", async ({
  fake,
  open,
}) => {
  const nodes = await fake();
  let asked = 0;
  nodes.answer = ([name, topic]) => {
    if (name === "CLUSTER" && topic === "SLOTS") asked += 1;
    if (name === "KEYS") return "*0\r\n";
    return name === "SCAN" ? `*2\r\n${bulk("0")}*0\r\n` : undefined;
  };
  const kv = await open(nodes);
  // In its first three seconds a store takes the cluster to be in trouble, and all calls wait for one map anyway.
  for (const end = performance.now() + 4_000; performance.now() < end; ) {
    for (const call of [() => kv.keys("*"), () => allKeys(kv, "*")]) {
      asked = 0;
      await Promise.all(Array.from({ length: 100 }, call));
      assert.ok(asked < 50, `${asked} questions`);
    }
  }
});

// A question that a frozen node does not answer must not hold up a call for longer than the documents say.
test("KEYS and SCAN end soon after their time if a node tells nothing of slots that move", async ({
  fake,
  open,
}) => {
  const nodes = await fake();
  const kv = await open(nodes, { commandTimeout: 400, queueTimeout: 400 });
  await kv.set("a", "1");
  nodes.answer = ([name], node) => {
    if (name === "KEYS") return "*0\r\n";
    if (name === "SCAN") return `*2\r\n${bulk("0")}*0\r\n`;
    return name === "CLUSTER" && node.index === 0 ? null : undefined;
  };
  assert.ok((await timeOf(kv.keys("*"))) < 1_600 + SLACK);
  let cursor = "0";
  for (let page = 0; page < 3; page++) {
    const scanned = kv.scan(cursor).then((next) => {
      cursor = next.cursor;
    });
    assert.ok((await timeOf(scanned)) < 1_200 + SLACK);
  }
});

/** Runs `trouble`, and meanwhile calls `look` again and again: each time every name is to be found. */
async function alwaysFound(
  names: readonly string[],
  look: () => Promise<readonly string[]>,
  trouble: () => Promise<void>,
): Promise<void> {
  let done = false;
  const running = trouble().finally(() => {
    done = true;
  });
  running.catch(() => {}); // What is not found says more.
  for (let round = 0; !done || round < 3; round++) {
    const found = new Set(await look());
    assert.deepEqual(
      names.filter((name) => !found.has(name)),
      [],
    );
  }
  await running;
}

/** Moves a slot, a key of it first. */
async function moved(slot: number, to: ClusterNode): Promise<void> {
  const migration = await cluster().migrate(slot, to);
  await migration.move(1);
  await migration.finish();
}

test("KEYS gives every key that stays, while slots move key by key and nodes fail over", async ({ open }) => {
  const kv = await open(cluster(), {}, "listed");
  const names = Array.from({ length: 600 }, (_, index) => `k${index}`);
  await Promise.all(names.map((name) => kv.set(name, "1")));
  const slot = slotOf("listed:k0");
  const neighbour = slot === 0 ? 1 : slot - 1;
  await alwaysFound(
    names,
    () => kv.keys("k*"),
    async () => {
      for (let round = 0; round < 2; round++) {
        await moved(slot, (await cluster().mastersFor(slot)).to);
        await cluster().failover(neighbour);
        await cluster().converged();
      }
      await (await cluster().migrate(slot, await cluster().masterOf(neighbour))).finish();
    },
  );
  await kv.del(names);
});

test("a scan sees every key that stays, through failovers and slots that move", async ({ open }) => {
  const kv = await open(cluster(), {}, "staying");
  const names = Array.from({ length: 600 }, (_, index) => `k${index}`);
  await Promise.all(names.map((name) => kv.set(name, "1")));
  const slot = slotOf("staying:k0");
  let scans = 0;
  const scanned = async () => {
    const found = await allKeys(kv, "k*", 20);
    scans += 1;
    return found;
  };
  await alwaysFound(names, scanned, async () => {
    for (let round = 0; round < 2; round++) {
      await cluster().failover(0);
      await cluster().converged();
      const { from, to } = await cluster().mastersFor(slot);
      await moved(slot, to);
      // A slot that moves away and back within one scan can escape both masters' scans. So a whole scan runs between the two moves.
      const before = scans;
      await eventually(() => scans > before + 1);
      await (await cluster().migrate(slot, from)).finish();
      await eventually(() => scans > before + 3);
    }
  });
  await kv.del(names);
});

test("a cursor that is none is refused", async ({ open }) => {
  const kv = await open(cluster());
  for (const cursor of ["x", "1:2:3:4", "99999999:1", "-1"]) {
    const { code } = await errorOf(kv.scan(cursor));
    assert.ok(["ERR", "INVALID_ARGUMENT"].includes(code), `${cursor}: ${code}`);
  }
});
