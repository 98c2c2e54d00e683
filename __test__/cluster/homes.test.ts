// The master of a channel's slot changes. The bus may bring a message again that the old master has delivered. Each message must arrive
// once, or lie in a gap.
import assert from "node:assert/strict";
import type { Gap, KVStore } from "covara-kv";
import { eventually } from "../eventually.js";
import { bulk } from "../fake-server.js";
import { emissions } from "../faults/faults.js";
import { keyIn, shareOf, slotOf } from "../redis-cluster.js";
import { FakeBus } from "./fake-bus.js";
import { error, evenly, type FakeCluster, type FakeNode, moved } from "./fake-nodes.js";
import { CHANNEL, moveTo, PATIENT, SLOT } from "./moving.js";
import { test, type World } from "./shared.js";

/** How long before its loss or move a home's gap begins: what others had published may be on the bus. */
const BUS_TIMEOUT = 500;

interface Stage {
  cluster: FakeCluster;
  bus: FakeBus;
  kv: KVStore;
  nodes: readonly [FakeNode, FakeNode, FakeNode];
  heard: string[];
  gaps: Gap[];
  /** Makes a node the master of the channel's slot. A GET then lets the store notice. */
  moveTo(node: FakeNode): Promise<void>;
  /** Resolves once the channel is subscribed at a node. */
  isAt(node: FakeNode): Promise<void>;
}

async function stage({ fake, open }: World, config: object = PATIENT): Promise<Stage> {
  const cluster = await fake();
  const bus = new FakeBus(cluster);
  const nodes = cluster.nodes as readonly FakeNode[] as Stage["nodes"];
  const kv = await open(cluster, config);
  const heard: string[] = [];
  const gaps = emissions(kv, "gap");
  await kv.subscribe(CHANNEL, (text) => void heard.push(text));
  return {
    cluster,
    bus,
    kv,
    nodes,
    heard,
    gaps,
    moveTo: (node) => moveTo(node, cluster, kv),
    isAt: (node) => eventually(() => bus.subscribers(node, CHANNEL) === 1),
  };
}

const place = ({ host, port }: FakeNode) => `${host}:${port}`;

/** How often the store has asked a node for a proof that all of its messages have come. */
const asked = (node: FakeNode) =>
  node.calls.filter((call) => call.startsWith("PUBLISH covara-kv:crossing:")).length;

test("a home moves while all is well: what is published before and after it comes once, and a gap names the old one", async (world) => {
  const { bus, nodes, heard, gaps, moveTo, isAt } = await stage(world);
  const [old, next] = nodes;
  bus.publish(old, CHANNEL, "1");
  const before = Date.now();
  await moveTo(next);
  await isAt(next);
  bus.publish(next, CHANNEL, "2");
  await eventually(() => heard.length === 2 && gaps.length === 1);
  assert.deepEqual(heard, ["1", "2"]);
  assert.equal(gaps[0]?.node, place(old));
  assert.ok((gaps[0]?.from ?? 0) >= before - BUS_TIMEOUT - 50, "nothing was missed before");
  await eventually(() => bus.subscribers(old, CHANNEL) === 0);
});

// The bus may hold a message longer than any fixed time. So the store waits for proof, not for a time.
test("an old home that is cut off brings nothing twice once it is back", async (world) => {
  const { bus, nodes, heard, gaps, moveTo, isAt } = await stage(world);
  const [old, next] = nodes;
  const heal = bus.cut(old);
  bus.publish(old, CHANNEL, "1");
  await eventually(() => heard.length === 1);
  await moveTo(next);
  await eventually(() => bus.subscribers(old, CHANNEL) === 0);
  await eventually(() => asked(old) >= 8);
  bus.publish(old, CHANNEL, "missed");
  const until = Date.now();
  heal();
  await isAt(next);
  bus.publish(next, CHANNEL, "2");
  await eventually(() => heard.length === 2 && gaps.length === 1);
  assert.deepEqual(heard, ["1", "2"]);
  assert.ok((gaps[0]?.to ?? 0) >= until, "the gap covers all that was discarded");
});

