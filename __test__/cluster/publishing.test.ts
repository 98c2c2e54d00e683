// A channel moves to another master. Earlier messages reach the new master only over the bus. So the publisher waits for them before it publishes the
// next one.
import assert from "node:assert/strict";
import type { KVStore } from "covara-kv";
import { eventually } from "../eventually.js";
import { bulk } from "../fake-server.js";
import { emissions, SLACK, timeOf } from "../faults/faults.js";
import { keyIn, shareOf, slotOf } from "../redis-cluster.js";
import { FakeBus } from "./fake-bus.js";
import {
  ask,
  error,
  evenly,
  type FakeCluster,
  type FakeNode,
  moved,
  protocolOf,
  slotsReplyOf,
  TRYAGAIN,
} from "./fake-nodes.js";
import { CHANNEL, moveTo, PATIENT, SLOT } from "./moving.js";
import { test, type World } from "./shared.js";

interface Stage {
  cluster: FakeCluster;
  bus: FakeBus;
  publisher: KVStore;
  nodes: readonly [FakeNode, FakeNode, FakeNode];
  /** Makes a node the master of the channel's slot. A GET then lets the publisher notice. */
  moveTo(node: FakeNode): Promise<void>;
  /** Opens a store that subscribes the channel at its present home. Resolves to what it hears. */
  hears(): Promise<string[]>;
}

async function stage({ fake, open }: World, config: object = PATIENT): Promise<Stage> {
  const cluster = await fake();
  const bus = new FakeBus(cluster);
  const publisher = await open(cluster, config);
  return {
    cluster,
    bus,
    publisher,
    nodes: cluster.nodes as readonly FakeNode[] as Stage["nodes"],
    moveTo: (node) => moveTo(node, cluster, publisher),
    async hears() {
      const heard: string[] = [];
      // Another configuration, so that it shares no connection, like a store of another process.
      const store = await open(cluster, { ...config, maxQueue: 1_000 });
      await store.subscribe(CHANNEL, (text) => void heard.push(text));
      return heard;
    },
  };
}

/** How often a store has asked a node for a proof that all of its messages have come. */
const asked = (node: FakeNode) =>
  node.calls.filter((call) => call.startsWith("PUBLISH covara-kv:publishing:")).length;

/** Resolves once a store has a map in which the slots behind the channel's are not an old home's. Each try takes a slot that no MOVED named. */
async function knowsBetter(store: KVStore, old: FakeNode): Promise<void> {
  let slot = SLOT;
  await eventually(async () => {
    const before = old.calls.length;
    slot += 1;
    await store.get(keyIn(slot));
    return old.calls.length === before;
  });
}

/** Whether a store has a connection to a node. */
async function isConnected(store: KVStore, { host, port }: FakeNode): Promise<boolean> {
  const { connections } = await store.health();
  return connections.some(({ node }) => node === `${host}:${port}`);
}

/** Whether a store has asked a node to publish this. */
const hasPublished = (node: FakeNode, text: string) => node.calls.includes(`PUBLISH ${CHANNEL} ${text}`);

test("what is published next comes behind what the bus brings from the old home", async (world) => {
  const { bus, publisher, nodes, moveTo, hears } = await stage(world);
  const [old, next] = nodes;
  const heal = bus.cut(old);
  await publisher.publish(CHANNEL, "1");
  await moveTo(next);
  const heard = await hears();
  const published = [publisher.publish(CHANNEL, "2"), publisher.publish(CHANNEL, "3")];
  await eventually(() => asked(old) > 0);
  assert.ok(!hasPublished(next, "2"));
  heal();
  assert.deepEqual(await Promise.all(published), [1, 1]);
  await eventually(() => heard.length === 3);
  assert.deepEqual(heard, ["1", "2", "3"]);
  // The publisher waits only before the first message after a move.
  const before = asked(old);
  await publisher.publish(keyIn(SLOT, "other"), "4");
  assert.equal(asked(old), before);
});

test("a home that moves there and back has its messages in order", async (world) => {
  const { bus, publisher, nodes, moveTo, hears } = await stage(world);
  const [first, second] = nodes;
  const heard = await hears();
  await publisher.publish(CHANNEL, "1");
  await moveTo(second);
  await publisher.publish(CHANNEL, "2");
  assert.ok(hasPublished(second, "2"));
  const heal = bus.cut(second);
  await publisher.publish(CHANNEL, "3");
  await moveTo(first);
  const published = publisher.publish(CHANNEL, "4");
  await eventually(() => asked(second) > 0);
  assert.ok(!hasPublished(first, "4"));
  heal();
  await published;
  // Some messages may fall into gaps.
  await eventually(() => heard.at(-1) === "4");
  assert.deepEqual(heard, [...heard].sort());
});

