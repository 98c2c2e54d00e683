// Nodes and stores that end while something is under way: what is owed comes, and no call is left without an answer.
import assert from "node:assert/strict";
import type { Peer } from "../fake-server.js";
import { eventually } from "../eventually.js";
import { timeOf } from "../faults/faults.js";
import { keyIn, shareOf } from "../redis-cluster.js";
import { evenly, moved } from "./fake-nodes.js";
import { test } from "./shared.js";

/** Two keys of the first node's share. */
const [slow, quick] = [keyIn(shareOf(0, 3)[0] + 1), keyIn(shareOf(0, 3)[0] + 2)] as const;

// A node that had lost its slots was polled by nobody from then on: what it owed came with the deadline of some call, seconds later.
test("a node that has lost its slots is heard until it has answered", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, { commandTimeout: 4_000 });
  const [first, ...others] = fake.nodes;
  assert.ok(first);
  let owing: Peer | undefined;
  fake.answer = ([name, key], node, peer) => {
    if (node !== first) return undefined;
    if (name === "GET" && key === slow) {
      owing = peer;
      return null;
    }
    if (name !== "SET") return undefined;
    fake.ranges = evenly(others.map(({ name }) => name));
    return moved(shareOf(0, 3)[0] + 2, others[0] as { host: string; port: number });
  };
  const getting = kv.get(slow);
  await eventually(() => owing !== undefined);
  // The fake answers in order, as a server does: the MOVED comes by another store's call.
  const other = await world.open(fake, { commandTimeout: 4_000 });
  await other.set(quick, "1");
  await eventually(async () => (await kv.health()).connections.length === 2);
  owing?.send("$4\r\nlate\r\n");
  const time = await timeOf(getting);
  assert.equal(await getting, "late");
  assert.ok(time < 1_000, `${time} ms`);
});
