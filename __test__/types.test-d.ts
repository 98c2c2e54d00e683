// The types as a user of CommonJS sees them: checked by tsc, never run. types.test-d.mts checks them for ES modules.
import {
  type AggregateWatcher,
  type ConnectionHealth,
  type CovaraKVDurableObject,
  createDurableObjectKV,
  createKV,
  createMemoryKV,
  createRedisKV,
  createRedisKVFromConfig,
  type DurableObjectConfig,
  type DurableObjectKVOptions,
  type DurableObjectNamespaceLike,
  type DurableObjectStateLike,
  type DurableObjectStorageLike,
  type DurableObjectStubLike,
  type FanoutEvent,
  type FanoutStats,
  type Gap,
  getActiveHandlerCount,
  getAggregateWatcherCount,
  getFanoutStats,
  getGlobalKV,
  hasGlobalKV,
  initializeEventSubscription,
  initializeKV,
  type KVAdapter,
  type KVConfig,
  type KVError,
  type KVErrorReason,
  type KVHealth,
  type KVStatus,
  type KVStore,
  type KVStoreTransaction,
  type KVTransaction,
  MemoryKVStore,
  notifyAggregateWatchers,
  publishEvent,
  type RedisConfig,
  RedisKVStore,
  registerAggregateWatcher,
  registerHandler,
  type ScanOptions,
  type ScanResult,
  type ScopedSubscription,
  type SetOptions,
  type Subscription,
  setGlobalKV,
  trackSubscription,
  unregisterHandler,
  untrackSubscription,
  type WebSocketLike,
  type ZRangeOptions,
} from "covara-kv";
import type * as other from "covara-kv/kv";
import { expectTypeOf } from "expect-type";

expectTypeOf<typeof other>().toEqualTypeOf<typeof import("covara-kv")>();

// Functions
expectTypeOf(createKV).toEqualTypeOf<(config: KVConfig) => Promise<KVStore>>();
expectTypeOf(initializeKV).toEqualTypeOf<(config: KVConfig) => Promise<KVStore>>();
expectTypeOf(getGlobalKV).toEqualTypeOf<() => KVStore>();
expectTypeOf(setGlobalKV).toEqualTypeOf<(kv: KVAdapter) => void>();
expectTypeOf(hasGlobalKV).toEqualTypeOf<() => boolean>();
expectTypeOf(initializeEventSubscription).toEqualTypeOf<() => Promise<void>>();
expectTypeOf(createMemoryKV).toBeCallableWith();
expectTypeOf(createMemoryKV).toBeCallableWith("prefix", { strict: true, shared: "name" });
expectTypeOf(createMemoryKV).returns.toEqualTypeOf<MemoryKVStore>();
expectTypeOf(MemoryKVStore).toBeConstructibleWith("prefix");
expectTypeOf<MemoryKVStore>().toExtend<KVStore>();
expectTypeOf(createRedisKV).toBeCallableWith(
  { options: { host: "h", port: 1, username: null, tls: {} } },
  "prefix",
);
expectTypeOf(createRedisKV).toBeCallableWith({ url: "redis://h" });
expectTypeOf(createRedisKVFromConfig).returns.toExtend<KVStore>();
expectTypeOf(RedisKVStore).toBeConstructibleWith({ host: "h" }, "prefix");

// Fan-out
expectTypeOf(registerHandler).returns.toEqualTypeOf<void>();
expectTypeOf(registerHandler).toBeCallableWith("h", (event, subscriptionId) => {
  expectTypeOf(event).toBeString();
  expectTypeOf(subscriptionId).toBeString();
});
expectTypeOf(registerHandler).toBeCallableWith("h", () => {}, { signal: new AbortController().signal });
expectTypeOf(trackSubscription).toEqualTypeOf<(handlerId: string, subscriptionId: string) => void>();
expectTypeOf(unregisterHandler).toEqualTypeOf<(handlerId: string) => void>();
expectTypeOf(untrackSubscription).toEqualTypeOf<(subscriptionId: string) => void>();
expectTypeOf(publishEvent).toEqualTypeOf<(message: FanoutEvent) => Promise<boolean>>();
expectTypeOf<FanoutEvent["type"]>().toEqualTypeOf<"added" | "changed" | "removed" | "invalidate">();
expectTypeOf(registerAggregateWatcher).toEqualTypeOf<
  (resource: string, watcher: AggregateWatcher) => () => void
>();
expectTypeOf<(changed?: unknown[]) => void>().toExtend<AggregateWatcher>();
expectTypeOf(notifyAggregateWatchers).toEqualTypeOf<
  (resource: string, changed?: unknown[]) => Promise<void>
