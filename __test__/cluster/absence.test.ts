// A master that is gone keeps its slots until a replica is elected, 15 s later by Redis's default. Until then a store wants to know whether it
// still has them. Each process once asked for the whole map about every second: some 20 times for one failover.
import assert from "node:assert/strict";
import { setTimeout as wait } from "node:timers/promises";
import { eventually } from "../eventually.js";
import { Calls, underLoad } from "../faults/faults.js";
import { keyIn, shareOf, slotOf } from "../redis-cluster.js";
import { error, type FakeCluster, moved } from "./fake-nodes.js";
import { isReady, sharedCluster, test } from "./shared.js";

// Survivors answer CLUSTERDOWN before the election, as they do by default: that is a reason to ask too.
const cluster = sharedCluster({ nodeTimeout: 5_000 });

const timeouts = { commandTimeout: 2_000, queueTimeout: 30_000 } as const;
const keys = [0, 1, 2].map((shard) => keyIn(shareOf(shard, 3)[0] + 7, "absence"));

for (const [fault, key] of [
  ["killed", keys[0]],
  ["frozen", keys[1]],
] as const)
  test(`a master that is ${fault} for long costs a process at most 10 CLUSTER SLOTS`, async ({ open }) => {
    assert.ok(key);
    const stores = await Promise.all([1, 2, 3].map(() => open(cluster(), timeouts)));
    const heard: string[] = [];
    await stores[0]?.subscribe(key, (message) => heard.push(message));
    const master = await cluster().replaceable(slotOf(key));
    const calls = new Calls(timeouts.commandTimeout + timeouts.queueTimeout);
    const load = underLoad(stores.length, async (worker) => {
      await Promise.all(keys.map((key) => calls.try(async () => stores[worker]?.incr(key))));
      await wait(20);
    });
    await eventually(() => calls.succeeded > 100);
    const before = await cluster().counters();
    const own = await master.counters();
    if (fault === "killed") await master.kill();
    else master.pause();
    await cluster().replaced(master, slotOf(key));
    const { succeeded } = calls;
    await eventually(() => calls.succeeded > succeeded + 100);
    await eventually(async () => {
      await stores[1]?.publish(key, "after");
      return heard.includes("after");
    });
    await load.stop();
    const asked = (await cluster().counters()).slots - (before.slots - own.slots);
    assert.ok(asked <= 10, `${asked} calls of CLUSTER SLOTS`);
    calls.checkDeadlines();
  });

/** A store whose first node is gone: the others answer EXISTS with what `word` gives. */
async function withoutFirst(fake: FakeCluster, word: (slot: number) => string): Promise<void> {
  fake.answer = ([name, key = ""], node) => {
    if (name !== "EXISTS" || slotOf(key) > shareOf(0, 3)[1]) return undefined;
    return node.index === 0 ? undefined : word(slotOf(key));
  };
  await fake.nodes[0]?.stop();
}

test("while others say that a master still has its slots, the map is not asked for", async (world) => {
  const fake = await world.fake();
  const [first, next] = fake.nodes;
  assert.ok(first && next);
  const kv = await world.open(fake, timeouts);
  await kv.set(keys[0] as string, "1");
  let owner = first;
  await withoutFirst(fake, (slot) => moved(slot, owner));
  await eventually(() => fake.count("EXISTS") >= 2);
  const asked = fake.count("CLUSTER");
  await eventually(() => fake.count("EXISTS") >= 5);
  assert.equal(fake.count("CLUSTER"), asked);
  const waiting = kv.get(keys[0] as string);
  owner = next;
  for (const range of fake.ranges) if (range.nodes[0] === first.name) range.nodes = [next.name];
  await waiting;
});

// One is lost, to which attempts to connect end every two seconds or so, and another is silent, which shows twice a second. Only the second was
// asked about in most rounds: that the first had a new master was noticed late.
test("all masters that are away are asked about, whichever gives the reason to", async (world) => {
  const fake = await world.fake({ nodes: 4 });
  const [lost, silent] = fake.nodes;
  assert.ok(lost && silent);
  const kv = await world.open(fake, { commandTimeout: 30_000, queueTimeout: 30_000 });
  await eventually(() => isReady(kv));
  const asked = [0, 0];
  let isSilent = false;
  fake.answer = ([name, key = ""], node) => {
    if (name === "GET" && node === silent) isSilent = true;
    if (isSilent && node === silent) return null;
    const owner = fake.nodes[[0, 1].find((index) => slotOf(key) <= shareOf(index, 4)[1]) ?? 3];
    if (name !== "EXISTS" || owner === undefined || owner.index > 1) return undefined;
    asked[owner.index] = (asked[owner.index] ?? 0) + 1;
    return moved(slotOf(key), owner);
  };
  kv.get(keyIn(shareOf(1, 4)[0])).catch(() => {});
  await lost.stop();
  await eventually(() => Math.min(...asked) > 0);
  const before = [...asked];
  await eventually(() => Math.max(...asked) >= Math.max(...before) + 5);
  const more = asked.map((count, index) => count - (before[index] ?? 0));
  assert.ok(Math.abs((more[0] ?? 0) - (more[1] ?? 0)) <= 1, `${more}`);
  await silent.stop();
});

// Each refusal is an entry in the server's ACL LOG.
test("a user without the right to ask gets the map as before, and is refused once", async (world) => {
  const fake = await world.fake();
  const [first, next] = fake.nodes;
  assert.ok(first && next);
  const kv = await world.open(fake, timeouts);
  await withoutFirst(fake, () => error("NOPERM this user has no permissions to run the 'exists' command"));
  await eventually(() => fake.count("EXISTS") === 1);
  const asked = fake.count("CLUSTER");
  await eventually(() => fake.count("CLUSTER") >= asked + 3);
  assert.equal(fake.count("EXISTS"), 1);
  const waiting = kv.get(keys[0] as string);
  for (const range of fake.ranges) if (range.nodes[0] === first.name) range.nodes = [next.name];
  await waiting;
});