test("commands do not wait for messages, nor do messages of slots that have stayed", async (world) => {
  const { bus, cluster, publisher, nodes } = await stage(world);
  const [old, next] = nodes;
  const heal = bus.cut(old);
  const stays = keyIn(shareOf(0, 3)[1], "stays");
  await publisher.publish(CHANNEL, "1");
  await publisher.publish(stays, "1");
  const [share, ...others] = evenly(cluster.nodes.map(({ name }) => name));
  assert.ok(share);
  cluster.ranges = [
    { first: share.first, last: SLOT, nodes: [next.name] },
    { ...share, first: SLOT + 1 },
    ...others,
  ];
  await publisher.get(CHANNEL);
  const published = publisher.publish(CHANNEL, "2");
  await publisher.get(CHANNEL);
  await publisher.publish(stays, "2");
  assert.ok(!hasPublished(next, "2"));
  heal();
  await published;
});

test("a store that has published nothing there waits for nothing", async (world) => {
  const { bus, publisher, nodes, moveTo } = await stage(world);
  const [old, next] = nodes;
  bus.cut(old);
  await moveTo(next);
  await publisher.publish(CHANNEL, "1");
  assert.ok(!old.calls.some((call) => call.startsWith("PUBLISH")));
});

test("an old home that stays cut off is waited for no longer than for a reply", async (world) => {
  const { bus, publisher, nodes, moveTo } = await stage(world, { ...PATIENT, commandTimeout: 700 });
  const [old, next] = nodes;
  bus.cut(old);
  await publisher.publish(CHANNEL, "1");
  await moveTo(next);
  const start = Date.now();
  await publisher.publish(CHANNEL, "2");
  const waited = Date.now() - start;
  assert.ok(waited >= 600 && waited < 3_000, `${waited} ms`);
});

// The connection to the old home must stay open while messages may cross from it. Otherwise a later message goes to the new home at once, ahead of
// what the bus still brings.
test("a message is held for an old home that has had no slots for longer than the connection to others is kept", async (world) => {
  const config = { commandTimeout: 3_000, queueTimeout: 10_000 };
  const { bus, cluster, publisher, nodes, hears } = await stage(world, config);
  const [old, next, other] = nodes;
  const heal = bus.cut(old);
  await publisher.publish(CHANNEL, "1");
  const [first, second, last] = evenly(cluster.nodes.map(({ name }) => name));
  assert.ok(first && second && last);
  await publisher.get(keyIn(last.first));
  // Nothing has been published at the third node, so its connection is not kept for a propagation.
  cluster.ranges = [first, second, last].map((range) => ({ ...range, nodes: [next.name] }));
  await publisher.get(CHANNEL);
  const heard = await hears();
  await eventually(async () => !(await isConnected(publisher, other)));
  const published = publisher.publish(CHANNEL, "2");
  await eventually(() => asked(old) >= 8 || hasPublished(next, "2"));
  assert.ok(!hasPublished(next, "2"));
  heal();
  await published;
  await eventually(() => heard.length === 2);
  assert.deepEqual(heard, ["1", "2"]);
});

// The bus may still hold what the old home published before it went. A message that does not wait may overtake that.
test("a message is held for a moment for an old home that was gone when the map came", async (world) => {
  const { publisher, nodes, moveTo } = await stage(world);
  const [old, next] = nodes;
  await publisher.publish(CHANNEL, "1");
  await old.stop();
  await moveTo(next);
  const waited = await timeOf(publisher.publish(CHANNEL, "2"));
  assert.ok(waited >= 450 && waited < SLACK, `${waited} ms`);
});

// An old home that is lost must be given up soon. Otherwise the store is told of each attempt to connect to a node that has left.
test("an old home that goes after its slots is given up soon", async (world) => {
  const config = { commandTimeout: 30_000, queueTimeout: 60_000 };
  const { publisher, nodes, moveTo } = await stage(world, config);
  const [old, next] = nodes;
  await publisher.publish(CHANNEL, "1");
  await moveTo(next);
  await knowsBetter(publisher, old);
  const attempts = emissions(publisher, "reconnecting");
  await old.stop();
  await eventually(() => attempts.length > 0);
  await eventually(async () => !(await isConnected(publisher, old)));
  assert.ok(attempts.length < 10, `${attempts.length} attempts`);
});

// The router's task must wake at the deadline. Otherwise the message fails only when another event wakes the task, 2 s late.
test("a message that waits rejects at queueTimeout, and was not published", async (world) => {
  const config = { commandTimeout: 10_000, queueTimeout: 300 };
  const { bus, publisher, nodes, moveTo } = await stage(world, config);
  const [old, next] = nodes;
  bus.cut(old);
  await publisher.publish(CHANNEL, "1");
  await moveTo(next);
  // A map that arrives later would wake the task.
  await knowsBetter(publisher, old);
  const start = Date.now();
  await assert.rejects(publisher.publish(CHANNEL, "2"), { code: "TIMEOUT", reason: "queue-timeout" });
  const waited = Date.now() - start;
  assert.ok(waited >= 250 && waited < SLACK, `${waited} ms`);
  assert.ok(!hasPublished(next, "2"));
  const closing = await timeOf(publisher.disconnect());
  assert.ok(closing < SLACK, `disconnect waited ${closing} ms for a propagation for which no message waits`);
});

