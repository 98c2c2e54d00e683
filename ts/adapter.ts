import type { KVEvents, KVHealth, KVListener, KVStatus } from "./events.js";
import type {
  ExpiryOptions,
  ListenOptions,
  MessageCallback,
  OneOrMany,
  ScanOptions,
  ScanResult,
  ScopedSubscription,
  SetOptions,
  Subscription,
  ZRangeOptions,
} from "./method-types.js";

export type {
  ExpiryOptions,
  ListenOptions,
  MessageCallback,
  OneOrMany,
  ScanOptions,
  ScanResult,
  ScopedSubscription,
  SetOptions,
  Subscription,
  ZRangeOptions,
} from "./method-types.js";

/**
 * A store with Redis's commands.
 *
 * Methods that return a Promise never throw: they reject with a {@link KVError}. Each may reject with the codes `INVALID_ARGUMENT`
 * (nothing was sent), `CLOSED` (after `disconnect`) and, over a network, `CONNECTION`, `TIMEOUT` and `QUEUE_FULL`. A method for one
 * type of value may reject with `WRONGTYPE` where the key holds another (memory and Durable Object: only with `strict`; else the key
 * counts as empty, with one warning). Each method lists further errors. A surplus argument is `INVALID_ARGUMENT`, unless it is
 * undefined. A reply that the command does not have is `CONNECTION`.
 *
 * Keys, fields, members and values are strings of at most 512 MB of UTF-8. A store with a prefix adds it, with a colon, to each key.
 */
export interface KVStore {
  /**
   * Connects. Resolves once the store is usable; at once if it is. Commands connect by themselves too.
   * Errors: `CONNECTION`, `CONFIG`.
   *
   * @example
   * await kv.connect();
   * kv.isConnected(); // true
   */
  connect(): Promise<void>;
  /**
   * Ends all subscriptions and closes the store: later calls reject with `CLOSED`, until `connect`. Empties a memory store, which the
   * next call opens again unless it is strict.
   *
   * @example
   * await kv.set("greeting", "hello");
   * await kv.disconnect();
   * await kv.get("greeting"); // null
   */
  disconnect(): Promise<void>;
  /**
   * Whether the store is connected at this moment.
   *
   * @example
   * kv.isConnected(); // false
   * await kv.connect();
   * kv.isConnected(); // true
   */
  isConnected(): boolean;
  /** The state of the connection for commands. */
  readonly status: KVStatus;
  /**
   * The state of each connection, since when, the time of the last bytes of the server, and the commands that wait. Asks no server,
   * connects nothing, and never rejects.
   *
   * @example
   * await kv.connect();
   * const { status, connections } = await kv.health();
   * status === "ready" && connections.every(({ state }) => state === "ready"); // true
   */
  health(): Promise<KVHealth>;
  /** The same as `disconnect`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;

  /**
   * Calls `listener` at every `event`. Throws `INVALID_ARGUMENT` if it is no function.
   *
   * @example
   * const gaps: Gap[] = [];
   * kv.on("gap", (gap) => gaps.push(gap));
   * kv.listenerCount("gap"); // 1
   */
  on<E extends keyof KVEvents>(event: E, listener: KVListener<E>): this;
  /**
   * Calls `listener` at the next `event` only. Throws `INVALID_ARGUMENT` if it is no function.
   *
   * @example
   * let isEnded = false;
   * kv.once("end", () => {
   *   isEnded = true;
   * });
   * await kv.disconnect();
   * isEnded; // true
   */
  once<E extends keyof KVEvents>(event: E, listener: KVListener<E>): this;
  /**
   * Removes a listener: the one added last, if it was added more than once.
   *
   * @example
   * const report = (error: Error) => console.error(error);
   * kv.on("error", report);
   * kv.off("error", report);
   * kv.listenerCount("error"); // 0
   */
  off<E extends keyof KVEvents>(event: E, listener: KVListener<E>): this;
  /**
   * The same as `on`.
   *
   * @example
   * kv.addListener("error", (error) => console.error(error));
   * kv.listenerCount("error"); // 1
   */
  addListener<E extends keyof KVEvents>(event: E, listener: KVListener<E>): this;
  /**
   * The same as `off`.
   *
   * @example
   * const report = (error: Error) => console.error(error);
   * kv.addListener("error", report);
   * kv.removeListener("error", report);
   * kv.listenerCount("error"); // 0
   */
  removeListener<E extends keyof KVEvents>(event: E, listener: KVListener<E>): this;
  /**
   * The number of listeners of `event`.
   *
   * @example
   * kv.listenerCount("ready"); // 0
   */
  listenerCount(event: keyof KVEvents): number;

