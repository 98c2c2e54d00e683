// A node or a store ends while calls are open. Replies that are due may be lost, and calls may never settle.
import assert from "node:assert/strict";
import { setTimeout as wait } from "node:timers/promises";
import { createKV } from "covara-kv";
import { eventually } from "../eventually.js";
import type { Peer } from "../fake-server.js";
import { SLACK, timeOf } from "../faults/faults.js";
import { keyIn, shareOf, slotOf } from "../redis-cluster.js";
import { errorOf } from "../replies.js";
import { closedPort } from "../sockets.js";
import { ask, evenly, type FakeCluster, homeOf, moved, TRYAGAIN } from "./fake-nodes.js";
import { test, type World } from "./shared.js";

/** Three keys of the first node's share. */
const [slow, quick, probe] = [1, 2, 3].map((slot) => keyIn(shareOf(0, 3)[0] + slot)) as [
  string,
  string,
  string,
];
const TIMEOUT = 20_000;

/** Opens a store whose first node loses its slots before it answers a GET. `send` writes as that node. */
async function movedWhileOwed({ open }: World, fake: FakeCluster, timeout = 8_000) {
  const config = { commandTimeout: timeout, queueTimeout: timeout };
  const kv = await open(fake, config);
  const other = await open(fake, config);
  const [first, ...others] = fake.nodes;
  let owing: Peer | undefined;
  fake.answer = ([name, key], node, peer) => {
    if (node !== first) return undefined;
    if (name === "GET" && key === slow) owing = peer;
    // A server answers in order, so later commands wait too.
    if (peer === owing) return null;
    if (name !== "SET") return undefined;
    fake.ranges = evenly(others.map(({ name }) => name));
    return moved(shareOf(0, 3)[0] + 2, others[0] as { host: string; port: number });
  };
  const getting = kv.get(slow);
  await eventually(() => owing !== undefined);
  // The other store gets MOVED and fetches the map, which both share.
  await other.set(quick, "1");
  return { kv, getting, send: (text: string) => owing?.send(text) };
}

/** The same, once the connection of a store that is owed nothing has closed. `answer` sends the reply. */
async function owedByRetired(world: World, fake: FakeCluster) {
  const { send, ...owed } = await movedWhileOwed(world, fake);
  const theirs = fake.nodes[0]?.peers.find(({ commands }) => commands.some(([name]) => name === "SET"));
  await eventually(() => theirs?.socket.destroyed);
  return { ...owed, answer: () => send("$4\r\nlate\r\n") };
}

// A node without slots may still owe replies, so it is read until it has answered. Otherwise the reply waits for the next deadline.
test("a node that has lost its slots is heard until it has answered", async (world) => {
  const { getting, answer } = await owedByRetired(world, await world.fake());
  answer();
  const time = await timeOf(getting);
  assert.equal(await getting, "late");
  assert.ok(time < SLACK, `${time} ms`);
});

// The close of one node must not count as the close of another. Otherwise calls at the other node never get an answer.
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

// A reply that comes byte by byte keeps its connection alive, and the fence of its slot. Otherwise `disconnect` waits for all of it.
test(
  "disconnect does not wait for a reply of which only parts come",
  async (world) => {
    const fake = await world.fake();
    const { kv, getting, send } = await movedWhileOwed(world, fake, 1_000);
    const failing = errorOf(getting);
    send("$1000000\r\n");
    world.every(50, () => send("-"));
    // The store has the map once another slot's command goes to the new master.
    const [, ...others] = fake.nodes;
    await eventually(() => {
      kv.get(probe).catch(() => {});
      return others.some(({ calls }) => calls.includes(`GET ${probe}`));
    });
    const time = await timeOf(kv.disconnect());
    assert.ok(time < 1_000 + SLACK, `${time} ms`);
    assert.equal((await failing).code, "TIMEOUT");
  },
  TIMEOUT,
);

// After `disconnect` a refused request may wait only for `commandTimeout`. Otherwise `disconnect` takes all of `queueTimeout`.
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

