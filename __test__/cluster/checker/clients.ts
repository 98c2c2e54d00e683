// The clients to check, behind one small interface: covara-kv, and those of benchmark/peers with their default options.
import { createRequire } from "node:module";
import { join } from "node:path";
import { createKV, KVError } from "covara-kv";
import { channelOf, EVENTS, open as openStream, wire } from "../../framework/events.js";

interface Address {
  readonly host: string;
  readonly port: number;
}

/** What a client subscribes to, and what it then calls. */
export interface Listening {
  /** Also the own channels of the framework's subscriptions, if the client `hasEvents`. */
  readonly channels: readonly string[];
  heard(channel: string, text: string): void;
  /** Messages may have been missed; times are in milliseconds since the Unix epoch. */
  gap(from: number, to: number): void;
}

export interface CheckedClient {
  rpush(key: string, value: string): Promise<unknown>;
  incr(key: string): Promise<number>;
  set(key: string, value: string): Promise<unknown>;
  get(key: string): Promise<string | null>;
  /** MULTI with an RPUSH to each of two keys of one slot. */
  pushBoth(one: string, other: string, value: string): Promise<unknown>;
  publish(channel: string, text: string): Promise<unknown>;
  /** All keys that match, by SCAN. Absent if the client cannot do that in a cluster. */
  scan?(match: string): Promise<string[]>;
  /** Whether the error of a failed call leaves open that the command may have run. */
  mayHaveRun(error: unknown): boolean;
  /** How many commands the client counts as unanswered. In the end there must be none. */
  unanswered?(): Promise<number>;
  close(): unknown;
}

export interface ClientKind {
  /** Within how many milliseconds each call settles, if the client says so. */
  readonly deadline?: number;
  /** Whether it delivers the events of the framework's subscriptions. */
  readonly hasEvents?: boolean;
  open(addresses: readonly Address[], listening: Listening): Promise<CheckedClient>;
}

/** Replies of a server that has not run the command. */
const REFUSAL = /\b(MOVED|ASK|TRYAGAIN|CLUSTERDOWN|READONLY|LOADING|MASTERDOWN|CROSSSLOT|EXECABORT)\b/;

const COMMAND_TIMEOUT = 3_000;
const QUEUE_TIMEOUT = 5_000;
/** The reasons with which a write may have run: docs/errors.md. */
const PERHAPS: ReadonlySet<string> = new Set([
  "lost",
  "command-timeout",
  "unanswered",
  "protocol",
  "reply-too-large",
  "internal",
]);

/** The framework's subscription whose own channel it is, if it is one. */
const subscriptionOf = (channel: string) =>
  channel.startsWith(channelOf("")) ? channel.slice(channelOf("").length) : undefined;

const covara: ClientKind = {
  deadline: COMMAND_TIMEOUT + QUEUE_TIMEOUT,
  hasEvents: true,
  async open(addresses, { channels, heard, gap }) {
    const kv = await createKV({
      type: "redis",
      redis: {
        cluster: { nodes: [...addresses] },
        commandTimeout: COMMAND_TIMEOUT,
        queueTimeout: QUEUE_TIMEOUT,
      },
    });
    kv.on("error", () => {});
    kv.on("gap", ({ from, to }) => gap(from, to));
    await kv.subscribe(EVENTS, (text) => {
      const { subscriptionId, event } = JSON.parse(text);
      if (typeof event === "string") heard(channelOf(subscriptionId), event);
    });
    for (const channel of channels) {
      const subscription = subscriptionOf(channel);
      if (subscription !== undefined) await openStream(kv, subscription);
      else await kv.subscribe(channel, (text) => heard(channel, text));
    }
    return {
      rpush: (key, value) => kv.rpush(key, value),
      incr: (key) => kv.incr(key),
      set: (key, value) => kv.set(key, value),
      get: (key) => kv.get(key),
      pushBoth: (one, other, value) => kv.multi().rpush(one, value).rpush(other, value).exec(),
      publish(channel, text) {
        const subscription = subscriptionOf(channel);
        if (subscription === undefined) return kv.publish(channel, text);
        return kv.publish(EVENTS, wire(subscription, text));
      },
      async scan(match) {
        const found: string[] = [];
        let cursor = "0";
        do {
          const page = await kv.scan(cursor, { match, count: 100 });
          found.push(...page.keys);
          cursor = page.cursor;
        } while (cursor !== "0");
        return found;
      },
      mayHaveRun: (error) => !(error instanceof KVError) || PERHAPS.has(error.reason ?? ""),
      async unanswered() {
        const { connections } = await kv.health();
        return connections.reduce((sum, { inFlight, waiting }) => sum + inFlight + waiting, 0);
      },
      close: () => kv.disconnect(),
    };
  },
};

