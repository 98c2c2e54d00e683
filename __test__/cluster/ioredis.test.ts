// A Cluster of ioredis in place of a configuration. Each option is taken over, or refused by name. An option that is ignored may lead to other nodes,
// or to none.
import assert from "node:assert/strict";
import { lookup } from "node:dns";
import { describe } from "node:test";
import { createKV, createRedisKV, type RedisClientLike } from "covara-kv";
import { Cluster as Cluster5, type ClusterNode, type ClusterOptions } from "ioredis";
import { Cluster as Cluster6 } from "ioredis6";
import { eventually } from "../eventually.js";
import { keyIn, shareOf } from "../redis-cluster.js";
import { errorOf } from "../replies.js";
import { warningsOf } from "../warnings.js";
import { evenly, type FakeCluster } from "./fake-nodes.js";
import { sharedCluster, test, type World } from "./shared.js";

const cluster = sharedCluster({ nodeTimeout: 1_000, elections: false });
const keys = [0, 1, 2].map((shard) => keyIn(shareOf(shard, 3)[0] + 5, "ioredis"));

type Make = (nodes: ClusterNode[], options?: ClusterOptions) => Cluster5;

const versions: Record<string, Make> = {
  "ioredis 5": (nodes, options) => new Cluster5(nodes, options),
  "ioredis 6": (nodes, options) => new Cluster6(nodes, options as object) as unknown as Cluster5,
};

/** No node is here: the address is reserved for documentation. */
const NOWHERE = "192.0.2.1";
const names = Array.from({ length: 30 }, (_, index) => `k${index}`);