// A map of the old home itself, or one in which another slot has moved, does not confirm the home. A gap that begins there leaves out what
// the successor publishes before.
test("the gap of an old home that is cut off begins before its successor was elected", async (world) => {
  const { cluster, bus, kv, nodes, gaps, moveTo, isAt } = await stage(world);
  const [old, next, third] = nodes;
  const telling = keyIn(shareOf(2, 3)[0]);
  await kv.get(telling);
  const heal = bus.cut(old);
  const answer = cluster.answer;
  let maps = 0;
  cluster.answer = (command, node, peer) => {
    if (command[1] === telling) return node === third ? moved(slotOf(telling), next) : bulk("");
    // Others are slow to hear of the election.
    if (command[0] === "CLUSTER" && node !== old) return error("ERR unknown");
    if (command[0] === "CLUSTER") maps += 1;
    return answer(command, node, peer);
  };
  const elected = Date.now();
  await eventually(() => Date.now() > elected + 20);
  await kv.get(telling);
  await eventually(() => maps > 0);
  cluster.answer = answer;
  await moveTo(next);
  await eventually(() => bus.subscribers(old, CHANNEL) === 0);
  await eventually(() => asked(old) >= 8);
  heal();
  await isAt(next);
  await eventually(() => gaps.length === 1);
  const late = (gaps[0]?.from ?? Number.NaN) - elected;
  assert.ok(late <= 0, `${late} ms late`);
});

// A master that wakes first runs what waits at its sockets. Nothing of that may arrive on a subscription that has been left.
test("an old home that is frozen and wakes brings nothing twice, and nothing on what was left", async (world) => {
  const { bus, nodes, heard, gaps, moveTo, isAt } = await stage(world, {
    ...PATIENT,
    commandTimeout: 5_000,
  });
  const [old, next] = nodes;
  const heal = bus.cut(old);
  bus.publish(old, CHANNEL, "1");
  await eventually(() => heard.length === 1);
  const wake = bus.freeze(old);
  const before = Date.now();
  // A frozen node sends no MOVED. After some silence the store asks other nodes for the map.
  const moved = moveTo(next);
  await eventually(() => next.calls.some((call) => call.startsWith("SUBSCRIBE ")));
  await eventually(() => old.calls.includes(`UNSUBSCRIBE ${CHANNEL}`) && asked(old) > 0);
  bus.publish(old, CHANNEL, "late");
  wake();
  heal();
  await moved;
  await isAt(next);
  bus.publish(next, CHANNEL, "2");
  await eventually(() => heard.at(-1) === "2" && gaps.length === 1);
  assert.deepEqual(heard, ["1", "2"]);
  assert.ok((gaps[0]?.from ?? Number.NaN) <= before);
});

test("an old home that stays cut off is waited for no longer than for a reply", async (world) => {
  const { bus, nodes, heard, gaps, moveTo, isAt } = await stage(world, { ...PATIENT, commandTimeout: 700 });
  const [old, next] = nodes;
  bus.cut(old);
  const start = Date.now();
  await moveTo(next);
  await isAt(next);
  const waited = Date.now() - start;
  assert.ok(waited >= 600 && waited < 2_000, `${waited} ms`);
  bus.publish(next, CHANNEL, "1");
  await eventually(() => heard.length === 1 && gaps.length === 1);
});

test("a home that moves there and back, and on to a third one, brings each message once", async (world) => {
  const { bus, nodes, heard, gaps, moveTo, isAt } = await stage(world);
  const [first, second, third] = nodes;
  const heal = bus.cut(first);
  bus.publish(first, CHANNEL, "1");
  await eventually(() => heard.length === 1);
  await moveTo(second);
  await moveTo(first);
  await isAt(first);
  bus.publish(first, CHANNEL, "2");
  await moveTo(second);
  await moveTo(third);
  await eventually(() => third.calls.some((call) => call.startsWith("SUBSCRIBE covara-kv:crossing:")));
  const before = asked(first);
  await eventually(() => asked(first) >= before + 2);
  heal();
  await isAt(third);
  bus.publish(third, CHANNEL, "3");
  await eventually(() => heard.at(-1) === "3");
  // Message "2" may be lost; a gap then covers it.
  assert.deepEqual(
    heard.filter((text) => text !== "2"),
    ["1", "3"],
  );
  assert.equal(new Set(heard).size, heard.length);
  assert.ok(gaps.length >= 1);
});

