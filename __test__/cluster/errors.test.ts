// An error of a command names its node and its slot. Without them an operator cannot tell which of 60 servers fails (ioredis and node-redis name
// neither).
import assert from "node:assert/strict";
import { type KVError, RedisKVStore } from "covara-kv";
import { eventually } from "../eventually.js";
import { slotOf } from "../redis-cluster.js";
import { errorOf } from "../replies.js";
import { closedPort } from "../sockets.js";
import { CLUSTERDOWN, error, type FakeNode, homeOf, LOADING, moved, TRYAGAIN } from "./fake-nodes.js";
import { sharedCluster, test } from "./shared.js";

const cluster = sharedCluster({ nodeTimeout: 500, elections: false });

const SECRET = "no one may read this";
const short = { commandTimeout: 300, queueTimeout: 300, username: "someone", password: SECRET };

const place = ({ host, port }: { host: string; port: number }) => `${host}:${port}`;

function names(error: KVError, node: { host: string; port: number }, key: string): void {
  const slot = slotOf(key);
  assert.deepEqual([error.node, error.slot], [place(node), slot], error.message);
  assert.ok(error.message.includes(`(slot ${slot}, ${place(node)})`), error.message);
  assert.ok(!`${error.stack} ${JSON.stringify(error)}`.includes(SECRET));
}

for (const [what, reply, code] of [
  ["no reply in time", null, "TIMEOUT"],
  ["CLUSTERDOWN that does not end", CLUSTERDOWN, "TIMEOUT"],
  ["TRYAGAIN that does not end", TRYAGAIN, "TIMEOUT"],
  ["LOADING that does not end", LOADING, "TIMEOUT"],
] as const) {
  test(`${what}: the error names the node and the slot`, async (world) => {
    const fake = await world.fake();
    const kv = await world.open(fake, short);
    fake.answer = ([name]) => (name === "INCR" || reply === null ? reply : undefined);
    const failed = await errorOf(kv.incr("a"));
    assert.equal(failed.code, code);
    names(failed, homeOf(fake, "a"), "a");
    const executed = await errorOf(kv.multi().incr("a").exec());
    if (reply === null) names(executed, homeOf(fake, "a"), "a");
  });
}

// A DEL of many keys, of which one master takes no writes, told "MISCONF" alone, though the keys of all other slots were gone.
test("a part of a command that its node refuses: the error says for how many slots it was done", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, short);
  const keys = ["a", "b", "c"];
  const refusing = homeOf(fake, "a");
  fake.answer = ([name], node) =>
    name === "DEL" ? (node === refusing ? error("MISCONF it takes no writes") : ":1\r\n") : undefined;
  const failed = await errorOf(kv.del(...keys));
  const done = keys.filter((key) => homeOf(fake, key) !== refusing).length;
  assert.ok(done > 0 && done < keys.length);
  assert.equal(failed.code, "MISCONF");
  assert.equal(failed.slot, slotOf(keys.find((key) => homeOf(fake, key) === refusing) ?? ""));
  assert.match(failed.message, new RegExp(`in 3 slots .* to those of ${done} was done`));
});

// "Too many redirections" alone does not say between which nodes a call goes in circles.
test("redirections that do not end: the error names the last node and the slot, and has the words of the last one", async (world) => {
  const fake = await world.fake({ nodes: 2 });
  const kv = await world.open(fake, short);
  const [one, two] = fake.nodes as [FakeNode, FakeNode];
  fake.answer = ([name], node) =>
    name === "INCR" ? moved(slotOf("a"), node === one ? two : one) : undefined;
  const failed = await errorOf(kv.incr("a"));
  const last = failed.node === place(one) ? one : two;
  names(failed, last, "a");
  assert.ok(
    failed.message.includes(`MOVED ${slotOf("a")} ${place(last === one ? two : one)}`),
    failed.message,
  );
});

test("a connection that is lost: the error names the node and the slot", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, short);
  fake.answer = ([name], _, peer) => {
    if (name !== "INCR") return undefined;
    peer.socket.destroy();
    return null;
  };
  const failed = await errorOf(kv.incr("a"));
  assert.deepEqual([failed.code, failed.reason], ["CONNECTION", "lost"]);
  names(failed, homeOf(fake, "a"), "a");
});

test("a command of several slots names the node and the slot that has failed", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, short);
  const keys = Array.from({ length: 20 }, (_, index) => `k${index}`);
  const [dead] = fake.nodes as [FakeNode];
  fake.answer = (_, node) => (node === dead ? null : undefined);
  const failed = await errorOf(kv.del(keys));
  assert.equal(failed.node, place(dead));
  assert.ok(keys.some((key) => slotOf(key) === failed.slot && homeOf(fake, key) === dead));
});