// A node that is closing refuses two calls of one slot, and ends. One tries again over a new connection: so must the other, which follows.
test(
  "disconnect waits for all calls that a node has refused",
  async (world) => {
    const fake = await world.fake();
    const kv = await world.open(fake);
    let closing: Peer | undefined;
    fake.answer = ([name], _, peer) => {
      if (name === "CLUSTER") return null;
      if (name !== "INCR" || fake.count("INCR") > 2) return undefined;
      closing = peer;
      return null;
    };
    const calls = [kv.incr("a"), kv.incr("a")];
    await eventually(() => fake.count("INCR") === 2);
    const disconnecting = kv.disconnect();
    // Now the store has its nodes close.
    await wait(50);
    closing?.send(TRYAGAIN.repeat(2));
    assert.deepEqual(await Promise.all(calls), [3, 4]);
    await disconnecting;
  },
  TIMEOUT,
);

// The last page of a scan waits for a fresh map. It must also settle when the store closes.
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

// What a node has refused goes to it again although it is gone. From there it may wait for all of `queueTimeout`, and `disconnect` too.
test(
  "what goes to a lost node after disconnect waits no longer than for a reply",
  async (world) => {
    const fake = await world.fake();
    const home = homeOf(fake, "a");
    const config = { commandTimeout: 300, queueTimeout: 60_000, retryDelay: 60_000 };
    const kv = await world.open(fake, config);
    fake.answer = ([name]) => (name === "INCR" ? TRYAGAIN : undefined);
    const failing = errorOf(kv.incr("a"));
    await eventually(() => fake.count("INCR") > 1);
    await home.stop();
    const time = await timeOf(Promise.all([failing, kv.disconnect()]));
    assert.ok(time < 300 + SLACK, `${time} ms`);
    assert.equal((await failing).code, "CLOSED");
  },
  TIMEOUT,
);

// A lost node takes a call that has waited behind a fence for long. Its connection may not look at deadlines until its own timeout, and the
// call then ends seconds late.
test(
  "what goes to a lost node late ends in time",
  async (world) => {
    const fake = await world.fake();
    const home = homeOf(fake, "a");
    const timeout = 4_000;
    const config = { commandTimeout: timeout, queueTimeout: timeout, retryDelay: 60_000 };
    const kv = await world.open(fake, config);
    fake.answer = ([name]) => (name === "INCR" ? TRYAGAIN : undefined);
    const failing = errorOf(kv.incr("a"));
    const time = timeOf(failing);
    // It is sent every 500 ms at last: the twelfth time after 3.1 s, and to the lost node before 4 s.
    await eventually(() => fake.count("INCR") === 12);
    await home.stop();
    const taken = await time;
    assert.ok(taken < timeout + SLACK, `${taken} ms`);
    assert.match((await failing).message, /No connection to/);
  },
  TIMEOUT,
);

// A connection that is opened for a redirection while its store closes may know nothing of that. Otherwise `disconnect` takes all of
// `queueTimeout`.
test(
  "what is redirected to an unreachable node after disconnect waits no longer than for a reply",
  async (world) => {
    const fake = await world.fake();
    const port = await closedPort();
    const config = { commandTimeout: 300, queueTimeout: 60_000, retryDelay: 60_000 };
    const kv = await world.open(fake, config);
    let reply = TRYAGAIN;
    fake.answer = ([name]) => (name === "INCR" ? reply : undefined);
    const failing = errorOf(kv.incr("a"));
    await eventually(() => fake.count("INCR") > 1);
    const closing = kv.disconnect();
    reply = ask(slotOf("a"), { host: "127.0.0.1", port });
    const time = await timeOf(Promise.all([failing, closing]));
    assert.ok(time < 300 + SLACK, `${time} ms`);
    assert.equal((await failing).code, "CLOSED");
  },
  TIMEOUT,
);

// One reachable master is enough to open a store. During a failover the first master of the map may be down.
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

// Nodes in a container announce addresses that cannot be reached from outside. An error without them does not show that (ioredis #754).
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