  /**
   * Checks that the store answers. Resolves to `"PONG"`. {@link https://redis.io/commands/ping}
   *
   * @example
   * await kv.ping(); // "PONG"
   */
  ping(): Promise<string>;

  /**
   * The string at `key`; null if there is none. {@link https://redis.io/commands/get}
   *
   * @example
   * await kv.set("greeting", "hello");
   * await kv.get("greeting"); // "hello"
   * await kv.get("missing"); // null
   */
  get(key: string): Promise<string | null>;
  /**
   * The strings at `keys`, in their order; null for a key without one. {@link https://redis.io/commands/mget}
   *
   * @example
   * await kv.set("a", "1");
   * await kv.mget("a", "missing"); // ["1", null]
   */
  mget(...keys: OneOrMany[]): Promise<(string | null)[]>;
  /**
   * Sets `key` to a string, whatever it held, and removes its expiry unless `options` give one. The result does not tell whether
   * `nx` or `xx` prevented it: see {@link KVStore.setnx}. Errors: `ERR` for an expiry that is
   * not positive. {@link https://redis.io/commands/set}
   *
   * @example
   * await kv.set("session", "ada", { ex: 60 });
   * await kv.ttl("session"); // 60
   */
  set(key: string, value: string, options?: SetOptions): Promise<void>;
  /**
   * Sets `key` to a string if it does not exist; with an expiry, this takes a lock. True if it was set.
   * Errors: `ERR` for an expiry that is not positive. {@link https://redis.io/commands/set}
   *
   * @example
   * await kv.setnx("lock", "worker-1", { ex: 30 }); // true
   * await kv.setnx("lock", "worker-2", { ex: 30 }); // false
   */
  setnx(key: string, value: string, options?: ExpiryOptions): Promise<boolean>;
  /**
   * The string at `key`, which is deleted; null if there is none. {@link https://redis.io/commands/getdel}
   *
   * @example
   * await kv.set("code", "1234");
   * await kv.getdel("code"); // "1234"
   * await kv.getdel("code"); // null
   */
  getdel(key: string): Promise<string | null>;
  /**
   * Adds 1 to the integer at `key`, 0 if there is none. The sum. Errors: `ERR` if it is no 64-bit integer.
   * {@link https://redis.io/commands/incr}
   *
   * @example
   * await kv.incr("visits"); // 1
   * await kv.incr("visits"); // 2
   */
  incr(key: string): Promise<number>;
  /**
   * Adds the integer `n` to the integer at `key`, 0 if there is none. The sum, which is exact up to 2^53 - 1;
   * `get` gives every digit past it. Errors: `ERR` if it is no 64-bit integer.
   * {@link https://redis.io/commands/incrby}
   *
   * @example
   * await kv.incrBy("points", 10); // 10
   * await kv.incrBy("points", -3); // 7
   */
  incrBy(key: string, n: number): Promise<number>;
  /**
   * Subtracts 1 from the integer at `key`, 0 if there is none. The difference. Errors: `ERR` if it is no
   * 64-bit integer. {@link https://redis.io/commands/decr}
   *
   * @example
   * await kv.set("stock", "3");
   * await kv.decr("stock"); // 2
   */
  decr(key: string): Promise<number>;

