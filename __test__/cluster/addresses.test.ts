// A node may announce no host, an unknown host, a name, or an address that cannot be reached from here. Taken as it is, it leads nowhere.
import assert from "node:assert/strict";
import { eventually } from "../eventually.js";
import type { Answer } from "../fake-server.js";
import { shareOf, slotOf } from "../redis-cluster.js";
import {
  error,
  evenly,
  type FakeCluster,
  type FakeNode,
  homeOf,
  moved,
  type NamedNode,
} from "./fake-nodes.js";
import { isReady, test } from "./shared.js";

/** Not 127.0.0.1: code that wrongly falls back to the default host must fail. */
const HERE = process.platform === "linux" ? "127.0.0.2" : "127.0.0.1";

const timeouts = { commandTimeout: 1_500, queueTimeout: 3_000 } as const;

/** Names of keys, so many that every node has some. */
const names = Array.from({ length: 30 }, (_, index) => `k${index}`);

/** Names each node as `rename` says. */
function rename(fake: FakeCluster, rename: (node: NamedNode) => Partial<NamedNode>): void {
  fake.ranges = evenly(fake.nodes.map(({ name }) => ({ ...name, ...rename(name) })));
}

function expectAtHome(fake: FakeCluster): void {
  for (const name of names) assert.ok(homeOf(fake, name).calls.includes(`SET ${name} 1`), name);
}

// A null host means the host that is asked. Skipped, or looked up as the name "null", the node is never reached (ioredis, redix #328).
for (const [what, host] of Object.entries({ null: null, empty: "" })) {
  test(`a host that is ${what} is the one that was asked`, async ({ fake, open }) => {
    const cluster = await fake({ host: HERE });
    rename(cluster, () => ({ host }));
    const kv = await open(cluster, timeouts);
    await Promise.all(names.map((name) => kv.set(name, "1")));
    expectAtHome(cluster);
  });
}

test("a host that is ? is unknown: its slots are asked for again, and the others are served", async ({
  fake,
  open,
}) => {
  const cluster = await fake({ host: HERE });
  const [unknown] = cluster.nodes;
  rename(cluster, ({ port }) => (port === unknown?.port ? { host: "?" } : {}));
  const kv = await open({ addresses: cluster.addresses.slice(1) }, timeouts);
  const served = names.filter((name) => homeOf(cluster, name) !== unknown);
  await Promise.all(served.map((name) => kv.set(name, "1")));
  const waiting = Promise.all(
    names.filter((name) => !served.includes(name)).map((name) => kv.set(name, "1")),
  );
  waiting.catch(() => {});
  await eventually(() => cluster.count("CLUSTER") > 2);
  rename(cluster, () => ({}));
  await waiting;
  expectAtHome(cluster);
});

test("slots that nobody serves wait until somebody does", async ({ fake, open }) => {
  const cluster = await fake();
  const whole = cluster.ranges;
  cluster.ranges = whole.slice(1);
  const kv = await open({ addresses: cluster.addresses.slice(1) }, timeouts);
  cluster.answer = ([name]) =>
    name === "SET" && cluster.ranges !== whole ? error("CLUSTERDOWN Hash slot not served") : undefined;
  const waiting = Promise.all(names.map((name) => kv.set(name, "1")));
  waiting.catch(() => {});
  await eventually(() => cluster.count("CLUSTER") > 3);
  cluster.ranges = whole;
  await waiting;
});

// "MOVED 3999 :6380" means the host that answers. At the default host there may be another server, or none (sage PR#237, phpredis #2646, libvalkey
// PR#160).
test("MOVED and ASK without a host lead to the one that answers", async ({ fake, open }) => {
  const cluster = await fake({ host: HERE });
  const kv = await open(cluster, timeouts);
  const home = homeOf(cluster, "a");
  const other = cluster.nodes.find((node) => node !== home) as FakeNode;
  for (const word of ["MOVED", "ASK"]) {
    cluster.answer = ([, key], node) =>
      key === "a" && node === home ? error(`${word} ${slotOf("a")} :${other.port}`) : undefined;
    await kv.set("a", word);
    assert.equal(other.calls.at(-1), `SET a ${word}`);
  }
});

// With cluster-announce-hostname nodes announce names, which must be looked up (ioredis #1583, redis PR#9530).
test("a host may be a name", async ({ fake, open }) => {
  const cluster = await fake();
  rename(cluster, () => ({ host: "localhost" }));
  const kv = await open({ addresses: cluster.addresses.slice(0, 1) }, timeouts);
  await Promise.all(names.map((name) => kv.set(name, "1")));
  expectAtHome(cluster);
});

test("what comes behind the id of a node is not minded, in both protocols", async ({ fake, open }) => {
  const cluster = await fake();
  rename(cluster, () => ({
    metadata: { hostname: "node.example", ip: "10.0.0.1", "availability-zone": "a" },
  }));
  for (const protocol of [2, 3] as const) {
    const kv = await open(cluster, { ...timeouts, protocol });
    await Promise.all(names.map((name) => kv.set(name, "1")));
  }
  expectAtHome(cluster);
});

