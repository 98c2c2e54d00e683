// Checks each lever (failover, moved slot, dropped message) with an independent client. A lever without effect would let other tests pass wrongly.
import assert from "node:assert/strict";
import { Cluster, Redis } from "ioredis";
import { eventually } from "../backends.js";
import { serves } from "../cluster-node.js";
import { keyIn, slotOf } from "../redis-cluster.js";
import { software } from "../redis-server.js";
import { ask, CLUSTERDOWN, error, homeOf, moved, slotsReplyOf } from "./fake-nodes.js";
import { sharedCluster, test, type World } from "./shared.js";

const cluster = sharedCluster({ nodeTimeout: 500 });

function client({ defer }: World, { addresses }: { addresses: { host: string; port: number }[] }): Cluster {
  const client = new Cluster(addresses, { slotsRefreshTimeout: 500, clusterRetryStrategy: () => 50 });
  client.on("error", () => {});
  defer(() => client.disconnect());
  return client;
}

const refusal = (promise: Promise<unknown>) => promise.then(String, String);

test("slots are counted as the servers do", async () => {
  const { admin } = cluster().nodes[0] as { admin: Redis };
  for (const key of ["", "a", "foo", "ä", "{tag}a", "a{tag}b", "{}a", "{a}{b}", "a{", "}{a}", "{{a}}"])
    assert.equal(slotOf(key), await admin.call("CLUSTER", "KEYSLOT", key), key);
  assert.equal(slotOf(keyIn(1234)), 1234);
});

test("a master that is killed is replaced, and comes back as a replica that has all", async (world) => {
  const [name, kv] = [keyIn(1), client(world, cluster())];
  await kv.set(name, "1");
  const master = await cluster().replaceable(1);
  await master.admin.set(name, "1");
  assert.equal(await master.admin.wait(1, 10_000), 1);
  await master.kill();
  const next = await cluster().replaced(master, 1);
  assert.notEqual(next, master);
  assert.equal(await kv.get(name), "1");
  await master.restart();
  await cluster().converged();
  assert.ok((await master.self()).flags.includes("slave"));
});

test("a frozen master is replaced, and learns of it when it wakes", async () => {
  const master = await cluster().replaceable(1);
  master.pause();
  const next = await cluster().replaced(master, 1);
  assert.deepEqual(await cluster().masterOf(1), next);
  master.resume();
  await cluster().converged();
  assert.ok((await master.self()).flags.includes("slave"));
});

for (const mode of [undefined, "FORCE", "TAKEOVER"] as const) {
  test(`${["CLUSTER FAILOVER", mode].join(" ").trim()} has taken place once it resolves`, async () => {
    const master = await cluster().masterOf(1);
    const next = await cluster().failover(1, mode);
    assert.notEqual(next, master);
    assert.match(await refusal(next.admin.set(keyIn(1), "2")), /^OK/);
    assert.match(await refusal(master.admin.set(keyIn(1), "2")), /MOVED/);
  });
}

// Its target does not learn of the new master while the slot is open, before Redis 7.4. For the target it then belongs to none, and no test behind
// finds a whole cluster.
test("a slot whose master is replaced while it moves is whole again after the test", async () => {
  const { from, to } = await cluster().mastersFor(1);
  await cluster().migrate(1, to);
  const [replica] = await cluster().replicasOf(from);
  assert.ok(replica);
  await replica.rested(cluster().nodeTimeout);
  await replica.admin.call("CLUSTER", "FAILOVER");
  await eventually(async () => !(await to.view()).some((view) => serves(view, 1) && view.id === from.id));
  await cluster().heal();
  assert.equal(await cluster().masterOf(1), replica);
});

test("a slot moves key by key, and a test can stand in the midst", async (world) => {
  const slot = slotOf("{t}");
  const { from, to } = await cluster().mastersFor(slot);
  const kv = client(world, cluster());
  for (const key of ["a", "b", "c"]) await kv.set(`{t}${key}`, key);
  const migration = await cluster().migrate(slot, to);
  await migration.moveKeys("{t}a", "{t}b");
  assert.equal(await refusal(from.admin.get("{t}c")), "c");
  assert.match(await refusal(from.admin.get("{t}a")), /ASK/);
  assert.match(await refusal(from.admin.mget("{t}a", "{t}c")), /TRYAGAIN/);
  assert.match(await refusal(to.admin.get("{t}a")), /MOVED/);
  assert.equal(await kv.get("{t}a"), "a");
  assert.equal(await migration.move(), 1);
  await migration.finish();
  assert.equal(await refusal(to.admin.get("{t}c")), "c");
  assert.match(await refusal(from.admin.get("{t}c")), /MOVED/);
  assert.equal(await cluster().masterOf(slot), to);
  const { name } = software();
  if (name === "Valkey") {
    await cluster().migrateAtOnce(slot, slot, from);
    assert.equal(await refusal(from.admin.get("{t}c")), "c");
  }
});

