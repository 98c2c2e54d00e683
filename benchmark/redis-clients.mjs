// The Redis clients behind one small interface. Each function opens a client for the port of a server.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const { resolve } = createRequire(new URL("peers/package.json", import.meta.url));
export const peer = (name) => import(resolve(name));

/** Installs the clients of `peers/`, unless they are installed. */
export function install() {
  const peers = fileURLToPath(new URL("peers", import.meta.url));
  if (existsSync(`${peers}/node_modules/redis`)) return;
  execFileSync("npm", ["ci", "--prefix", peers], { stdio: "inherit", shell: process.platform === "win32" });
}

/**
 * @typedef {object} Client
 * @property {(key: string) => Promise<unknown>} get
 * @property {(key: string, value: string) => Promise<unknown>} set
 * @property {(channel: string, callbacks: ((message: string) => void)[]) => Promise<unknown>} subscribe each callback is called with each message
 * @property {() => unknown} close
 */

/** One listener that calls all callbacks, as an application does where the client takes only one listener. */
const fanOut = (callbacks) => (message) => {
  for (const callback of callbacks) callback(message);
};

const openIoredis = async (port, options) => {
  const { Redis } = await peer("ioredis");
  const client = new Redis({ port, ...options });
  const subscriber = new Redis({ port });
  await client.ping();
  return {
    get: (key) => client.get(key),
    set: (key, value) => client.set(key, value),
    subscribe(channel, callbacks) {
      const call = fanOut(callbacks);
      subscriber.on("message", (_, message) => call(message));
      return subscriber.subscribe(channel);
    },
    close() {
      client.disconnect();
      subscriber.disconnect();
    },
  };
};

/** @type {Record<string, (port: number) => Promise<Client>>} */
export const clients = {
  async "covara-kv"(port) {
    const { createKV } = await import("covara-kv");
    const kv = await createKV({ type: "redis", redis: { port } });
    return {
      get: (key) => kv.get(key),
      set: (key, value) => kv.set(key, value),
      subscribe: (channel, callbacks) =>
        Promise.all(callbacks.map((callback) => kv.subscribe(channel, callback))),
      close: () => kv.disconnect(),
    };
  },

  ioredis: (port) => openIoredis(port, {}),

  "ioredis, autoPipelining": (port) => openIoredis(port, { enableAutoPipelining: true }),

  async "node-redis"(port) {
    const { createClient } = await peer("redis");
    const client = createClient({ socket: { port, host: "127.0.0.1" } });
    const subscriber = client.duplicate();
    await Promise.all([client.connect(), subscriber.connect()]);
    return {
      get: (key) => client.get(key),
      set: (key, value) => client.set(key, value),
      subscribe: (channel, callbacks) =>
        Promise.all(callbacks.map((callback) => subscriber.subscribe(channel, callback))),
      close() {
        client.destroy();
        subscriber.destroy();
      },
    };
  },

  async "valkey-glide"(port) {
    const { GlideClient, GlideClientConfiguration } = await peer("@valkey/valkey-glide");
    const addresses = [{ host: "127.0.0.1", port }];
    const client = await GlideClient.createClient({
      addresses,
      inflightRequestsLimit: 10_000,
      requestTimeout: 5_000,
    });
    const opened = [client];
    return {
      get: (key) => client.get(key),
      set: (key, value) => client.set(key, value),
      // This client takes subscriptions only when it is made.
      async subscribe(channel, callbacks) {
        const call = fanOut(callbacks);
        const mode = GlideClientConfiguration.PubSubChannelModes.Exact;
        opened.push(
          await GlideClient.createClient({
            addresses,
            pubsubSubscriptions: {
              channelsAndPatterns: { [mode]: new Set([channel]) },
              callback: ({ message }) => call(String(message)),
            },
          }),
        );
      },
      close() {
        for (const each of opened) each.close();
      },
    };
  },
};