  /**
   * Deletes keys. How many there were. {@link https://redis.io/commands/del}
   *
   * @example
   * await kv.set("a", "1");
   * await kv.del("a", "missing"); // 1
   */
  del(...keys: OneOrMany[]): Promise<number>;
  /**
   * How many of `keys` exist; one given twice counts twice. {@link https://redis.io/commands/exists}
   *
   * @example
   * await kv.set("a", "1");
   * await kv.exists("a", "a", "missing"); // 2
   */
  exists(...keys: OneOrMany[]): Promise<number>;
  /**
   * Deletes `key` in `seconds`, an integer; at once if that is not positive. False if there is no such
   * key. Errors: `ERR` for a time that does not fit. {@link https://redis.io/commands/expire}
   *
   * @example
   * await kv.set("session", "ada");
   * await kv.expire("session", 60); // true
   * await kv.expire("missing", 60); // false
   */
  expire(key: string, seconds: number): Promise<boolean>;
  /**
   * How many seconds `key` has left; -1 without an expiry, -2 if there is no such key.
   * {@link https://redis.io/commands/ttl}
   *
   * @example
   * await kv.set("session", "ada", { ex: 60 });
   * await kv.ttl("session"); // 60
   * await kv.ttl("missing"); // -2
   */
  ttl(key: string): Promise<number>;
  /**
   * What `key` holds: `"string"`, `"hash"`, `"set"`, `"list"` or `"zset"`; `"none"` if there is no such key.
   * {@link https://redis.io/commands/type}
   *
   * @example
   * await kv.sadd("tags", "redis");
   * await kv.type("tags"); // "set"
   * await kv.type("missing"); // "none"
   */
  type(key: string): Promise<string>;
  /**
   * The keys that match a glob, in no order. Reads all keys: see {@link KVStore.scan}.
   * {@link https://redis.io/commands/keys}
   *
   * @example
   * await kv.set("user:1", "ada");
   * await kv.set("session:1", "…");
   * await kv.keys("user:*"); // ["user:1"]
   */
  keys(pattern: string): Promise<string[]>;
  /**
   * A page of the keys. Start with the cursor `"0"`, and continue with the returned one, until that is `"0"`. A key that exists all the
   * time is returned, perhaps twice. Errors: `ERR` for a wrong cursor or count. {@link https://redis.io/commands/scan}
   *
   * @example
   * await kv.set("user:1", "ada");
   * const found: string[] = [];
   * let cursor = "0";
   * do {
   *   const page = await kv.scan(cursor, { match: "user:*", count: 100 });
   *   found.push(...page.keys);
   *   cursor = page.cursor;
   * } while (cursor !== "0");
   * found; // ["user:1"]
   */
  scan(cursor: string, options?: ScanOptions): Promise<ScanResult>;

  /**
   * The value of a field of a hash; null if there is none. {@link https://redis.io/commands/hget}
   *
   * @example
   * await kv.hset("user:1", "name", "ada");
   * await kv.hget("user:1", "name"); // "ada"
   * await kv.hget("user:1", "email"); // null
   */
  hget(key: string, field: string): Promise<string | null>;
  /**
   * Sets a field of a hash, and those of further pairs of field and value. How many are new.
   * {@link https://redis.io/commands/hset}
   *
   * @example
   * await kv.hset("user:1", "name", "ada"); // 1
   * await kv.hset("user:1", "name", "Ada", "city", "London"); // 1
   */
  hset(key: string, field: string, value: string, ...pairs: string[]): Promise<number>;
  /**
   * Sets a field of a hash for each own property of `data`. Errors: `ERR` if it has none.
   * {@link https://redis.io/commands/hset}
   *
   * @example
   * await kv.hmset("user:1", { name: "ada", city: "London" });
   * await kv.hlen("user:1"); // 2
   */
  hmset(key: string, data: Record<string, string>): Promise<void>;
  /**
   * A hash as a plain object; `{}` if there is none. {@link https://redis.io/commands/hgetall}
   *
   * @example
   * await kv.hmset("user:1", { name: "ada", city: "London" });
   * await kv.hgetall("user:1"); // { name: "ada", city: "London" }
   * await kv.hgetall("missing"); // {}
   */
  hgetall(key: string): Promise<Record<string, string>>;
  /**
   * Deletes fields of a hash. How many there were. {@link https://redis.io/commands/hdel}
   *
   * @example
   * await kv.hset("user:1", "name", "ada");
   * await kv.hdel("user:1", "name", "email"); // 1
   */
  hdel(key: string, ...fields: OneOrMany[]): Promise<number>;
  /**
   * Whether a hash has a field. {@link https://redis.io/commands/hexists}
   *
   * @example
   * await kv.hset("user:1", "name", "ada");
   * await kv.hexists("user:1", "name"); // true
   */
  hexists(key: string, field: string): Promise<boolean>;
  /**
   * The fields of a hash. {@link https://redis.io/commands/hkeys}
   *
   * @example
   * await kv.hset("user:1", "name", "ada");
   * await kv.hkeys("user:1"); // ["name"]
   */
  hkeys(key: string): Promise<string[]>;
  /**
   * How many fields a hash has. {@link https://redis.io/commands/hlen}
   *
   * @example
   * await kv.hset("user:1", "name", "ada");
   * await kv.hlen("user:1"); // 1
   */
  hlen(key: string): Promise<number>;