>();
expectTypeOf(getActiveHandlerCount).toEqualTypeOf<() => number>();
expectTypeOf(getAggregateWatcherCount).toEqualTypeOf<(resource?: string) => number>();
expectTypeOf(getFanoutStats).toEqualTypeOf<() => FanoutStats>();
expectTypeOf<FanoutStats["streams"][number]["fanout"]>().toEqualTypeOf<"targeted" | "filtered" | "all">();
expectTypeOf<KVConfig["redis"]>().toExtend<
  { fanout?: "targeted" | "filtered" | "all" | undefined } | undefined
>();

// Methods, each with its parameters and what it resolves to
type M = Required<KVStore>;
type F<A extends unknown[], R> = (...args: A) => Promise<R>;
type OneOrMany = string | readonly string[];
// A class of an application's own may have these older signatures: later arguments are optional for it.
expectTypeOf<{
  del(...keys: string[]): Promise<number>;
  hset(key: string, field: string, value: string): Promise<number>;
  sadd(key: string, ...members: string[]): Promise<number>;
  zadd(key: string, score: number, member: string): Promise<number>;
}>().toExtend<Pick<M, "del" | "hset" | "sadd" | "zadd">>();
expectTypeOf<Pick<M, "connect" | "disconnect">>().toEqualTypeOf<
  Record<"connect" | "disconnect", F<[], void>>
>();
expectTypeOf<M["isConnected"]>().toEqualTypeOf<() => boolean>();
expectTypeOf<M["status"]>().toEqualTypeOf<KVStatus>();
expectTypeOf<KVStatus>().toEqualTypeOf<"connecting" | "ready" | "reconnecting" | "closed">();
expectTypeOf<M["health"]>().toEqualTypeOf<F<[], KVHealth>>();
expectTypeOf<KVHealth["connections"][number]>().toEqualTypeOf<ConnectionHealth>();
expectTypeOf<M["ping"]>().toEqualTypeOf<F<[], string>>();
expectTypeOf<M["get"]>().toEqualTypeOf<F<[key: string], string | null>>();
expectTypeOf<M["getdel"]>().toEqualTypeOf<F<[key: string], string | null>>();
expectTypeOf<M["mget"]>().toEqualTypeOf<F<OneOrMany[], (string | null)[]>>();
expectTypeOf<M["set"]>().toEqualTypeOf<F<[key: string, value: string, options?: SetOptions], void>>();
expectTypeOf<M["setnx"]>().toEqualTypeOf<
  F<[key: string, value: string, options?: { ex?: number; px?: number }], boolean>
>();
expectTypeOf<Pick<M, "del" | "exists">>().toEqualTypeOf<Record<"del" | "exists", F<OneOrMany[], number>>>();
expectTypeOf<Pick<M, "incr" | "decr">>().toEqualTypeOf<Record<"incr" | "decr", F<[key: string], number>>>();
expectTypeOf<M["incrBy"]>().toEqualTypeOf<F<[key: string, n: number], number>>();
expectTypeOf<M["expire"]>().toEqualTypeOf<F<[key: string, seconds: number], boolean>>();
expectTypeOf<M["ttl"]>().toEqualTypeOf<F<[key: string], number>>();
expectTypeOf<M["type"]>().toEqualTypeOf<F<[key: string], string>>();
expectTypeOf<M["hget"]>().toEqualTypeOf<F<[key: string, field: string], string | null>>();
expectTypeOf<M["hset"]>().toEqualTypeOf<
  F<[key: string, field: string, value: string, ...pairs: string[]], number>
>();
expectTypeOf<M["hmset"]>().toEqualTypeOf<F<[key: string, data: Record<string, string>], void>>();
expectTypeOf<M["hgetall"]>().toEqualTypeOf<F<[key: string], Record<string, string>>>();
expectTypeOf<M["hexists"]>().toEqualTypeOf<F<[key: string, field: string], boolean>>();
expectTypeOf<M["sismember"]>().toEqualTypeOf<F<[key: string, member: string], boolean>>();
type Many = "hdel" | "sadd" | "srem" | "lpush" | "rpush" | "zrem";
expectTypeOf<Pick<M, Many>>().toEqualTypeOf<Record<Many, F<[key: string, ...items: OneOrMany[]], number>>>();
type Lists = "hkeys" | "smembers";
expectTypeOf<Pick<M, Lists>>().toEqualTypeOf<Record<Lists, F<[key: string], string[]>>>();
type Counts = "hlen" | "scard" | "llen" | "zcard";
expectTypeOf<Pick<M, Counts>>().toEqualTypeOf<Record<Counts, F<[key: string], number>>>();
expectTypeOf<Pick<M, "lpop" | "rpop">>().toEqualTypeOf<
  Record<"lpop" | "rpop", F<[key: string], string | null>>
>();
type Ranges = "lrange" | "zrange";
expectTypeOf<Pick<M, Ranges>>().toEqualTypeOf<
  Record<Ranges, F<[key: string, start: number, stop: number], string[]>>