test("packets of PUBLISH are dropped, and nothing tells of it", async ({ defer }) => {
  const [one, two] = cluster().nodes;
  assert.ok(one && two);
  const subscriber = new Redis({ host: two.host, port: two.port });
  defer(() => subscriber.disconnect());
  const heard: string[] = [];
  subscriber.on("message", (_, text) => heard.push(text));
  await subscriber.subscribe("c");
  await two.dropBusPackets(4);
  await one.admin.publish("c", "dropped");
  await eventually(async () =>
    String(await two.admin.call("CLUSTER", "INFO")).includes("messages_publish_received:1"),
  );
  await two.dropBusPackets(-1);
  await one.admin.publish("c", "heard");
  await eventually(() => heard.length > 0);
  assert.deepEqual(heard, ["heard"]);
  assert.equal(await two.killClients("pubsub"), 1);
});

test("connections of clients and calls of CLUSTER SLOTS are counted, the levers' own are not", async ({
  defer,
}) => {
  const [node] = cluster().nodes;
  assert.ok(node);
  // MIGRATE keeps its connection to the target for ten seconds.
  await node.killClients("normal");
  const before = await cluster().counters();
  await cluster().converged();
  const other = new Redis({ host: node.host, port: node.port, enableReadyCheck: false });
  defer(() => other.disconnect());
  await other.call("CLUSTER", "SLOTS");
  assert.equal(await node.killClients("normal"), 1);
  other.disconnect();
  const after = await cluster().counters();
  assert.deepEqual([after.connections - before.connections, after.slots - before.slots], [1, 1]);
});

test("fake nodes: a client finds the nodes, and follows MOVED and ASK", async (world) => {
  const fake = await world.fake();
  const kv = client(world, fake);
  for (const key of ["a", "b", "c"]) assert.equal(await kv.incr(key), 1);
  for (const key of ["a", "b", "c"]) assert.deepEqual(homeOf(fake, key).calls.includes(`incr ${key}`), true);
  const home = homeOf(fake, "a");
  const other = fake.nodes.find((node) => node !== home);
  assert.ok(other);
  const slot = slotOf("a");
  fake.answer = ([name], node) => (name === "set" && node === home ? ask(slot, other) : undefined);
  assert.equal(await kv.set("a", "1"), "OK");
  assert.equal(other.count("asking"), 1);
  fake.answer = ([name], node) => (name === "set" && node === home ? moved(slot, other) : undefined);
  assert.equal(await kv.set("a", "2"), "OK");
  assert.deepEqual(
    other.calls.filter((call) => call.startsWith("set")),
    ["set a 1", "set a 2"],
  );
});

test("fake nodes: errors, nothing at all, and half a reply", async (world) => {
  const fake = await world.fake();
  const [node] = fake.nodes;
  assert.ok(node);
  const kv = new Redis({ host: node.host, port: node.port, commandTimeout: 200, maxRetriesPerRequest: 0 });
  kv.on("error", () => {});
  world.defer(() => kv.disconnect());
  fake.answer = () => CLUSTERDOWN;
  assert.match(await refusal(kv.get("a")), /CLUSTERDOWN/);
  fake.answer = () => error("TRYAGAIN later");
  assert.match(await refusal(kv.get("a")), /TRYAGAIN/);
  fake.answer = () => null;
  assert.match(await refusal(kv.get("a")), /timed out/);
  fake.answer = (_, __, peer) => {
    peer.send("$5\r\nhe");
    peer.socket.end();
    return null;
  };
  assert.match(await refusal(kv.get("a")), /max retries/);
});

test("fake nodes: CLUSTER SLOTS in both protocols, with hosts that are none", async ({ fake }) => {
  const { nodes } = await fake({ nodes: 1 });
  const [node] = nodes;
  assert.ok(node);
  const kv = new Redis({ host: node.host, port: node.port });
  try {
    const reply = await kv.call("CLUSTER", "SLOTS");
    assert.deepEqual(reply, [[0, 16_383, [node.host, node.port, `${node.port}0`.padStart(40, "0"), []]]]);
  } finally {
    kv.disconnect();
  }
  const named = { host: null, port: 1, id: "x", metadata: { hostname: "h" } };
  const range = { first: 0, last: 5, nodes: [named] };
  const whole = (nothing: string, metadata: string) =>
    `*1\r\n*3\r\n:0\r\n:5\r\n*4\r\n${nothing}:1\r\n$1\r\nx\r\n${metadata}\r\n$8\r\nhostname\r\n$1\r\nh\r\n`;
  assert.equal(slotsReplyOf([range], 2), whole("$-1\r\n", "*2"));
  assert.equal(slotsReplyOf([range], 3), whole("_\r\n", "%1"));
});