  /**
   * Adds members to a set. How many are new. {@link https://redis.io/commands/sadd}
   *
   * @example
   * await kv.sadd("tags", "redis", "lua"); // 2
   * await kv.sadd("tags", "lua"); // 0
   */
  sadd(key: string, ...members: OneOrMany[]): Promise<number>;
  /**
   * Removes members from a set. How many there were. {@link https://redis.io/commands/srem}
   *
   * @example
   * await kv.sadd("tags", "redis", "lua");
   * await kv.srem("tags", "lua", "missing"); // 1
   */
  srem(key: string, ...members: OneOrMany[]): Promise<number>;
  /**
   * The members of a set, in no order. {@link https://redis.io/commands/smembers}
   *
   * @example
   * await kv.sadd("tags", "redis", "lua");
   * (await kv.smembers("tags")).sort(); // ["lua", "redis"]
   */
  smembers(key: string): Promise<string[]>;
  /**
   * Whether a set has a member. {@link https://redis.io/commands/sismember}
   *
   * @example
   * await kv.sadd("tags", "redis");
   * await kv.sismember("tags", "redis"); // true
   */
  sismember(key: string, member: string): Promise<boolean>;
  /**
   * How many members a set has. {@link https://redis.io/commands/scard}
   *
   * @example
   * await kv.sadd("tags", "redis", "lua");
   * await kv.scard("tags"); // 2
   */
  scard(key: string): Promise<number>;

  /**
   * Adds values at the head of a list, one after another. The new length. Errors: `ERR` for no values.
   * {@link https://redis.io/commands/lpush}
   *
   * @example
   * await kv.lpush("log", "first", "second"); // 2
   * await kv.lrange("log", 0, -1); // ["second", "first"]
   */
  lpush(key: string, ...values: OneOrMany[]): Promise<number>;
  /**
   * Adds values at the tail of a list. The new length. Errors: `ERR` for no values.
   * {@link https://redis.io/commands/rpush}
   *
   * @example
   * await kv.rpush("queue", "first", "second"); // 2
   * await kv.lrange("queue", 0, -1); // ["first", "second"]
   */
  rpush(key: string, ...values: OneOrMany[]): Promise<number>;
  /**
   * Removes and returns the head of a list; null if there is none. {@link https://redis.io/commands/lpop}
   *
   * @example
   * await kv.rpush("queue", "first", "second");
   * await kv.lpop("queue"); // "first"
   */
  lpop(key: string): Promise<string | null>;
  /**
   * Removes and returns the tail of a list; null if there is none. {@link https://redis.io/commands/rpop}
   *
   * @example
   * await kv.rpush("queue", "first", "second");
   * await kv.rpop("queue"); // "second"
   */
  rpop(key: string): Promise<string | null>;
  /**
   * The values of a list from index `start` to `stop`, inclusive; negative ones count from the end.
   * {@link https://redis.io/commands/lrange}
   *
   * @example
   * await kv.rpush("queue", "a", "b", "c");
   * await kv.lrange("queue", 1, -1); // ["b", "c"]
   */
  lrange(key: string, start: number, stop: number): Promise<string[]>;
  /**
   * The length of a list. {@link https://redis.io/commands/llen}
   *
   * @example
   * await kv.rpush("queue", "a", "b");
   * await kv.llen("queue"); // 2
   */
  llen(key: string): Promise<number>;
  /**
   * Keeps the values of a list from index `start` to `stop`, inclusive; negative ones count from the end.
   * {@link https://redis.io/commands/ltrim}
   *
   * @example
   * await kv.rpush("log", "a", "b", "c");
   * await kv.ltrim("log", -2, -1);
   * await kv.lrange("log", 0, -1); // ["b", "c"]
   */
  ltrim(key: string, start: number, stop: number): Promise<void>;