test("a channel that is left while its home moves is subscribed nowhere, and no gap waits for it", async (world) => {
  const { bus, kv, nodes, gaps, moveTo } = await stage(world);
  const [old, next] = nodes;
  const other = keyIn(SLOT, "other");
  await kv.subscribe(other, () => {});
  const heal = bus.cut(old);
  await moveTo(next);
  await eventually(() => bus.subscribers(old, CHANNEL) === 0);
  await kv.unsubscribe(CHANNEL);
  heal();
  await eventually(() => gaps.length === 1);
  await eventually(() => bus.subscribers(next, other) === 1);
  assert.equal(bus.subscribers(next, CHANNEL), 0);
  await moveTo(old);
  await eventually(() => bus.subscribers(old, other) === 1);
  assert.equal(bus.subscribers(old, CHANNEL), 0);
});

// A topic that a home refuses must not be tried again at the next move.
test("a channel that a home refuses ends with an error, and is not tried again when its home moves", async (world) => {
  const { bus, cluster, kv, nodes, moveTo } = await stage(world);
  const [old, next, third] = nodes;
  const failed = emissions(kv, "error");
  const answer = cluster.answer;
  cluster.answer = (command, node, peer) =>
    node !== old && command[0] === "SUBSCRIBE" && command[1] === CHANNEL
      ? error("NOPERM no permissions to access a channel")
      : answer(command, node, peer);
  await moveTo(next);
  await eventually(() => failed.length === 1);
  assert.match(String(failed[0]), /NOPERM/);
  await assert.rejects(
    kv.subscribe(CHANNEL, () => {}),
    { code: "NOPERM" },
  );
  cluster.answer = answer;
  const asked = () => third.calls.filter((call) => call === `SUBSCRIBE ${CHANNEL}`).length;
  await moveTo(third);
  const probe = keyIn(SLOT, "probe");
  await kv.subscribe(probe, () => {});
  await eventually(() => bus.subscribers(third, probe) === 1);
  assert.equal(asked(), 0);
});

// A user who may not PUBLISH cannot use the package's channel as proof. The topic then moves after a fixed wait.
test("a home moves for a user that may not publish", async (world) => {
  const { bus, cluster, nodes, heard, gaps, moveTo, isAt } = await stage(world);
  const [old, next] = nodes;
  const answer = cluster.answer;
  cluster.answer = (command, node, peer) =>
    command[0] === "PUBLISH" ? error("NOPERM no permissions") : answer(command, node, peer);
  await moveTo(next);
  await isAt(next);
  bus.publish(next, CHANNEL, "1");
  await eventually(() => heard.length === 1 && gaps.length === 1);
  await eventually(() => bus.subscribers(old, CHANNEL) === 0);
});

// Without the gap a subscriber loses what is published during the move, and never knows.
test("a home moves for a user that may use no channel of the package: a gap tells of it", async (world) => {
  const { bus, cluster, nodes, heard, gaps, moveTo, isAt } = await stage(world);
  const [old, next] = nodes;
  const answer = cluster.answer;
  cluster.answer = (command, node, peer) =>
    String(command[1]).startsWith("covara-kv:") ? error("NOPERM no channel") : answer(command, node, peer);
  const before = Date.now();
  await moveTo(next);
  await isAt(next);
  bus.publish(next, CHANNEL, "1");
  await eventually(() => heard.length === 1 && gaps.length === 1);
  assert.equal(gaps[0]?.node, place(old));
  assert.ok((gaps[0]?.from ?? Number.POSITIVE_INFINITY) <= Date.now() && (gaps[0]?.to ?? 0) >= before);
});