for (const [version, make] of Object.entries(versions)) {
  describe(version, () => {
    /** A Cluster that does not connect by itself. */
    const lazy = ({ defer }: World, nodes: ClusterNode[], options?: ClusterOptions) => {
      const client = make(nodes, { lazyConnect: true, ...options });
      defer(() => client.disconnect());
      return client;
    };

    async function opened(world: World, client: Cluster5, prefix?: string) {
      const kv = createRedisKV(client as RedisClientLike, prefix);
      world.defer(() => kv.disconnect());
      await kv.connect();
      return kv;
    }

    for (const keyPrefix of [undefined, "app:", "{app}:"]) {
      test(`both have the same keys with keyPrefix ${keyPrefix}`, async (world) => {
        const client = make(cluster().addresses, keyPrefix === undefined ? {} : { keyPrefix });
        world.defer(() => client.disconnect());
        const kv = await opened(world, client);
        await Promise.all(keys.map((key) => client.set(key, `${version} ${key}`)));
        for (const key of keys) assert.equal(await kv.get(key), `${version} ${key}`);
        await kv.del(...keys);
        assert.equal(await client.get(keys[0] as string), null);
      });
    }

    test("createKV takes it as redis", async (world) => {
      const client = lazy(world, cluster().addresses);
      const kv = await createKV({ type: "redis", redis: client as object });
      world.defer(() => kv.disconnect());
      await Promise.all(keys.map((key) => kv.set(key, "1")));
    });

    test("nodes in all forms that it takes", async (world) => {
      const [{ host, port } = { host: "", port: 0 }] = cluster().addresses;
      for (const node of [
        port,
        `${port}`,
        `${host}:${port}`,
        `redis://${host}:${port}/0`,
        { port },
        { host, port: `${port}` as never },
      ]) {
        const kv = await opened(world, lazy(world, [node as ClusterNode]));
        await Promise.all(keys.map((key) => kv.set(key, "1")));
      }
    });

    const natMaps: Record<string, (fake: FakeCluster) => ClusterOptions["natMap"]> = {
      "an object": ({ nodes }) =>
        Object.fromEntries(nodes.map(({ host, port }) => [`${NOWHERE}:${port}`, { host, port }])),
      "a function": (fake) => (key) => {
        const to = fake.nodes.find(({ port }) => key === `${NOWHERE}:${port}`);
        return to === undefined ? null : { host: to.host, port: to.port };
      },
    };
    for (const [what, natMap] of Object.entries(natMaps)) {
      test(`natMap as ${what} leads to the nodes, which all get user and password`, async (world) => {
        const fake = await world.fake();
        fake.ranges = evenly(fake.nodes.map(({ name }) => ({ ...name, host: NOWHERE })));
        const redisOptions = { username: "u", password: "secret", connectionName: "mine" };
        const client = lazy(world, fake.addresses.slice(0, 1), { natMap: natMap(fake), redisOptions });
        const kv = await opened(world, client);
        await Promise.all(names.map((name) => kv.set(name, "1")));
        for (const { peers, calls } of fake.nodes) {
          assert.ok(calls.length > 0);
          for (const { commands } of peers) assert.match(commands.map(String).join("\n"), /AUTH,u,secret/);
        }
      });
    }

    test("user and password of all nodes' URLs", async (world) => {
      const fake = await world.fake();
      const urls = fake.addresses.map(({ host, port }) => `redis://u:s%40crets@${host}:${port}`);
      const kv = await opened(world, lazy(world, urls));
      await Promise.all(names.map((name) => kv.set(name, "1")));
      for (const { commands } of fake.nodes.flatMap(({ peers }) => peers)) {
        assert.match(commands.map(String).join("\n"), /AUTH,u,s@crets/);
      }
    });

    for (const scaleReads of ["slave", "all", "master"] as const) {
      test(`scaleReads ${scaleReads} reads at ${scaleReads === "master" ? "masters" : "replicas"}`, async (world) => {
        const kv = await opened(world, lazy(world, cluster().addresses, { scaleReads }));
        const [key = ""] = keys;
        const [replica] = await cluster().replicasOf(await cluster().masterOf(key));
        assert.ok(replica);
        const reads = async () =>
          Number(/cmdstat_get:calls=(\d+)/.exec(await replica.admin.info("commandstats"))?.[1] ?? 0);
        const before = await reads();
        await kv.set(key, "1");
        const read = async () => {
          await kv.get(key);
          return (await reads()) > before;
        };
        if (scaleReads !== "master") return eventually(read);
        for (let count = 0; count < 20; count++) assert.equal(await read(), false);
      });
    }

    // Without it ioredis looks up each name first, and no certificate is for an address (ElastiCache's documentation).
    test("a dnsLookup that leaves names as they are, or is the system's", async (world) => {
      const fake = await world.fake();
      const nodes = fake.addresses.map(({ port }) => ({ host: "localhost", port }));
      for (const dnsLookup of [
        undefined,
        lookup as never,
        (host: string, callback: (error: null, address: string) => void) => callback(null, host),
      ]) {
        const kv = await opened(world, lazy(world, nodes, dnsLookup && { dnsLookup }));
        await kv.set("k", "1");
      }
    });

    test("what cannot be taken over is CONFIG that names it, and nothing is opened", async (world) => {
      const fake = await world.fake();
      const [first, second] = fake.addresses.map(({ port }) => ({ host: "localhost", port }));
      assert.ok(first && second);
      const cases: Record<string, [ClusterNode[], ClusterOptions]> = {
        useSRVRecords: [[first], { useSRVRecords: true }],
        dnsLookup: [[first], { dnsLookup: (_, callback) => callback(null, "127.0.0.1") }],
        scaleReads: [[first], { scaleReads: ([node]: string[]) => node } as ClusterOptions],
        "redisOptions.Connector": [[first], { redisOptions: { Connector: class {} as never } }],
        "redisOptions.family": [[first], { redisOptions: { family: 6 } }],
        "redisOptions.tls.checkServerIdentity": [
          [first],
          { redisOptions: { tls: { checkServerIdentity: () => undefined } } },
        ],
        "startupNodes[].password": [[{ ...first, password: "hunter2" } as ClusterNode, second], {}],
        "startupNodes[].tls": [[`rediss://localhost:${first.port}`, second], {}],
        "startupNodes[]": [[`redis://localhost:${first.port}?password=hunter2`], {}],
        keyPrefix: [[first], { keyPrefix: "app" }],
      };
      for (const [option, [nodes, options]] of Object.entries(cases)) {
        const client = lazy(world, nodes, options);
        const error = await errorOf(createKV({ type: "redis", redis: client as object }), option);
        assert.deepEqual([error.code, error.reason], ["CONFIG", "client"], `${option}: ${error.message}`);
        assert.ok(error.message.includes(option), error.message);
        assert.doesNotMatch(error.message, /hunter2/);
      }
      const client = lazy(world, [first], { natMap: { "10.0.0.1": first } });
      assert.equal(
        (await errorOf(createKV({ type: "redis", redis: client as object }))).code,
        "INVALID_ARGUMENT",
      );
      const withDb = lazy(world, [first], { redisOptions: { db: 1 } });
      assert.equal((await errorOf(createKV({ type: "redis", redis: withDb as object }))).code, "CONFIG");
      assert.equal(fake.count("CLUSTER"), 0);
    });

    test("what has no influence here is no reason for a warning", async (world) => {
      const client = lazy(world, [{ host: "localhost", port: 1 }], {
        ...{ clusterRetryStrategy: () => 10, maxRedirections: 3, slotsRefreshInterval: 5_000 },
        ...{ enableAutoPipelining: true, retryDelayOnMoved: 5, slotsRefreshTimeout: 500 },
        redisOptions: { maxRetriesPerRequest: 1, enableReadyCheck: false, connectTimeout: 500 },
      });
      const warnings = await warningsOf(() => createRedisKV(client as RedisClientLike).disconnect());
      assert.deepEqual(warnings, []);
    });
  });
}