  /**
   * Adds a member to a sorted set, or moves it to a new score, and those of further pairs of score and member.
   * How many are new. {@link https://redis.io/commands/zadd}
   *
   * @example
   * await kv.zadd("scores", 10, "ada"); // 1
   * await kv.zadd("scores", 12, "ada", 7, "bob"); // 1
   */
  zadd(key: string, score: number, member: string, ...pairs: (number | string)[]): Promise<number>;
  /**
   * Removes members from a sorted set. How many there were. {@link https://redis.io/commands/zrem}
   *
   * @example
   * await kv.zadd("scores", 10, "ada");
   * await kv.zrem("scores", "ada", "missing"); // 1
   */
  zrem(key: string, ...members: OneOrMany[]): Promise<number>;
  /**
   * The score of a member, which may be infinite; null if there is none.
   * {@link https://redis.io/commands/zscore}
   *
   * @example
   * await kv.zadd("scores", 10.5, "ada");
   * await kv.zscore("scores", "ada"); // 10.5
   * await kv.zscore("scores", "bob"); // null
   */
  zscore(key: string, member: string): Promise<number | null>;
  /**
   * The members of a sorted set from rank `start` to `stop`, inclusive, by score, then by the bytes of the
   * member; negative ranks count from the end. {@link https://redis.io/commands/zrange}
   *
   * @example
   * await kv.zadd("scores", 10, "ada", 7, "bob", 9, "eve");
   * await kv.zrange("scores", 0, 1); // ["bob", "eve"]
   */
  zrange(key: string, start: number, stop: number): Promise<string[]>;
  /**
   * The members with a score from `min` to `max`, in the order of {@link KVStore.zrange}. A bound is a
   * number or a string: `"-inf"`, `"+inf"`, `"5"`, or `"(5"`, which leaves 5 out. Errors: `ERR` for a string
   * that is no bound. {@link https://redis.io/commands/zrangebyscore}
   *
   * @example
   * await kv.zadd("scores", 10, "ada", 7, "bob", 9, "eve");
   * await kv.zrangebyscore("scores", "(7", "+inf"); // ["eve", "ada"]
   * await kv.zrangebyscore("scores", 0, 8, { withScores: true }); // ["bob", "7"]
   */
  zrangebyscore(
    key: string,
    min: number | string,
    max: number | string,
    options?: ZRangeOptions,
  ): Promise<string[]>;
  /**
   * How many members a sorted set has. {@link https://redis.io/commands/zcard}
   *
   * @example
   * await kv.zadd("scores", 10, "ada", 7, "bob");
   * await kv.zcard("scores"); // 2
   */
  zcard(key: string): Promise<number>;
  /**
   * Adds `n` to the score of a member, 0 if there is none. The new score. Errors: `ERR` if it is not a
   * number. {@link https://redis.io/commands/zincrby}
   *
   * @example
   * await kv.zadd("scores", 10, "ada");
   * await kv.zincrby("scores", 1.5, "ada"); // 11.5
   */
  zincrby(key: string, n: number, member: string): Promise<number>;

  /**
   * Sends a message to a channel, whose name gets no prefix. The number of subscribers that got it.
   * {@link https://redis.io/commands/publish}
   *
   * @example
   * await kv.publish("news", "hello"); // 0
   * await kv.subscribe("news", () => {});
   * await kv.publish("news", "hello"); // 1
   */
  publish(channel: string, message: string): Promise<number>;
  /**
   * Calls `callback` for each message on a channel. Resolves once live. No effect if the channel has the callback already. {@link https://redis.io/commands/subscribe}
   *
   * @example
   * const heard: string[] = [];
   * await kv.subscribe("news", (message, channel) => heard.push(`${channel}: ${message}`));
   * await kv.publish("news", "hello");
   * heard; // ["news: hello"]
   */
  subscribe(channel: string, callback: MessageCallback): Promise<void>;
  /**
   * Removes all callbacks of a channel, also those of other code: see {@link KVStore.listen}.
   * {@link https://redis.io/commands/unsubscribe}
   *
   * @example
   * await kv.subscribe("news", () => {});
   * await kv.unsubscribe("news");
   * await kv.publish("news", "hello"); // 0
   */
  unsubscribe(channel: string): Promise<void>;
  /**
   * Calls `callback` for each message on a channel that matches a glob. Resolves once live.
   * {@link https://redis.io/commands/psubscribe}
   *
   * @example
   * const heard: string[] = [];
   * await kv.psubscribe("news.*", (message, channel) => heard.push(`${channel}: ${message}`));
   * await kv.publish("news.local", "hello");
   * heard; // ["news.local: hello"]
   */
  psubscribe(pattern: string, callback: MessageCallback): Promise<void>;
  /**
   * Removes all callbacks of a pattern, also those of other code: see {@link KVStore.listen}.
   * {@link https://redis.io/commands/punsubscribe}
   *
   * @example
   * await kv.psubscribe("news.*", () => {});
   * await kv.punsubscribe("news.*");
   * await kv.publish("news.local", "hello"); // 0
   */
  punsubscribe(pattern: string): Promise<void>;
  /**
   * Like {@link KVStore.listen}, on backends where a callback for each stream is cheap: absent on Redis.
   * {@link https://redis.io/commands/subscribe}
   *
   * @example
   * const subscription = await kv.subscribeScoped?.(["news"], () => {});
   * await kv.publish("news", "hello"); // 1
   * await subscription?.close();
   * await kv.publish("news", "hello"); // 0
   */
  subscribeScoped?(channels: readonly string[], callback: MessageCallback): Promise<ScopedSubscription>;
  /**
   * Calls `callback` for each message on `channels`, and on those that match a pattern of `options`.
   * Resolves, once live, to a handle that removes this callback and no other.
   * {@link https://redis.io/commands/subscribe}
   *
   * @example
   * const heard: string[] = [];
   * const subscription = await kv.listen(["news"], (message) => heard.push(message), {
   *   patterns: ["news.*"],
   *   onGap: () => heard.push("messages were missed"),
   * });
   * await kv.publish("news", "hello");
   * await subscription.close();
   * heard; // ["hello"]
   */
  listen(
    channels: readonly string[],
    callback: MessageCallback,
    options?: ListenOptions,
  ): Promise<Subscription>;