// Split at its first colon, an IPv6 address gives a host that does not exist.
test("an IPv6 address is split at its last colon", async (world) => {
  const cluster = await world.fake({ host: "::1" });
  const kv = await world.open(cluster, timeouts);
  const home = homeOf(cluster, "a");
  const other = cluster.nodes.find((node) => node !== home) as FakeNode;
  cluster.answer = ([name, key], node) =>
    name === "SET" && key === "a" && node === home ? moved(slotOf("a"), other) : undefined;
  await kv.set("a", "1");
  assert.equal(other.calls.at(-1), "SET a 1");
});

// A managed service gives a node's name to another server, and the old one says that the slot is at that name: it is at the connection's own
// address. A client that asks there by the same connection goes round in circles until its time is over (go-redis PR#1914, ioredis #1582).
test("a node that says that its slot is at its own address is connected to anew", async ({ fake, open }) => {
  const cluster = await fake();
  const home = homeOf(cluster, "a");
  const kv = await open(cluster, timeouts);
  const old = home.peers.length;
  cluster.answer = ([name], node, { index }) =>
    name === "INCR" && node === home && index < old ? moved(slotOf("a"), home) : undefined;
  // A connection that is younger than a second is kept.
  await Promise.all([kv.incr("a"), kv.incr("a")]);
  assert.equal(home.peers.length, old + 1);
  assert.equal((await kv.health()).connections.length, cluster.nodes.length);
});

// Nodes in containers and behind a NAT announce addresses that cannot be reached from outside (ioredis #754 #935, node-redis #2815).
test("addresses that lead nowhere from here are looked up in addressMap", async ({ fake, open }) => {
  const cluster = await fake();
  rename(cluster, ({ port }) => ({ host: "10.255.255.1", port: port - 1 }));
  const addressMap = Object.fromEntries(
    cluster.nodes.map(({ host, port }) => [`10.255.255.1:${port - 1}`, { host, port }]),
  );
  const kv = await open({ addresses: cluster.addresses.slice(0, 1) }, {
    ...timeouts,
    cluster: { nodes: cluster.addresses.slice(0, 1), addressMap },
  } as never);
  await Promise.all(names.map((name) => kv.set(name, "1")));
  expectAtHome(cluster);
  const home = homeOf(cluster, "a");
  const other = cluster.nodes.find((node) => node !== home) as FakeNode;
  cluster.answer = ([name, key], node) =>
    name === "SET" && key === "a" && node === home
      ? moved(slotOf("a"), { host: "10.255.255.1", port: other.port - 1 })
      : undefined;
  await kv.set("a", "1");
  assert.equal(other.calls.at(-1), "SET a 1");
});

// If only the first node gets the password, the others refuse every command.
test("user and password are given to every node", async ({ fake, open }) => {
  const cluster = await fake();
  let asked = 0;
  const password = async () => {
    asked += 1;
    return "secret";
  };
  const kv = await open(
    { addresses: cluster.addresses.slice(0, 1) },
    { ...timeouts, username: "u", password },
  );
  await Promise.all(names.map((name) => kv.set(name, "1")));
  for (const { peers } of cluster.nodes) {
    assert.ok(peers.length > 0);
    for (const { commands } of peers) assert.match(commands.map(String).join("\n"), /AUTH,u,secret/);
  }
  assert.ok(asked >= cluster.nodes.length);
});

// A token ends within the hour, and the connections live on. Kept from the first connection, it is refused at each later one (Memorystore).
test("a token that has ended is not given again: a new connection asks for one", async ({ fake, open }) => {
  let token = "first";
  const greet: Answer = (command) => {
    const at = command.indexOf("AUTH");
    if (at < 0 || command[at + 2] === token) return undefined;
    return error("WRONGPASS invalid username-password pair or user is disabled.");
  };
  const cluster = await fake({ greet });
  const kv = await open(cluster, { ...timeouts, username: "u", password: async () => token, retryDelay: 20 });
  await Promise.all(names.map((name) => kv.get(name)));
  await eventually(() => isReady(kv));
  const before = cluster.nodes.map(({ peers }) => peers.length);
  token = "second";
  for (const { peers } of cluster.nodes) for (const { socket } of peers) socket.destroy();
  await Promise.all(names.map((name) => kv.get(name)));
  await eventually(() => isReady(kv));
  for (const [index, { peers }] of cluster.nodes.entries()) {
    const greetings = peers.slice(before[index]).flatMap(({ commands }) => commands.map(String));
    assert.ok(greetings.some((greeting) => greeting.includes("AUTH,u,second")));
    assert.ok(!greetings.some((greeting) => greeting.includes("AUTH,u,first")));
  }
});

// Some providers show one node with all slots, and announce a replica that does not exist (Azure Managed Redis, ElastiCache Serverless).
test("a topology of one master with all slots, and a replica that is only told", async ({ fake, open }) => {
  const cluster = await fake({ nodes: 1 });
  const [only] = cluster.nodes as [FakeNode];
  const replica = { host: "127.0.0.1", port: 1 };
  cluster.ranges = [{ first: 0, last: shareOf(0, 1)[1], nodes: [only.name, replica] }];
  const kv = await open(cluster, timeouts);
  await Promise.all(names.map((name) => kv.set(name, "1")));
  assert.equal(only.calls.length, names.length);
});
