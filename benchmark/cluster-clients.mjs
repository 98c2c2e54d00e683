// Clients of a Redis Cluster behind one small interface: each is opened for addresses of its nodes.
import { peer } from "./redis-clients.mjs";

const openIoredis = async (addresses, options) => {
  const { Cluster } = await peer("ioredis");
  const client = new Cluster(addresses, options);
  await client.ping();
  return {
    get: (key) => client.get(key),
    set: (key, value) => client.set(key, value),
    close: () => client.disconnect(),
  };
};

/** @typedef {{ host: string, port: number }} Address */

/** @type {Record<string, (addresses: Address[]) => Promise<Omit<import("./redis-clients.mjs").Client, "subscribe">>>} */
export const clusterClients = {
  async "covara-kv"(addresses) {
    const { createKV } = await import("covara-kv");
    const kv = await createKV({ type: "redis", redis: { cluster: { nodes: addresses } } });
    return {
      get: (key) => kv.get(key),
      set: (key, value) => kv.set(key, value),
      close: () => kv.disconnect(),
    };
  },

  ioredis: (addresses) => openIoredis(addresses, {}),

  "ioredis, autoPipelining": (addresses) => openIoredis(addresses, { enableAutoPipelining: true }),

  async "node-redis"(addresses) {
    const { createCluster } = await peer("redis");
    const client = createCluster({ rootNodes: addresses.map((socket) => ({ socket })) });
    await client.connect();
    return {
      get: (key) => client.get(key),
      set: (key, value) => client.set(key, value),
      close: () => client.destroy(),
    };
  },

  async "valkey-glide"(addresses) {
    const { GlideClusterClient } = await peer("@valkey/valkey-glide");
    const client = await GlideClusterClient.createClient({
      addresses,
      inflightRequestsLimit: 10_000,
      requestTimeout: 5_000,
    });
    return {
      get: (key) => client.get(key),
      set: (key, value) => client.set(key, value),
      close: () => client.close(),
    };
  },
};