  /**
   * Starts a transaction: commands that are queued, then run with nothing in between.
   * {@link https://redis.io/commands/multi}
   *
   * @example
   * await kv.multi().set("a", "1").incr("a").exec(); // ["OK", 2]
   */
  multi(): KVStoreTransaction;
  /**
   * Runs a Lua script, which gets `keys` (under the store's prefix) as KEYS and `args` as ARGV. Its result,
   * by Redis's conversions. Errors: what the script raises; `TIMEOUT` after 5 s.
   * {@link https://redis.io/commands/eval}
   *
   * @example
   * await kv.eval("return redis.call('INCRBY', KEYS[1], ARGV[1])", ["visits"], ["5"]); // 5
   */
  eval(script: string, keys: readonly string[], args: readonly string[]): Promise<unknown>;
}

/** The methods that this package adds to the framework's interface. */
type Added =
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
  | ("on" | "once" | "off" | "addListener" | "removeListener" | "listenerCount");

/**
 * The framework's interface of a {@link KVStore}: the methods that this package adds are optional, so that an application's own class, or
 * a mock in a test, need not have them.
 */
export interface KVAdapter extends Omit<KVStore, Added | "multi">, Partial<Pick<KVStore, Added>> {
  /**
   * Starts a transaction: commands that are queued, then run with nothing in between.
   * {@link https://redis.io/commands/multi}
   *
   * @example
   * await kv.multi().set("a", "1").incr("a").exec(); // ["OK", 2]
   */
  multi(): KVTransaction;
}

/**
 * Commands that run as one. Each method queues the command of {@link KVStore} with its name, and returns the transaction. `exec`
 * rejects for a wrong argument.
 */
