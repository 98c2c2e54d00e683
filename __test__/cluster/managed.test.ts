// A configuration may not fit the server: a plain URL of a cluster node, a provider's endpoint, or `cluster` for a single server. The error
// must say what to do.
import assert from "node:assert/strict";
import { createKV } from "covara-kv";
import { eventually } from "../backends.js";
import { bulk } from "../fake-server.js";
import { movable } from "../faults/movable.js";
import { keyIn, shareOf } from "../redis-cluster.js";
import { startRedis } from "../redis-server.js";
import { errorOf } from "../replies.js";
import { error, type FakeNode } from "./fake-nodes.js";
import { sharedCluster, test, type World } from "./shared.js";

const cluster = sharedCluster({ nodeTimeout: 500, elections: false });

const keys = [0, 1, 2].map((shard) => keyIn(shareOf(shard, 3)[0] + 5, "managed"));

async function opened({ defer }: World, redis: object) {
  const kv = await createKV({ type: "redis", redis });
  defer(() => kv.disconnect());
  return kv;
}

// Taken for a single server, a node answers MOVED to every key of another node (go-redis' UniversalClient, ElastiCache).
test("a plain url, and host and port, at a node of a cluster lead to the whole cluster", async (world) => {
  const [{ host, port } = { host: "", port: 0 }] = cluster().addresses;
  for (const redis of [{ url: `redis://${host}:${port}` }, { host, port }]) {
    const kv = await opened(world, redis);
    await Promise.all(keys.map((key, index) => kv.set(key, `${index}`)));
    assert.deepEqual(await kv.mget(...keys), ["0", "1", "2"]);
    const { code } = await errorOf(kv.multi().incr("a").incr("b").exec());
    assert.equal(code, "CROSSSLOT");
    const heard: string[] = [];
    for (const key of keys) await kv.subscribe(key, (text) => void heard.push(text));
    for (const key of keys) assert.equal(await kv.publish(key, key), 1);
  }
});

test("a plain url at a replica of a cluster leads to the masters", async (world) => {
  const [master] = await cluster().masters();
  assert.ok(master);
  const [replica] = await cluster().replicasOf(master.node);
  assert.ok(replica);
  const kv = await opened(world, { host: replica.host, port: replica.port });
  await Promise.all(keys.map((key, index) => kv.set(key, `${index}`)));
  assert.deepEqual(await kv.mget(...keys), ["0", "1", "2"]);
});

// A provider turns a single server into a cluster, and the name leads there. Commands followed; what was subscribed was dropped without a
// gap, and a second call for the same channel resolved and heard nothing.
test("what was subscribed at a single server goes on in the cluster that takes its place", async (world) => {
  const [node] = cluster().addresses;
  assert.ok(node);
  const single = await startRedis();
  world.defer(() => single.stop());
  const address = await movable(world, single);
  const { host, port } = address;
  const kv = await opened(world, { host, port, retryDelay: 20, queueTimeout: 60_000 });
  const heard: string[] = [];
  const gaps: { from: number; to: number }[] = [];
  kv.on("gap", (gap) => void gaps.push(gap));
  const listen = (channel: string) => kv.subscribe(channel, (text) => void heard.push(`${channel} ${text}`));
  for (const key of keys) await listen(key);
  await kv.psubscribe("managed-*", (text) => void heard.push(`pattern ${text}`));
  address.move(node);
  const lost = Date.now();
  await single.stop();
  await eventually(() => gaps.length > 0);
  for (const key of keys) await kv.publish(key, "moved");
  await eventually(() => keys.every((key) => heard.includes(`${key} moved`)));
  assert.equal(gaps.length, 1);
  assert.ok(gaps.every(({ from, to }) => from <= lost + 1_000 && to >= lost));
  await kv.publish("managed-pattern", "too");
  await eventually(() => heard.includes("pattern too"));
  for (const key of keys) {
    await kv.unsubscribe(key);
    assert.equal(await kv.publish(key, "left"), 0);
  }
});

