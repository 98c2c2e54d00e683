// A certificate is for a name, but nodes may announce an address, or a name that cannot be resolved here. So the name to check is configured (ioredis
// #754, ElastiCache, OpenCTI #17694).
import assert from "node:assert/strict";
import { after, describe } from "node:test";
import { createKV, createRedisKV, type RedisConfig, type RedisNode } from "covara-kv";
import { Authority } from "../redis/certificates.js";
import { keyIn, shareOf } from "../redis-cluster.js";
import { freePort, withoutTls } from "../redis-server.js";
import { errorOf } from "../replies.js";
import { sharedCluster, test, type World } from "./shared.js";

const authority = new Authority("covara-kv tests");
after(() => authority.remove());

/** The port with TLS of each node. */
const ports: number[] = [];
const nameOf = (index: number) => `node-${index}.redis.test`;

const HOST = "127.0.0.1";
const keys = [0, 1, 2].map((shard) => keyIn(shareOf(shard, 3)[0] + 5, "tls"));
const seeds = () => ports.map((port) => ({ host: HOST, port }));
const addressMap = ({ host, port }: RedisNode) =>
  /redis\.test$/.test(host) ? { host: HOST, port } : undefined;

async function works({ open }: World, config: RedisConfig): Promise<void> {
  const kv = await open({ addresses: [] }, config);
  await Promise.all(keys.map((key, index) => kv.set(key, `${index}`)));
  assert.deepEqual(await kv.mget(...keys), ["0", "1", "2"]);
  const heard: string[] = [];
  for (const key of keys) await kv.subscribe(key, (text) => void heard.push(text));
  for (const key of keys) assert.equal(await kv.publish(key, key), 1);
}

describe("a cluster with TLS", { skip: withoutTls() }, () => {
  const cluster = sharedCluster({
    nodeTimeout: 1_000,
    async config(index) {
      const port = await freePort();
      ports[index] = port;
      const names = `subjectAltName=DNS:${nameOf(index)},DNS:redis.test`;
      return {
        ...authority.redisConfig(port, authority.sign(nameOf(index), names)),
        "tls-cluster": "yes",
        "tls-replication": "yes",
        "cluster-announce-hostname": nameOf(index),
        "cluster-preferred-endpoint-type": "hostname",
      };
    },
  });

  const { ca } = authority;

  test("one servername for all nodes", async (world) => {
    await works(world, { cluster: { nodes: seeds(), addressMap }, tls: { ca, servername: "redis.test" } });
  });

  // `servername` may also stand beside `nodes` (docs/scaling.md). It must not be ignored there.
  for (const servername of ["redis.test", () => "redis.test"]) {
    test(`one servername beside the nodes: a ${typeof servername}`, async (world) => {
      const besideNodes = { nodes: seeds(), addressMap, servername };
      await works(world, { cluster: besideNodes, tls: { ca } });
      for (const tls of [undefined, false, { ca, servername }]) {
        assert.throws(() => createRedisKV({ cluster: besideNodes, tls }), {
          code: "INVALID_ARGUMENT",
          message: /redis\.cluster\.servername (is a name for TLS|and redis\.tls\.servername)/,
        });
      }
    });
  }

  test("a servername of each node, by the name that nodes tell, through a failover", async (world) => {
    const asked = new Set<string>();
    const servername = ({ host, port }: RedisNode) => {
      asked.add(host);
      return host === HOST ? nameOf(ports.indexOf(port)) : host;
    };
    const config = { cluster: { nodes: seeds().slice(0, 2), addressMap }, tls: { ca, servername } };
    await works(world, config);
    assert.deepEqual([...asked].sort(), [HOST, nameOf(0), nameOf(1), nameOf(2)]);
    const kv = await world.open({ addresses: [] }, config);
    const [key = ""] = keys;
    const next = await cluster().failover(key);
    await kv.set(key, "after");
    assert.equal(await next.admin.get(key).catch(({ message }) => message), "after");
    assert.ok(asked.has(nameOf(next.index)));
  });

  // A node must not be accepted with the certificate of another node.
  test("a servername that is another node's is refused, and told of", async () => {
    const [first] = seeds();
    assert.ok(first);
    for (const [tls, reason] of [
      [{ ca, servername: () => nameOf(1) }, "certificate-name"],
      [{ ca, servername: nameOf(1) }, "certificate-name"],
      [{ ca }, "certificate-name"],
      [{ ca, servername: () => 7 as never }, "function"],
      [{ ca, servername: () => "not a name" }, "function"],
      [
        {
          ca,
          servername: () => {
            throw new Error("nobody knows");
          },
        },
        "function",
      ],
    ] as const) {
      const redis = { cluster: { nodes: [first], addressMap }, tls, retryDelay: 5, maxRetries: 1 };
      const error = await errorOf(createKV({ type: "redis", redis }));
      assert.equal(error.code, "CONNECTION", error.message);
      assert.equal(error.reason ?? (error.cause as typeof error).reason, reason, error.message);
    }
  });
});