// The home may move again before the propagation to it is confirmed. A message that goes on waiting for that node fails at `queueTimeout`.
for (const { back, name } of [
  { back: false, name: "on to a third node" },
  { back: true, name: "back" },
])
  test(`a home that moves ${name} before the next one has confirmed the propagation takes the message at once`, async (world) => {
    const config = { commandTimeout: 10_000, queueTimeout: 20_000 };
    const { bus, cluster, publisher, nodes, moveTo } = await stage(world, config);
    const [old, lost, third] = nodes;
    const heal = bus.cut(old);
    await publisher.publish(CHANNEL, "1");
    const answer = cluster.answer;
    cluster.answer = (command, node, peer) =>
      node === lost && command[0] === "SUBSCRIBE" ? null : answer(command, node, peer);
    await moveTo(lost);
    const published = timeOf(publisher.publish(CHANNEL, "2"));
    await eventually(() => lost.calls.some((call) => call.startsWith("SUBSCRIBE ")));
    // A message that goes back to a node needs no propagation.
    if (!back) heal();
    await moveTo(back ? old : third);
    const waited = await published;
    assert.ok(waited < SLACK, `${waited} ms`);
    assert.ok(hasPublished(back ? old : third, "2"));
    assert.ok(!hasPublished(lost, "2"));
  });

// A message that ASK has answered is tried alone. If its fence does not learn of its end, all later messages of the slot fail at
// `queueTimeout`.
test("a message that was answered by ASK and then waits for its home does not keep later ones from being published", async (world) => {
  const { cluster, publisher, nodes } = await stage(world);
  const [old, next, third] = nodes;
  const [tried, waits] = [keyIn(SLOT, "tried"), keyIn(SLOT, "waits")];
  const telling = keyIn(shareOf(1, 3)[0]);
  const refused = new Set<string>();
  /** The replies that the old home holds back, in the order of the requests. */
  let held: (() => void)[] | undefined;
  const answer = cluster.answer;
  cluster.answer = (command, node, peer) => {
    const [name = "", key = "", text] = command;
    if (key === telling) return node === third ? undefined : moved(slotOf(key), third);
    if (name === "PUBLISH" && text === "1" && node === third) return moved(SLOT, next);
    if (node !== old) return answer(command, node, peer);
    if (name === "PUBLISH" && text === "1") return ask(SLOT, third);
    if ((key === tried || key === waits) && !refused.has(key)) {
      refused.add(key);
      return TRYAGAIN;
    }
    if (key === tried) held = [];
    if (held === undefined) return answer(command, node, peer);
    const isSlots = name === "CLUSTER";
    held.push(() => peer.send(isSlots ? slotsReplyOf(cluster.ranges, protocolOf(peer)) : bulk("")));
    return null;
  };
  await publisher.publish(CHANNEL, "0");
  const calls: Promise<unknown>[] = [
    publisher.get(tried),
    publisher.get(waits),
    publisher.publish(CHANNEL, "1"),
  ];
  await eventually(() => held !== undefined);
  // The slot moves while the first request is tried, and another node tells of it.
  const [share, second, last] = evenly(cluster.nodes.map(({ name }) => name));
  assert.ok(share && second && last);
  cluster.ranges = [
    { ...share, nodes: [next.name] },
    { ...second, last: second.first, nodes: [third.name] },
    { ...second, first: second.first + 1 },
    last,
  ];
  await publisher.get(telling);
  await eventually(() => {
    calls.push(publisher.get(keyIn(SLOT + calls.length)));
    return next.calls.some((call) => call.startsWith("GET ") && call !== `GET ${telling}`);
  }, 20);
  for (const reply of held ?? []) reply();
  held = undefined;
  await Promise.all(calls);
  await publisher.publish(CHANNEL, "2");
  const published = next.calls.filter((call) => call.startsWith(`PUBLISH ${CHANNEL} `));
  assert.deepEqual(
    published,
    ["1", "2"].map((text) => `PUBLISH ${CHANNEL} ${text}`),
  );
});

test("a store that is disconnected meanwhile settles what waits", async (world) => {
  const { bus, publisher, nodes, moveTo } = await stage(world);
  const [old, next] = nodes;
  const heal = bus.cut(old);
  await publisher.publish(CHANNEL, "1");
  await moveTo(next);
  const published = publisher.publish(CHANNEL, "2");
  await eventually(() => asked(old) > 0);
  const closed = publisher.disconnect();
  heal();
  assert.equal(await published, 0);
  await closed;
  assert.ok(hasPublished(next, "2"));
});

test("a user that may not use the package's own channel publishes without it", async (world) => {
  const { cluster, publisher, nodes, moveTo } = await stage(world);
  const [, next] = nodes;
  const answer = cluster.answer;
  cluster.answer = (command, node, peer) =>
    command[0] === "SUBSCRIBE" ? error("NOPERM no permissions") : answer(command, node, peer);
  await publisher.publish(CHANNEL, "1");
  await moveTo(next);
  await publisher.publish(CHANNEL, "2");
  assert.ok(hasPublished(next, "2"));
});