test("a node that refuses the connection: the error names the node and the slot", async (world) => {
  const fake = await world.fake();
  const dead = { ...homeOf(fake, "a").name, port: await closedPort() };
  for (const range of fake.ranges) if (range.nodes[0]?.port === homeOf(fake, "a").port) range.nodes = [dead];
  const kv = await world.open(fake, short);
  const failed = await errorOf(kv.set("a", "1"));
  assert.equal(failed.reason, "queue-timeout");
  assert.deepEqual([failed.node, failed.slot], [`${dead.host}:${dead.port}`, slotOf("a")]);
  assert.ok(failed.message.includes(`(slot ${slotOf("a")}, ${dead.host}:${dead.port})`), failed.message);
});

test("a store that is closed meanwhile: the error names the node and the slot", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, short);
  // No command is answered. Replies have no ids, so a reply to CLUSTER SLOTS would be taken for the reply to INCR.
  fake.answer = () => null;
  const failing = errorOf(kv.incr("a"));
  await kv.disconnect();
  const failed = await failing;
  assert.ok(["CLOSED", "TIMEOUT"].includes(failed.code), failed.stack);
  names(failed, homeOf(fake, "a"), "a");
});

// A queue is full for one of 60 servers: which of them does an operator look at?
test("a full queue: the error names the node and the slot, whatever the commands wait for", async (world) => {
  const full = { maxQueue: 1, queueTimeout: 1_000 };
  const fake = await world.fake();
  const dead = { host: "127.0.0.1", port: await closedPort() };
  for (const range of fake.ranges) if (range.nodes[0]?.port === homeOf(fake, "a").port) range.nodes = [dead];
  const unconnected = await world.open(fake, full);
  const refusing = await world.fake();
  refusing.answer = ([name]) => (name === "INCR" ? CLUSTERDOWN : undefined);
  const refused = await world.open(refusing, full);
  const replicas = await world.fake();
  for (const range of replicas.ranges) range.nodes.push(dead);
  const reading = await world.open(replicas, { ...full, readFrom: "replica" });
  for (const [call, node, waits] of [
    [() => unconnected.incr("a"), dead, () => true],
    // It is tried again: those behind it wait.
    [() => refused.incr("a"), homeOf(refusing, "a"), () => refusing.count("INCR") > 1],
    [() => reading.get("a"), dead, () => true],
  ] as const) {
    const first = errorOf(call());
    await eventually(waits);
    const errors = await Promise.all([first, errorOf(call()), errorOf(call())]);
    const codes = errors.map(({ code }) => code);
    assert.ok(codes.includes("QUEUE_FULL"), codes.join());
    for (const failed of errors) names(failed, node, "a");
  }
});

test("a full queue before the slots are known: the error names the slot", async (world) => {
  const nodes = [{ host: "127.0.0.1", port: await closedPort() }];
  const kv = new RedisKVStore({ cluster: { nodes }, maxQueue: 1, queueTimeout: 300 });
  world.defer(() => kv.disconnect());
  kv.connect().catch(() => {});
  const [first, second] = await Promise.all([errorOf(kv.incr("a")), errorOf(kv.incr("a"))]);
  assert.deepEqual([first.code, second.code], ["TIMEOUT", "QUEUE_FULL"]);
  for (const { node, slot } of [first, second]) assert.deepEqual([node, slot], [undefined, slotOf("a")]);
});

test("a subscription that is not confirmed: the error names the home and the slot", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, short);
  const failed = await errorOf(kv.subscribe("a", () => {}));
  assert.equal(failed.reason, "queue-timeout");
  names(failed, homeOf(fake, "a"), "a");
});

test("a page of SCAN that is none: the error names the node and the slot", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, short);
  fake.answer = ([name]) => (name === "SCAN" ? ":1\r\n" : undefined);
  const failed = await errorOf(kv.scan("0"));
  assert.deepEqual(
    [failed.reason, failed.node, failed.slot],
    ["protocol", place(fake.nodes[0] as FakeNode), 0],
  );
});

test("what the server answers is its own text, and the error names the node and the slot", async ({
  open,
}) => {
  const kv = await open(cluster());
  await kv.rpush("list", "x");
  const failed = await errorOf(kv.incr("list"));
  assert.equal(failed.message, "WRONGTYPE Operation against a key holding the wrong kind of value");
  const home = await cluster().masterOf(slotOf("list"));
  assert.deepEqual([failed.code, failed.node, failed.slot], ["WRONGTYPE", home.place, slotOf("list")]);
  const raised = await errorOf(kv.eval("return redis.error_reply('MINE own')", ["list"], []));
  assert.deepEqual([raised.code, raised.message, raised.node], ["MINE", "MINE own", home.place]);
  await kv.del("list");
});