>();
expectTypeOf<M["ltrim"]>().toEqualTypeOf<F<[key: string, start: number, stop: number], void>>();
expectTypeOf<M["zadd"]>().toEqualTypeOf<
  F<[key: string, score: number, member: string, ...pairs: (number | string)[]], number>
>();
expectTypeOf<M["zincrby"]>().toEqualTypeOf<F<[key: string, n: number, member: string], number>>();
expectTypeOf<M["zscore"]>().toEqualTypeOf<F<[key: string, member: string], number | null>>();
type Bound = number | string;
expectTypeOf<M["zrangebyscore"]>().toEqualTypeOf<
  F<[key: string, min: Bound, max: Bound, options?: ZRangeOptions], string[]>
>();
expectTypeOf<M["keys"]>().toEqualTypeOf<F<[pattern: string], string[]>>();
expectTypeOf<M["scan"]>().toEqualTypeOf<F<[cursor: string, options?: ScanOptions], ScanResult>>();
expectTypeOf<M["publish"]>().toEqualTypeOf<F<[channel: string, message: string], number>>();
type Callback = (message: string, channel: string) => void;
expectTypeOf<M["subscribe"]>().toEqualTypeOf<F<[channel: string, callback: Callback], void>>();
expectTypeOf<M["psubscribe"]>().toEqualTypeOf<F<[pattern: string, callback: Callback], void>>();
expectTypeOf<Pick<M, "unsubscribe" | "punsubscribe">>().toEqualTypeOf<
  Record<"unsubscribe" | "punsubscribe", F<[name: string], void>>
>();
expectTypeOf<KVStore["subscribeScoped"]>().extract<undefined>().toEqualTypeOf<undefined>();
expectTypeOf<M["subscribeScoped"]>().returns.resolves.toEqualTypeOf<ScopedSubscription>();
expectTypeOf<M["subscribeScoped"]>().toBeCallableWith(["a"], () => {});
expectTypeOf<M["listen"]>().returns.resolves.toEqualTypeOf<Subscription>();
expectTypeOf<M["listen"]>().toBeCallableWith(["a"] as const, async () => {}, {
  patterns: ["p*"],
  onGap: (gap) => expectTypeOf(gap).toEqualTypeOf<Gap>(),
});
expectTypeOf<M["multi"]>().toEqualTypeOf<() => KVStoreTransaction>();
expectTypeOf<M["eval"]>().returns.resolves.toBeUnknown();
expectTypeOf<M["eval"]>().toBeCallableWith("return 1", ["k"], ["a"]);

// Transactions
type Queued = Exclude<keyof KVStoreTransaction, "exec" | "discard">;
expectTypeOf<Queued>().toEqualTypeOf<
  | ("get" | "set" | "setnx" | "getdel" | "del" | "incr" | "expire" | "hset" | "hdel")
  | ("sadd" | "srem" | "lpush" | "rpush" | "zadd" | "zrem")
>();
type QueuedLike = { [Q in Queued]: (...args: Parameters<KVStore[Q]>) => KVStoreTransaction };
expectTypeOf<Pick<KVStoreTransaction, Queued>>().toEqualTypeOf<QueuedLike>();
expectTypeOf<KVStoreTransaction["exec"]>().toEqualTypeOf<() => Promise<unknown[]>>();
expectTypeOf<KVStoreTransaction["discard"]>().toEqualTypeOf<() => void>();

// Events and errors
declare const kv: KVStore;
kv.on("ready", () => {}).once("reconnecting", ({ attempt, delay, cause }) => {
  expectTypeOf([attempt, delay]).toEqualTypeOf<number[]>();
  expectTypeOf(cause).toEqualTypeOf<Error>();
});
kv.on("error", (error) => expectTypeOf(error).toEqualTypeOf<Error>()).off("gap", () => {});
// @ts-expect-error there is no such event
kv.on("closed", () => {});
expectTypeOf<KVError>().toExtend<Error>();
expectTypeOf<KVError>().toHaveProperty("code").toEqualTypeOf<string>();
expectTypeOf<KVError["reason"]>().toEqualTypeOf<KVErrorReason | undefined>();
expectTypeOf<"refused" | "command-timeout">().toExtend<KVErrorReason>();
expectTypeOf<"nonsense">().not.toExtend<KVErrorReason>();
expectTypeOf<KVError["hint"]>().toEqualTypeOf<string | undefined>();
expectTypeOf<Pick<KVError, "command" | "index" | "results">>().toEqualTypeOf<{
  readonly command?: string;
  readonly index?: number;
  readonly results?: unknown[];
}>();