test("a lost connection to a home is told with its node", async (world) => {
  const { kv, nodes, gaps } = await stage(world);
  const [home] = nodes;
  const attempts = emissions(kv, "reconnecting");
  for (const { socket, commands } of home.peers)
    if (commands.some(([name]) => name === "SUBSCRIBE")) socket.destroy();
  await eventually(() => gaps.length === 1);
  assert.equal(gaps[0]?.node, place(home));
  const told = attempts.filter(({ connection }) => connection === "subscriptions");
  assert.deepEqual(
    told.map(({ node }) => node),
    told.map(() => place(home)),
  );
  assert.ok(told.length >= 1);
});

// The connections for commands are well, so they give no reason to ask for the map. The subscriber must ask for it.
test("a home that moves and closes only the subscribing connection is left at once", async (world) => {
  const { bus, cluster, nodes, isAt } = await stage(world);
  const [old, next] = nodes;
  // A store asks for the map a second time soon after the first.
  await eventually(() => cluster.count("CLUSTER") >= 2);
  const [first, ...others] = cluster.ranges;
  assert.ok(first);
  cluster.ranges = [{ ...first, nodes: [next.name] }, ...others];
  for (const { socket, commands } of old.peers)
    if (commands.some(([name]) => name === "SUBSCRIBE")) socket.destroy();
  await isAt(next);
  await eventually(() => bus.subscribers(old, CHANNEL) === 0);
});

// The event must name its node. Otherwise the operator cannot find the failing server.
test("a node that was never connected to is named by the events of its attempts", async (world) => {
  const { cluster, kv, nodes, moveTo } = await stage(world);
  const [, next] = nodes;
  await next.stop();
  const attempts = emissions(kv, "reconnecting");
  const moving = moveTo(next);
  moving.catch(() => {});
  const told = (connection: string) =>
    attempts.filter((attempt) => attempt.connection === connection && attempt.node === place(next));
  await eventually(() => told("commands").length > 0 && told("subscriptions").length > 0);
  assert.ok(attempts.every(({ node }) => node !== undefined));
  cluster.ranges = evenly(nodes.map(({ name }) => name));
});

// A node can answer PING and still deliver no message (centrifuge PR#594). The store must notice that and report a gap.
test("a home that brings nothing is found out, and a gap since the last message is told until it does", async (world) => {
  const { bus, kv, nodes, heard, gaps, isAt } = await stage(world, { ...PATIENT, commandTimeout: 250 });
  const [home, other] = nodes;
  const attempts = emissions(kv, "reconnecting");
  bus.publish(home, CHANNEL, "1");
  await eventually(() => heard.length === 1);
  const last = Date.now();
  bus.deaf.add(home);
  bus.publish(other, CHANNEL, "missed");
  await eventually(() => gaps.length === 1);
  assert.ok((gaps[0]?.from ?? Number.NaN) <= last && (gaps[0]?.to ?? 0) > last);
  assert.equal(gaps[0]?.node, place(home));
  assert.match(String(attempts[0]?.cause), /does not bring what is published/);
  await eventually(() => gaps.length === 2);
  bus.deaf.delete(home);
  await isAt(home);
  bus.publish(other, CHANNEL, "2");
  await eventually(() => heard.at(-1) === "2");
});

test("a home that nobody publishes at is asked now and then, and no gap is told", async (world) => {
  const { cluster, bus, nodes, heard, gaps } = await stage(world, { ...PATIENT, commandTimeout: 250 });
  const [home] = nodes;
  // Two stores of a process share the connection, so a probe by one also counts for the other.
  const second = await world.open(cluster, { ...PATIENT, commandTimeout: 250 });
  const told = emissions(second, "gap");
  await second.subscribe(CHANNEL, () => {});
  const begin = Date.now();
  await eventually(() => cluster.count("PUBLISH") >= 3);
  const each = (Date.now() - begin) / 3;
  assert.ok(each >= 250, `one each ${each} ms`);
  bus.publish(home, CHANNEL, "1");
  await eventually(() => heard.length === 1);
  assert.deepEqual([gaps, told], [[], []]);
});
