// What the tests of a cluster share. The tests of a file have one cluster, and each of them finds it whole.
import assert from "node:assert/strict";
import { after, afterEach, before, test as nodeTest } from "node:test";
import { createKV, type KVConfig, type KVStore } from "covara-kv";
import { timeoutFactor } from "../eventually.js";
import { type ClusterOptions, type RedisCluster, startCluster } from "../redis-cluster.js";
import { type FakeCluster, type FakeClusterOptions, startFakeCluster } from "./fake-nodes.js";

type RedisConfig = NonNullable<KVConfig["redis"]>;
type Addresses = { readonly addresses: { host: string; port: number }[] };

/** What a test is given. All that it opens is closed after it. */
export interface World {
  /** A store of a cluster, real or fake. */
  open(cluster: Addresses, config?: RedisConfig, prefix?: string): Promise<KVStore>;
  fake(options?: FakeClusterOptions): Promise<FakeCluster>;
  /** Called after the test, the last one first. */
  defer(close: () => unknown): void;
  /** Calls `body` each so many milliseconds, until what it returns is called, or the test has ended or failed. */
  every(milliseconds: number, body: () => unknown): () => void;
}

export function test(name: string, body: (world: World) => Promise<void>, timeout = 60_000): void {
  nodeTest(name, { timeout: timeout * timeoutFactor }, async () => {
    const closing: (() => unknown)[] = [];
    const defer = (close: () => unknown) => void closing.push(close);
    try {
      await body({
        defer,
        every(milliseconds, body) {
          const timer = setInterval(body, milliseconds);
          const stop = () => clearInterval(timer);
          defer(stop);
          return stop;
        },
        async open({ addresses }, config, prefix) {
          const store = await createKV({
            type: "redis",
            ...(prefix !== undefined && { prefix }),
            redis: { cluster: { nodes: addresses }, ...config },
          });
          defer(() => store.disconnect());
          return store;
        },
        async fake(options) {
          const cluster = await startFakeCluster(options);
          defer(() => cluster.stop());
          return cluster;
        },
      });
    } finally {
      for (const close of closing.reverse()) await close();
    }
  });
}

/** Whether all connections are ready. The store connects to all masters from the start. */
export const isReady = async (kv: KVStore): Promise<boolean> =>
  (await kv.health()).connections.every(({ state }) => state === "ready");

/** A cluster that all tests of a file share. What a test does to its nodes is undone after it; the keys stay. */
export function sharedCluster(options?: ClusterOptions): () => RedisCluster {
  let cluster: RedisCluster | undefined;
  before(async () => {
    cluster = await startCluster(options);
  });
  afterEach(() => cluster?.heal());
  after(() => cluster?.stop());
  return () => {
    assert.ok(cluster, "there is no cluster before the tests");
    return cluster;
  };
}
