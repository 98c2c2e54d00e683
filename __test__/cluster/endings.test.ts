// Nodes and stores that end while something is under way: what is owed comes, and no call is left without an answer.
import assert from "node:assert/strict";
import { createKV } from "covara-kv";
import { eventually } from "../eventually.js";
import type { Peer } from "../fake-server.js";
import { SLACK, timeOf } from "../faults/faults.js";
import { closedPort } from "../redis/servers.js";
import { keyIn, shareOf } from "../redis-cluster.js";
import { errorOf } from "../replies.js";
import { evenly, type FakeCluster, moved, TRYAGAIN } from "./fake-nodes.js";
import { test, type World } from "./shared.js";

/** Two keys of the first node's share. */
const [slow, quick] = [keyIn(shareOf(0, 3)[0] + 1), keyIn(shareOf(0, 3)[0] + 2)] as const;
const TIMEOUT = 20_000;

/** A store whose first node has lost its slots while it owes the reply to a GET, and what sends that. */
async function owedByRetired({ open }: World, fake: FakeCluster) {
  const config = { commandTimeout: 8_000, queueTimeout: 8_000 };
  const kv = await open(fake, config);
  const other = await open(fake, config);
  const [first, ...others] = fake.nodes;
  let owing: Peer | undefined;
  fake.answer = ([name, key], node, peer) => {
    if (node !== first) return undefined;
    if (name === "GET" && key === slow) owing = peer;
    // What comes behind it waits too: a server answers in order.
    if (peer === owing) return null;
    if (name !== "SET") return undefined;
    fake.ranges = evenly(others.map(({ name }) => name));
    return moved(shareOf(0, 3)[0] + 2, others[0] as { host: string; port: number });
  };
  const getting = kv.get(slow);
  await eventually(() => owing !== undefined);
  // Another store hears that the slots have moved, and both have its map. Its own connection owes nothing, and closes.
  await other.set(quick, "1");
  const theirs = first?.peers.find(({ commands }) => commands.some(([name]) => name === "SET"));
  await eventually(() => theirs?.socket.destroyed);
  return { kv, getting, answer: () => owing?.send("$4\r\nlate\r\n") };
}

// A node that had lost its slots was polled by nobody from then on: what it owed came with the deadline of some call, seconds later.
test("a node that has lost its slots is heard until it has answered", async (world) => {
  const { getting, answer } = await owedByRetired(world, await world.fake());
  answer();
  const time = await timeOf(getting);
  assert.equal(await getting, "late");
  assert.ok(time < SLACK, `${time} ms`);
});

// Which node had closed was not said: the end of one that had no slots any more counted for another, whose calls had no answer then.
test(
  "disconnect waits for a node that has lost its slots and owes a reply",
  async (world) => {
    const { kv, getting, answer } = await owedByRetired(world, await world.fake());
    const closing = kv.disconnect();
    answer();
    const time = await timeOf(closing);
    assert.equal(await getting, "late");
    assert.ok(time < SLACK, `${time} ms`);
  },
  TIMEOUT,
);

// A redirected request had its whole time again: disconnect waited for all of queueTimeout.
test(
  "what a node refuses after disconnect waits no longer than for a reply",
  async (world) => {
    const fake = await world.fake();
    const kv = await world.open(fake, { commandTimeout: 300, queueTimeout: 60_000 });
    fake.answer = ([name]) => (name === "INCR" ? TRYAGAIN : undefined);
    const failing = errorOf(kv.incr("a"));
    await eventually(() => fake.count("INCR") > 0);
    const time = await timeOf(Promise.all([failing, kv.disconnect()]));
    assert.ok(time < 300 + SLACK, `${time} ms`);
    assert.match((await failing).message, /TRYAGAIN/);
  },
  TIMEOUT,
);

// The last page of a scan waits for the map: a store that was closed meanwhile never answered it.
test(
  "the last page of a scan ends with its store",
  async (world) => {
    const fake = await world.fake();
    const kv = await world.open(fake);
    fake.answer = ([name]) => (name === "SCAN" ? "*2\r\n$1\r\n0\r\n*0\r\n" : undefined);
    let cursor = "0";
    for (const _ of fake.nodes) ({ cursor } = await kv.scan(cursor));
    fake.answer = ([name]) => (name === "CLUSTER" ? null : undefined);
    const last = kv.scan(cursor);
    await kv.disconnect();
    assert.deepEqual(await last, { cursor: "0", keys: [] });
  },
  TIMEOUT,
);

// A store that was opened within a failover waited for the first master of the map, whatever the others did.
test(
  "a store is open once any master is connected to",
  async (world) => {
    const fake = await world.fake();
    const config = { retryDelay: 60_000 };
    await world.open(fake, config);
    await fake.nodes[0]?.stop();
    const kv = await world.open(fake, config);
    assert.equal(await kv.incr(keyIn(shareOf(1, 3)[0])), 1);
  },
  TIMEOUT,
);

// ioredis #754: nodes in a container name addresses that lead nowhere from outside, and the error said nothing of them.
test("where no master of the map can be connected to, the error says which and why not", async (world) => {
  const fake = await world.fake();
  const ports = [await closedPort(), await closedPort()];
  fake.ranges = evenly(ports.map((port) => ({ host: "127.0.0.1", port })));
  const opening = createKV({ type: "redis", redis: { cluster: { nodes: fake.addresses }, retryDelay: 10 } });
  opening.then((kv) => kv.disconnect()).catch(() => {});
  const { code, message } = await errorOf(opening);
  assert.equal(code, "CONNECTION");
  for (const port of ports) assert.ok(message.includes(`127.0.0.1:${port}`), message);
  assert.match(message, /refused/i);
});