// A cluster has only database 0. Without this check SELECT fails once connected, with another text on each server.
test("a database other than 0 is refused at once", async () => {
  const { addresses } = cluster();
  const [{ host, port } = { host: "", port: 0 }] = addresses;
  for (const redis of [{ cluster: { nodes: addresses }, db: 1 }, { url: `redis://${host}:${port}/1` }]) {
    const start = performance.now();
    const { code, message } = await errorOf(createKV({ type: "redis", redis }));
    assert.equal(code, "CONFIG", message);
    assert.ok(performance.now() - start < 2_000);
  }
});

test("nodes given beside another address, or none at all, are a wrong configuration", async () => {
  const nodes = cluster().addresses;
  for (const redis of [
    { cluster: { nodes: [] } },
    { cluster: { nodes }, url: "redis://localhost" },
    { cluster: { nodes }, host: "localhost" },
    { cluster: { nodes: [{ host: "localhost" }] } },
    { cluster: {} },
  ]) {
    const { code, message } = await errorOf(createKV({ type: "redis", redis: redis as never }));
    assert.ok(["CONFIG", "INVALID_ARGUMENT"].includes(code), `${JSON.stringify(redis)}: ${message}`);
  }
});

test("a server that is no cluster, given as one, is named as such", async (world) => {
  const server = await startRedis();
  world.defer(() => server.stop());
  const { host, port } = server;
  const opening = createKV({
    type: "redis",
    redis: { cluster: { nodes: [{ host, port }] }, retryDelay: 10 },
  });
  opening.then((kv) => kv.disconnect()).catch(() => {});
  const { message } = await errorOf(opening);
  assert.ok(message.includes(`${host}:${port}`), message);
  assert.match(message, /cluster/i);
});

// An endpoint may call itself a cluster, and have all slots itself (ElastiCache Serverless, Azure's Enterprise policy).
test("a plain address of an endpoint with all slots", async (world) => {
  const { nodes } = await world.fake({ nodes: 1 });
  const [proxy] = nodes as [FakeNode];
  const kv = await opened(world, { host: proxy.host, port: proxy.port });
  await Promise.all(keys.map((key) => kv.set(key, "1")));
  assert.equal(proxy.calls.length, keys.length);
});

// A user without the right to run CLUSTER SLOTS gets NOPERM (Sentry PR#31425, Memorystore).
test("a node that refuses CLUSTER SLOTS is told of with its words", async ({ fake }) => {
  const nodes = await fake();
  nodes.answer = ([name]) =>
    name === "CLUSTER"
      ? error("NOPERM User default has no permissions to run the 'cluster|slots' command")
      : undefined;
  const opening = createKV({ type: "redis", redis: { cluster: { nodes: nodes.addresses }, retryDelay: 10 } });
  opening.then((kv) => kv.disconnect()).catch(() => {});
  const { message } = await errorOf(opening);
  assert.match(message, /NOPERM/);
});

test("a reply of CLUSTER SLOTS that is none is an error, and no crash", async ({ fake, defer }) => {
  const replies = {
    nothing: "*0\r\n",
    "a number": ":5\r\n",
    "a text": bulk("slots"),
    null: "_\r\n",
    "ranges without nodes": "*1\r\n*2\r\n:0\r\n:16383\r\n",
    "a slot that there is not": `*1\r\n*3\r\n:0\r\n:99999\r\n*2\r\n${bulk("127.0.0.1")}:1\r\n`,
    "a range that ends before it begins": `*1\r\n*3\r\n:9\r\n:1\r\n*2\r\n${bulk("127.0.0.1")}:1\r\n`,
    "a port that there is not": `*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n${bulk("127.0.0.1")}:99999999\r\n`,
  };
  for (const [what, reply] of Object.entries(replies)) {
    const nodes = await fake();
    nodes.answer = ([name]) => (name === "CLUSTER" ? reply : undefined);
    const redis = {
      cluster: { nodes: nodes.addresses },
      retryDelay: 10,
      connectTimeout: 500,
      queueTimeout: 500,
    };
    const opening = createKV({ type: "redis", redis });
    const error = await opening.then(
      async (kv) => {
        defer(() => kv.disconnect());
        return errorOf(kv.set("a", "1"), what);
      },
      (error) => error,
    );
    assert.ok(["CONNECTION", "TIMEOUT", "CLUSTERDOWN"].includes(error.code), `${what}: ${error}`);
  }
});