// Configurations as users write them
const configs: KVConfig[] = [
  { type: "memory" },
  { type: "memory", prefix: "app", strict: true, shared: "all threads" },
  {
    type: "redis",
    redis: { host: "localhost", port: 6379, password: "p", db: 1, tls: true, maxRetries: 3, retryDelay: 100 },
  },
  {
    type: "redis",
    prefix: "app",
    redis: { url: "rediss://user@host/2", username: "u", clientName: "app", maxQueue: 10 },
  },
  { type: "redis", redis: { path: "/run/redis.sock", commandTimeout: 1_000, connectTimeout: 1_000 } },
  { type: "redis", redis: { username: () => "u", password: async () => "p", protocol: 2 } },
  {
    type: "redis",
    redis: { tls: { ca: "…", cert: "…", key: "…", servername: "h", rejectUnauthorized: false } },
  },
  {
    type: "redis",
    redis: { sentinel: { name: "main", nodes: [{ host: "h", port: 1 }], username: "u", password: "p" } },
  },
  { type: "redis", redis: { cluster: { nodes: [{ host: "h", port: 1 }] } } },
  {
    type: "redis",
    redis: {
      cluster: {
        nodes: [{ host: "h", port: 1 }],
        addressMap: ({ host, port }) => ({ host, port: port + 1 }),
      },
      tls: { servername: async ({ host, port }) => `${host}-${port}` },
    },
  },
  {
    type: "redis",
    redis: { cluster: { nodes: [], addressMap: () => undefined }, tls: { servername: ({ host }) => host } },
  },
];
const fromEnvironment = {
  type: process.env.KV as KVConfig["type"],
  redis: { url: process.env.URL ?? "" } satisfies RedisConfig,
};
expectTypeOf(createKV).toBeCallableWith(fromEnvironment);
expectTypeOf(configs).toEqualTypeOf<KVConfig[]>();
// @ts-expect-error there is no such type
createKV({ type: "memcached" });
// @ts-expect-error a value must be a string
kv.set("k", 1);
// @ts-expect-error there is no such option
kv.set("k", "v", { keepttl: true });

// Durable Objects, with types that look like those of Workers
declare const binding: {
  idFromName(name: string): { name?: string };
  get(id: unknown): { fetch(input: string): Promise<Response> };
};
expectTypeOf(binding).toExtend<DurableObjectNamespaceLike>();
expectTypeOf<DurableObjectStubLike["fetch"]>().returns.resolves.toEqualTypeOf<Response>();
const durable: DurableObjectConfig = { namespace: binding, name: "kv" };
const options: DurableObjectKVOptions = {
  name: "kv",
  prefix: "p",
  reconnectDelay: (attempt) => attempt * 100,
};
expectTypeOf(createDurableObjectKV).toBeCallableWith(durable.namespace, options);
expectTypeOf<CovaraKVDurableObject["fetch"]>().returns.resolves.toEqualTypeOf<Response>();
expectTypeOf<DurableObjectStorageLike["list"]>().toBeCallableWith({ prefix: "s" });
expectTypeOf<ReturnType<DurableObjectStateLike["getWebSockets"]>>().toEqualTypeOf<WebSocketLike[]>();

/** A user's own store, such as a test double, needs only what the interface requires. */
export class Wrapped implements Pick<KVStore, "get" | "set" | "multi"> {
  constructor(private readonly inner: KVStore) {}
  get(key: string) {
    return this.inner.get(key);
  }
  async set(key: string, value: string, { ex }: SetOptions = {}) {
    await this.inner.set(key, value, ex === undefined ? {} : { ex });
  }
  multi(): KVStoreTransaction {
    return this.inner.multi().get("k").set("k", "v", { nx: true }).expire("k", 1);
  }
}
export abstract class Whole extends MemoryKVStore implements KVStore {}

// What this package adds is optional for classes that implement KVAdapter, and present on what its functions return.
expectTypeOf<KVStore>().toExtend<KVAdapter>();
expectTypeOf<KVStoreTransaction>().toExtend<KVTransaction>();
expectTypeOf<Exclude<keyof KVAdapter, keyof KVStore>>().toBeNever();
type Added = Exclude<RequiredKeys<KVStore>, RequiredKeys<KVAdapter>>;
type RequiredKeys<T> = { [K in keyof T]-?: object extends Pick<T, K> ? never : K }[keyof T];
expectTypeOf<Added>().toEqualTypeOf<
  | (
      | "status"
      | "health"
      | typeof Symbol.asyncDispose
      | "ping"
      | "mget"
      | "setnx"
      | "getdel"
      | "type"
      | "listen"
    )
  | ("on" | "once" | "off" | "addListener" | "removeListener" | "listenerCount")
>();

setGlobalKV(createMemoryKV());
export async function disposed() {
  await using store: KVStore = await createKV({ type: "memory" });
  await using subscription = await store.listen(["c"], () => {});
  return subscription;
}