const peers = createRequire(join(__dirname, "../../../benchmark/peers/package.json"));
// biome-ignore lint/suspicious/noExplicitAny: the peers are installed by the benchmarks alone, so there are no types.
const peer = (name: string): any => peers(name);

function ioredis(options: object): ClientKind {
  return {
    async open(addresses, { channels, heard }) {
      const { Cluster } = peer("ioredis");
      const cluster = new Cluster(addresses, options);
      cluster.on("error", () => {});
      cluster.on("message", heard);
      if (channels.length > 0) await cluster.subscribe(...channels);
      await cluster.set("ready", "1");
      return {
        rpush: (key, value) => cluster.rpush(key, value),
        incr: (key) => cluster.incr(key),
        set: (key, value) => cluster.set(key, value),
        get: (key) => cluster.get(key),
        async pushBoth(one, other, value) {
          const results = await cluster.multi().rpush(one, value).rpush(other, value).exec();
          for (const [error] of results) if (error) throw error;
        },
        publish: (channel, text) => cluster.publish(channel, text),
        mayHaveRun: (error) => !REFUSAL.test(String(error)),
        close: () => cluster.disconnect(),
      };
    },
  };
}

const nodeRedis: ClientKind = {
  async open(addresses, { channels, heard }) {
    const { createCluster } = peer("redis");
    const cluster = createCluster({ rootNodes: addresses.map((socket) => ({ socket })) });
    cluster.on("error", () => {});
    await cluster.connect();
    for (const channel of channels) await cluster.subscribe(channel, (text: string) => heard(channel, text));
    return {
      rpush: (key, value) => cluster.rPush(key, value),
      incr: (key) => cluster.incr(key),
      set: (key, value) => cluster.set(key, value),
      get: (key) => cluster.get(key),
      pushBoth: (one, other, value) => cluster.multi().rPush(one, value).rPush(other, value).exec(),
      publish: (channel, text) => cluster.publish(channel, text),
      async scan(match) {
        const found: string[] = [];
        let cursor = "0";
        do {
          const page = await cluster.scan(cursor, { MATCH: match, COUNT: 100 });
          found.push(...page.keys);
          cursor = page.cursor;
        } while (cursor !== "0");
        return found;
      },
      mayHaveRun: (error) => !REFUSAL.test(String(error)),
      close: () => cluster.destroy(),
    };
  },
};

const glide: ClientKind = {
  deadline: COMMAND_TIMEOUT,
  async open(addresses, { channels, heard }) {
    const { GlideClusterClient, GlideClusterClientConfiguration, ClusterBatch, ClusterScanCursor, Logger } =
      peer("@valkey/valkey-glide");
    Logger.setLoggerConfig("off");
    const { Exact } = GlideClusterClientConfiguration.PubSubChannelModes;
    const client = await GlideClusterClient.createClient({
      addresses,
      requestTimeout: COMMAND_TIMEOUT,
      inflightRequestsLimit: 100_000,
      ...(channels.length > 0 && {
        pubsubSubscriptions: {
          channelsAndPatterns: { [Exact]: new Set(channels) },
          callback: ({ channel, message }: { channel: unknown; message: unknown }) =>
            heard(String(channel), String(message)),
        },
      }),
    });
    return {
      rpush: (key, value) => client.rpush(key, [value]),
      incr: (key) => client.incr(key),
      set: (key, value) => client.set(key, value),
      get: (key) => client.get(key),
      pushBoth: (one, other, value) =>
        client.exec(new ClusterBatch(true).rpush(one, [value]).rpush(other, [value]), true),
      publish: (channel, text) => client.publish(text, channel),
      async scan(match) {
        const found: string[] = [];
        let cursor = new ClusterScanCursor();
        do {
          const [next, keys] = await client.scan(cursor, { match, count: 100 });
          found.push(...keys.map(String));
          cursor = next;
        } while (!cursor.isFinished());
        return found;
      },
      mayHaveRun: (error) => !REFUSAL.test(String(error)),
      close: () => client.close(),
    };
  },
};

export const clients: Record<string, ClientKind> = {
  "covara-kv": covara,
  ioredis: ioredis({}),
  "ioredis, autoPipelining": ioredis({ enableAutoPipelining: true }),
  "node-redis": nodeRedis,
  "valkey-glide": glide,
};