interface Queue<Self> {
  /**
   * Queues GET. Its result: string or null. {@link https://redis.io/commands/get}
   *
   * @example
   * await kv.set("greeting", "hello");
   * await kv.multi().get("greeting").exec(); // ["hello"]
   */
  get(key: string): Self;
  /**
   * Queues SET. Its result: `"OK"`, or null if `nx` or `xx` prevented it.
   * {@link https://redis.io/commands/set}
   *
   * @example
   * await kv.multi().set("lock", "a", { nx: true }).set("lock", "b", { nx: true }).exec(); // ["OK", null]
   */
  set(key: string, value: string, options?: SetOptions): Self;
  /**
   * Queues SET with NX. Its result: true if it was set. {@link https://redis.io/commands/set}
   *
   * @example
   * await kv.multi().setnx("lock", "a").setnx("lock", "b").exec(); // [true, false]
   */
  setnx(key: string, value: string, options?: ExpiryOptions): Self;
  /**
   * Queues GETDEL. Its result: string or null. {@link https://redis.io/commands/getdel}
   *
   * @example
   * await kv.multi().set("code", "1234").getdel("code").exec(); // ["OK", "1234"]
   */
  getdel(key: string): Self;
  /**
   * Queues DEL. Its result: how many keys there were. {@link https://redis.io/commands/del}
   *
   * @example
   * await kv.multi().set("a", "1").del("a", "missing").exec(); // ["OK", 1]
   */
  del(...keys: OneOrMany[]): Self;
  /**
   * Queues INCR. Its result: the sum. {@link https://redis.io/commands/incr}
   *
   * @example
   * await kv.multi().incr("visits").incr("visits").exec(); // [1, 2]
   */
  incr(key: string): Self;
  /**
   * Queues HSET. Its result: how many fields are new. {@link https://redis.io/commands/hset}
   *
   * @example
   * await kv.multi().hset("user:1", "name", "ada").exec(); // [1]
   */
  hset(key: string, field: string, value: string, ...pairs: string[]): Self;
  /**
   * Queues HDEL. Its result: how many fields there were. {@link https://redis.io/commands/hdel}
   *
   * @example
   * await kv.multi().hset("user:1", "name", "ada").hdel("user:1", "name").exec(); // [1, 1]
   */
  hdel(key: string, ...fields: OneOrMany[]): Self;
  /**
   * Queues SADD. Its result: how many members are new. {@link https://redis.io/commands/sadd}
   *
   * @example
   * await kv.multi().sadd("tags", "redis", "lua").exec(); // [2]
   */
  sadd(key: string, ...members: OneOrMany[]): Self;
  /**
   * Queues SREM. Its result: how many members there were. {@link https://redis.io/commands/srem}
   *
   * @example
   * await kv.multi().sadd("tags", "redis").srem("tags", "redis").exec(); // [1, 1]
   */
  srem(key: string, ...members: OneOrMany[]): Self;
  /**
   * Queues LPUSH. Its result: the length of the list. {@link https://redis.io/commands/lpush}
   *
   * @example
   * await kv.multi().lpush("log", "a", "b").exec(); // [2]
   */
  lpush(key: string, ...values: OneOrMany[]): Self;
  /**
   * Queues RPUSH. Its result: the length of the list. {@link https://redis.io/commands/rpush}
   *
   * @example
   * await kv.multi().rpush("queue", "a").rpush("queue", "b").exec(); // [1, 2]
   */
  rpush(key: string, ...values: OneOrMany[]): Self;
  /**
   * Queues ZADD. Its result: how many members are new. {@link https://redis.io/commands/zadd}
   *
   * @example
   * await kv.multi().zadd("scores", 10, "ada", 7, "bob").exec(); // [2]
   */
  zadd(key: string, score: number, member: string, ...pairs: (number | string)[]): Self;
  /**
   * Queues ZREM. Its result: how many members there were. {@link https://redis.io/commands/zrem}
   *
   * @example
   * await kv.multi().zadd("scores", 10, "ada").zrem("scores", "ada").exec(); // [1, 1]
   */
  zrem(key: string, ...members: OneOrMany[]): Self;
  /**
   * Queues EXPIRE, in seconds. Its result: false if there is no such key.
   * {@link https://redis.io/commands/expire}
   *
   * @example
   * await kv.multi().set("session", "ada").expire("session", 60).exec(); // ["OK", true]
   */
  expire(key: string, seconds: number): Self;
  /**
   * Runs the queued commands, and empties the queue. The results, in order; `[]` for an empty queue. If a command fails, the others run
   * nevertheless, and it rejects with the first failure, which has `index` and `results`. After a wrong argument nothing runs: it
   * rejects with that failure, which has `index`.
   * {@link https://redis.io/commands/exec}
   *
   * @example
   * await kv.multi().set("a", "text").incr("a").exec().catch((error) => error.index); // 1
   * await kv.multi().exec(); // []
   */
  exec(): Promise<unknown[]>;
  /**
   * Empties the queue. {@link https://redis.io/commands/discard}
   *
   * @example
   * const transaction = kv.multi().set("a", "1");
   * transaction.discard();
   * await transaction.exec(); // []
   */
  discard(): void;
}

/** A transaction of a {@link KVStore}. */
export interface KVStoreTransaction extends Queue<KVStoreTransaction> {}

type AddedToQueue = Extract<Added, keyof Queue<unknown>>;

/** A transaction of a {@link KVAdapter}: the methods that this package adds are optional. */
export interface KVTransaction
  extends Omit<Queue<KVTransaction>, AddedToQueue>,
    Partial<Pick<Queue<KVTransaction>, AddedToQueue>> {}
