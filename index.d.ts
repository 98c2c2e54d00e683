// Generated from ts/ by `npm run build:ts`.

/// <reference lib="esnext.disposable" />

/** Not connected yet, usable, connecting again, or disconnected. */
export type KVStatus = "connecting" | "ready" | "reconnecting" | "closed";

/** A span of time in which messages may have been missed. */
export interface Gap {
  /** The time of the last message before the gap, at the earliest, in milliseconds since the Unix epoch. */
  from: number;
  /** The time from which messages arrive again, in milliseconds since the Unix epoch. */
  to: number;
  /** The connection was lost, or messages arrived faster than callbacks took them. */
  reason: "connection" | "overflow";
  /** Redis: the server whose connection was lost or left, as `host:port`. */
  node?: string;
}

/** What a connection is for. */
export type ConnectionRole = "commands" | "subscriptions";

/** The state of one connection of a store. Times are in milliseconds since the Unix epoch. */
export interface ConnectionHealth {
  readonly connection: ConnectionRole;
  /** Redis: the server that it leads to, or led to last, as `host:port` or a path; absent if it never had one. */
  readonly node?: string;
  /** `reconnecting` also while it leads to what was a master and is a replica now: then reads go on, and writes wait. */
  readonly state: "connecting" | "ready" | "reconnecting";
  /** When it was connected, or lost. */
  readonly since: number;
  /** When the server last sent anything. Absent before that. */
  readonly lastHeard?: number;
  /** The number of commands that were sent and not answered. */
  readonly inFlight: number;
  /** The number of commands that wait to be sent. */
  readonly waiting: number;
  /** The number of failed attempts to connect since then. */
  readonly attempt: number;
  /** Why it is not `ready`, if that is known. */
  readonly cause?: Error;
}

/** The state of a store. */
export interface KVHealth {
  readonly status: KVStatus;
  /** Empty for a memory store. For a Durable Object, one for each socket of its subscriptions. */
  readonly connections: readonly ConnectionHealth[];
}

/** The events of a store, with the arguments of their listeners. */
export interface KVEvents {
  /** Connected, on Redis to `node`; for `subscriptions` only after {@link KVEvents.reconnecting}. */
  ready: [
    {
      connection: ConnectionRole;
      node?: string;
    },
  ];
  /**
   * A connection was lost, or leads to what was a master and is a replica now; attempt number `attempt` to connect again follows in
   * `delay` milliseconds. `node` is the server that it led to, on Redis. While that for `subscriptions` is away no message comes, and `status` stays as it is.
   */
  reconnecting: [
    {
      connection: ConnectionRole;
      attempt: number;
      delay: number;
      cause: Error;
      node?: string;
    },
  ];
  /** Something failed that no Promise tells of, such as a callback that threw. */
  error: [error: Error];
  /** Messages may have been missed. */
  gap: [gap: Gap];
  /** Disconnected. */
  end: [];
}

/** A listener of an event of {@link KVEvents}. */
export type KVListener<E extends keyof KVEvents> = (...args: KVEvents[E]) => unknown;

/** When {@link KVStore.set} sets, and for how long. */
export interface SetOptions {
  /** Expire after this many seconds: a positive integer. Not with `px`. */
  ex?: number;
  /** Expire after this many milliseconds: a positive integer. Not with `ex`. */
  px?: number;
  /** Only if the key does not exist. Not with `xx`. */
  nx?: boolean;
  /** Only if the key exists. Not with `nx`. */
  xx?: boolean;
}

/** The expiry of {@link KVStore.setnx}. None by default. */
export type ExpiryOptions = Pick<SetOptions, "ex" | "px">;

/** Which members {@link KVStore.zrangebyscore} resolves to, and in which form. */
export interface ZRangeOptions {
  /** Skip `offset` members, then take `count`; all the rest if `count` is negative. */
  limit?: {
    offset: number;
    count: number;
  };
  /** Each member followed by its score, as a string. False by default. */
  withScores?: boolean;
}

/** Which keys {@link KVStore.scan} returns. */
export interface ScanOptions {
  /** Only keys that match this glob. */
  match?: string;
  /** About how many keys one call checks: a positive integer, 10 by default. */
  count?: number;
}

/** A page of {@link KVStore.scan}. */
export interface ScanResult {
  /** The cursor of the next call; `"0"` after the last page. */
  cursor: string;
  /** The keys, without the prefix of the store. Any page may be empty, not only the last. */
  keys: string[];
}

type OneOrMany = string | readonly string[];

/**
 * Called with a message and the channel it was published to. An error, or a rejected Promise, goes to the
 * `error` event.
 */
export type MessageCallback = (message: string, channel: string) => void;

/** The options of {@link KVStore.listen}. */
export interface ListenOptions {
  /** Globs of further channels. */
  patterns?: readonly string[];
  /** Called after messages may have been missed: read the state again. */
  onGap?: (gap: Gap) => unknown;
}

/** The handle of one callback on its channels. */
export interface ScopedSubscription {
  /** Removes this callback and no other. May be called twice. */
  close(): Promise<void>;
}

/** A {@link ScopedSubscription} that `await using` closes. */
export interface Subscription extends ScopedSubscription {
  /** The same as `close`. */
  [Symbol.asyncDispose](): Promise<void>;
}

interface HashMethods {
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
}

interface KeyMethods {
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
}

interface ListMethods {
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
}

interface PubSubMethods {
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
}

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

interface SetMethods {
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
}

interface SortedSetMethods {
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
}

interface StringMethods {
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
}

/**
 * A store with Redis's commands.
 *
 * Methods that return a Promise never throw: they reject with a {@link KVError}. Each may reject with the codes `INVALID_ARGUMENT`
 * (nothing was sent), `CLOSED` (after `disconnect`) and, over a network, `CONNECTION`, `TIMEOUT` and `QUEUE_FULL`. A method for one
 * type of value may reject with `WRONGTYPE` where the key holds another. Memory and Durable Object do so only with `strict`; else the
 * key counts as empty, with one warning. Each method lists further errors. A surplus argument is `INVALID_ARGUMENT`, unless it is
 * undefined. A reply that the command does not have is `CONNECTION`.
 *
 * Keys, fields, members and values are strings of at most 512 MB of UTF-8. A store with a prefix adds it, with a colon, to each key.
 */
export interface KVStore
  extends KeyMethods,
    StringMethods,
    HashMethods,
    ListMethods,
    SetMethods,
    SortedSetMethods,
    PubSubMethods {
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
   * Whether the store is connected at this moment: `status` is `"ready"`.
   *
   * @example
   * kv.isConnected(); // false
   * await kv.connect();
   * kv.isConnected(); // true
   */
  isConnected(): boolean;
  /**
   * The state of the connection for commands. In a cluster `"reconnecting"` from the loss of a master on, though others serve. It ends when that
   * is there again, or all that have its slots now are connected. {@link health} tells of each.
   */
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

/** A transaction of a {@link KVStore}. */
export interface KVStoreTransaction extends Queue<KVStoreTransaction> {}

type AddedToQueue = Extract<Added, keyof Queue<unknown>>;

/** A transaction of a {@link KVAdapter}: the methods that this package adds are optional. */
export interface KVTransaction
  extends Omit<Queue<KVTransaction>, AddedToQueue>,
    Partial<Pick<Queue<KVTransaction>, AddedToQueue>> {}

/**
 * Which of the causes of a {@link KVError.code} an error has, where that has several. Each has one code:
 * <https://github.com/covara-dev/covara-kv/blob/main/docs/errors.md>
 */
export type KVErrorReason =
  | "refused"
  | "unreachable"
  | "unknown-host"
  | "no-answer"
  | "closed-at-once"
  | "tls"
  | "unknown-authority"
  | "certificate-date"
  | "certificate-name"
  | "plain-text"
  | "needs-tls"
  | "not-redis"
  | "not-ready"
  | "credentials"
  | "function"
  | "no-sentinel"
  | "unknown-master"
  | "lost"
  | "lost-twice"
  | "ended"
  | "silent"
  | "replaced"
  | "protocol"
  | "reply-too-large"
  | "internal"
  | "durable-object"
  | "command-timeout"
  | "queue-timeout"
  | "behind"
  | "script"
  | "fan-out"
  | "no-message"
  | "disconnected"
  | "unanswered"
  | "address"
  | "certificate"
  | "field"
  | "client"
  | "sentinel"
  | "cluster"
  | "other-strict"
  | "no-store"
  | "framework"
  | "platform"
  | "binary-missing"
  | "binary-unusable"
  | "scripts"
  | "in-worker"
  | "node-version"
  | "unix-socket";

/** The fields of a {@link KVError} beside its code and message. */
export interface KVErrorDetails {
  /** Which of the causes of its code it has. */
  reason?: KVErrorReason | undefined;
  /** The Redis command. */
  command?: string | undefined;
  /** What led to the error. */
  cause?: unknown;
  /** The position in a transaction. */
  index?: number | undefined;
  /** The results of a transaction. */
  results?: unknown[] | undefined;
  /** The node of a cluster. */
  node?: string | undefined;
  /** The slot of the keys in a cluster. */
  slot?: number | undefined;
}

/**
 * Every failure of a store.
 *
 * An error reply of the server, or of the memory store, has Redis's text as its message, the same on every backend. Other
 * messages name the method and the argument, and never have a key or a value, but for the two keys of `CROSSSLOT`. `instanceof` is true for the errors of every
 * copy of the package, and of every realm.
 *
 * Each code and reason, whether the command may have been run, and what to do:
 * <https://github.com/covara-dev/covara-kv/blob/main/docs/errors.md>
 */
export declare class KVError extends Error {
  /**
   * The first word of Redis's error (`WRONGTYPE`, `NOAUTH`, `ERR`, …), or one of ours: `CONNECTION`,
   * `TIMEOUT`, `CLOSED` (after `disconnect`), `QUEUE_FULL`, `CONFIG`, `INVALID_ARGUMENT`, `UNSUPPORTED`.
   */
  readonly code: string;
  /** Which of the causes of its code it has, where that has several. */
  readonly reason?: KVErrorReason;
  /** What to do about it, where that is known; not in a Worker. The text may change: decide by `code` and `reason`. */
  readonly hint?: string;
  /** The Redis command that failed, where it was one. */
  readonly command?: string;
  /** The error that led to it, if there is one. */
  readonly cause?: unknown;
  /** From `exec`: the position in the transaction of the command that failed, counted from 0. */
  readonly index?: number;
  /**
   * From `exec`: the result of every command, a KVError for one that failed. Absent if nothing was run, but for a transaction that was
   * split by slot.
   */
  readonly results?: unknown[];
  /** In a cluster: the node that was to run the command, as `host:port`, where one was. Not of a command within EXEC that failed. */
  readonly node?: string;
  /** In a cluster: the slot of the command's keys; 0 for a command without a key. As `node`. */
  readonly slot?: number;
  /** An error with a code, for stores of an application. */
  constructor(code: string, message: string, details?: KVErrorDetails);
}

type Otherwise =
  | ("connect" | "disconnect" | "isConnected" | "status" | "health" | "multi")
  | ("subscribe" | "unsubscribe" | "psubscribe" | "punsubscribe" | "subscribeScoped" | "listen")
  | ("on" | "once" | "off" | "addListener" | "removeListener" | "listenerCount");

type CommandMethod = Exclude<Extract<keyof KVStore, string>, Otherwise>;

/** A Durable Object namespace of Cloudflare Workers, such as `env.COVARA_KV`. */
export interface DurableObjectNamespaceLike {
  /** The id of the object with this name. */
  idFromName(name: string): unknown;
  /** The stub for requests to an object. */
  get(id: unknown): DurableObjectStubLike;
}

/** The stub for requests to one Durable Object. */
export interface DurableObjectStubLike {
  /** Sends a request to the object. */
  fetch(
    input: string,
    init?: {
      method?: string;
      headers?: Record<string, string>;
      body?: string;
    },
  ): Promise<Response>;
}

/** The object of the store, and the delay before a reconnect. */
export interface DurableObjectKVOptions {
  /** The object's name; `"covara-kv"` by default. */
  name?: string;
  /** Added, with a colon, to each key. None by default. */
  prefix?: string;
  /** Refuse a key of another type, as Redis does. False by default: then it counts as empty. */
  strict?: boolean;
  /**
   * The delay before attempt number `attempt`, from 1, to open a lost socket again, in ms; by default 250, doubling up to 5,000.
   */
  reconnectDelay?: (attempt: number) => number;
}

/** The state that the constructor of a Durable Object gets. */
export interface DurableObjectStateLike {
  /** The storage of the object. */
  storage: DurableObjectStorageLike;
  /** Accepts a WebSocket that survives hibernation. */
  acceptWebSocket(ws: WebSocketLike, tags?: string[]): void;
  /** The accepted WebSockets, or those with a tag. */
  getWebSockets(tag?: string): WebSocketLike[];
}

/** The storage of a Durable Object. */
export interface DurableObjectStorageLike {
  /** The value of a key. */
  get<T>(key: string): Promise<T | undefined>;
  /** Sets a key. */
  put(key: string, value: unknown): Promise<void>;
  /** Deletes a key. False if there was none. */
  delete(key: string): Promise<boolean>;
  /** The keys with a prefix, in order, and their values. */
  list<T>(options?: { prefix?: string }): Promise<Map<string, T>>;
  /** Deletes everything. */
  deleteAll(): Promise<void>;
}

/** A WebSocket, of Workers or any other. */
export interface WebSocketLike {
  /** Sends a message. */
  send(data: string): void;
  /** Ends the connection. */
  close(code?: number, reason?: string): void;
  /** Accepts the client's end of a connection in a Worker. */
  accept?(): void;
  /** Calls `handler` at every message, or at the end. */
  addEventListener?(type: "message" | "close" | "error", handler: (event: { data?: unknown }) => void): void;
  /** Stores a value with the WebSocket during hibernation. */
  serializeAttachment?(value: unknown): void;
  /** The stored value. */
  deserializeAttachment?(): unknown;
}

type Publish = (channel: string, message: string) => Promise<number>;

/** The commands as methods, with the results of the methods of a store. */
export interface DurableKVEngine extends Pick<KVStore, CommandMethod> {}

/** Redis's commands on the storage of a Durable Object. Concurrent calls run one after another. */
export declare class DurableKVEngine {
  #private;
  /** An engine on a storage. Without `publish` messages have no receivers. */
  constructor(storage: DurableObjectStorageLike, publish?: Publish);
}

/** The class of the Durable Object, for a Worker to export. */
export declare class CovaraKVDurableObject {
  #private;
  /** Only a type: the types of `wrangler types` recognise the class of an object by it. */
  readonly __DURABLE_OBJECT_BRAND: never;
  /** Called by the Workers runtime. */
  constructor(state: DurableObjectStateLike);
  /** Answers a request of a {@link DurableObjectKVStore}. */
  fetch(request: Request): Promise<Response>;
  /** Removes expired keys, and announced names whose socket was never opened. */
  alarm(): Promise<void>;
  /** Stores send nothing on their sockets. */
  webSocketMessage(): void;
  /** A store has closed its socket, or lost it. */
  webSocketClose(socket: WebSocketLike): Promise<void>;
  /** A socket has failed. */
  webSocketError(socket: WebSocketLike): Promise<void>;
}

type Events<E> = {
  [K in keyof E]: unknown[];
};

type Listener<A extends unknown[]> = (...args: A) => unknown;

declare class Emitter<E extends Events<E>> {
  #private;
  /** Calls `listener` at every `event`. */
  on<K extends keyof E>(event: K, listener: Listener<E[K]>): this;
  /** Calls `listener` at the next `event` only. */
  once<K extends keyof E>(event: K, listener: Listener<E[K]>): this;
  /** Removes a listener: the one added last, if it was added more than once. */
  off<K extends keyof E>(event: K, listener: Listener<E[K]>): this;
  /** The same as `on`. */
  addListener<K extends keyof E>(event: K, listener: Listener<E[K]>): this;
  /** The same as `off`. */
  removeListener<K extends keyof E>(event: K, listener: Listener<E[K]>): this;
  /** The number of listeners of `event`. */
  listenerCount(event: keyof E): number;
}

interface Store extends KVStore {}

declare abstract class Store extends Emitter<KVEvents> implements KVStore {
  #private;
  /** The prefix that the store adds to each key, with a colon. Empty for none. */
  readonly prefix: string;
}

/**
 * A store in a Durable Object. Commands of one tick leave in one request. Messages arrive by one WebSocket, which is opened again
 * whenever it is lost, until `disconnect`.
 */
export declare class DurableObjectKVStore extends Store {
  #private;
  /**
   * Takes a stub, or a function that returns one, which is called for each request: Workers forbid to use a stub in another request than
   * its own. Throws `INVALID_ARGUMENT` for an option of a wrong type. Opens no socket.
   */
  constructor(
    stubOrResolver: DurableObjectStubLike | (() => DurableObjectStubLike),
    options?: DurableObjectKVOptions,
  );
}

/**
 * A {@link DurableObjectKVStore} on an object of a namespace, by the name in the options. Throws `CONFIG` if `namespace` is none,
 * `INVALID_ARGUMENT` for an option of a wrong type.
 *
 * @example
 * const kv = createDurableObjectKV(env.COVARA_KV, { prefix: "app" });
 * await kv.set("greeting", "hello");
 * await kv.get("greeting"); // "hello"
 */
export declare function createDurableObjectKV(
  namespace: DurableObjectNamespaceLike,
  options?: DurableObjectKVOptions,
): DurableObjectKVStore;

/** The options of a memory store. */
export interface MemoryKVOptions {
  /**
   * Refuse a key of another type, and calls between `disconnect` and `connect`, as Redis does. False by default: then such a key counts as
   * empty, with one warning, and such a call opens the store again, empty.
   */
  strict?: boolean;
  /** One store of this name for all worker threads of the process. By default each store is its own. */
  shared?: string;
}

/**
 * A store in this process, which needs no server. Usable before `connect`. After `disconnect` it is empty and usable, unless it is strict:
 * then it refuses calls with `CLOSED` until `connect`, as one on Redis does.
 */
export declare class MemoryKVStore extends Store {
  #private;
  /** Throws `INVALID_ARGUMENT` for a prefix or an option of a wrong type. Opens nothing yet. */
  constructor(prefix?: string, options?: MemoryKVOptions);
}

/**
 * A {@link MemoryKVStore}. Throws `INVALID_ARGUMENT` for a prefix or an option of a wrong type.
 *
 * @example
 * const kv = createMemoryKV("app", { strict: true });
 * await kv.sadd("tags", "redis");
 * await kv.get("tags").catch((error) => error.code); // "WRONGTYPE"
 */
export declare function createMemoryKV(prefix?: string, options?: MemoryKVOptions): MemoryKVStore;

/** The configuration of {@link createKV}. */
export interface KVConfig {
  /** The backend. */
  type: "memory" | "redis" | "durable-object";
  /** Added, with a colon, to each key. None by default. */
  prefix?: string | undefined;
  /** The Redis server; required for `type: "redis"`. */
  redis?: RedisConfig | undefined;
  /** The Durable Object; required for `type: "durable-object"`. */
  durableObject?: DurableObjectConfig | undefined;
  /**
   * Memory and Durable Object: refuse a key of another type, as Redis does. Memory: refuse calls between `disconnect` and `connect` too. False
   * by default.
   */
  strict?: boolean | undefined;
  /**
   * Memory: one store of this name for all worker threads of the process. By default each store is its own.
   */
  shared?: string | undefined;
}

/**
 * The address of a Redis server, and the timeouts. Other fields win over `url`. An address that is given, but undefined or empty (`url`,
 * `host`, `path`, `port`, `sentinel` or `cluster`), is `CONFIG` unless another field gives the address.
 */
export interface RedisConfig {
  /**
   * `redis://`, `rediss://`, `valkey://`, `valkeys://` or `unix://`, with user, password and database,
   * percent-encoded. Of its query `db` counts, and for `unix://` also `user` and `pass`; any other is `CONFIG`.
   *
   * `redis+sentinel://user:password@host:26379,host:26379/name/0` leads to the master that Sentinels call `name`; user, password and
   * database are the master's. Of its query `sentinelUsername`, `sentinelPassword` and `db` count. `rediss+sentinel://` has TLS with
   * both the Sentinels and the master.
   */
  url?: string | undefined;
  /** The host; `"127.0.0.1"` by default. */
  host?: string | undefined;
  /** The port; 6379 by default. */
  port?: number | undefined;
  /** A Unix socket in place of host and port. */
  path?: string | undefined;
  /**
   * The user of the ACL, or a function that returns it, as with `password`. Without a password it is `CONFIG`, as the server would use the
   * user `default`.
   */
  username?: string | (() => string | Promise<string>) | undefined;
  /**
   * The password, or a function that returns it, which is called before each connection, also the subscribing one, and each time one is
   * opened again. An attempt fails with `CONNECTION`, and another follows, if the function throws, rejects, returns no string, or takes
   * longer than `connectTimeout`; also if the server refuses the password.
   *
   * @example
   * const kv = await createKV({ type: "redis", redis: { url, username: "default", password: () => token.get() } });
   * await kv.ping(); // "PONG"
   */
  password?: string | (() => string | Promise<string>) | undefined;
  /** The number of the database; 0 by default. */
  db?: number | undefined;
  /**
   * The version of RESP. With 2 there is no HELLO; with 3 a server without HELLO is refused. By default 3, and 2 with a server or proxy
   * that supports only that.
   */
  protocol?: 2 | 3 | undefined;
  /**
   * TLS, with the system's certificate authorities or given ones (PEM). False by default. `CONFIG` if it is false, and `url` is
   * `rediss://` or the like.
   */
  tls?: boolean | RedisTlsConfig | undefined;
  /** The name of the connection in CLIENT LIST. */
  clientName?: string | undefined;
  /**
   * `connect` rejects after so many failed attempts; 3 by default. If it is given, a command that waits for a connection rejects too, after
   * one more: its retries are counted.
   */
  maxRetries?: number | undefined;
  /**
   * A fixed wait between attempts to connect, in milliseconds, 1 at least; by default 50 growing to 2,000, with jitter.
   */
  retryDelay?: number | undefined;
  /**
   * The time for the reply to a command, counted from when there is a connection, in milliseconds; 5,000 by default. Then it rejects with
   * `TIMEOUT`.
   */
  commandTimeout?: number | undefined;
  /**
   * How long a command waits for a connection, from its call on, in milliseconds; 10,000 by default. `Infinity` is allowed, as `maxQueue`
   * bounds the queue. Then it rejects with `TIMEOUT`, and was not run.
   */
  queueTimeout?: number | undefined;
  /** For one attempt to connect, in milliseconds; 3,000 by default. */
  connectTimeout?: number | undefined;
  /** The most commands that may wait for a connection; 100,000 by default. */
  maxQueue?: number | undefined;
  /**
   * The most bytes of a reply: a larger one ends the connection, and the command rejects with `CONNECTION`. 1 GiB by default.
   */
  maxReplySize?: number | undefined;
  /**
   * Which events the callbacks of `subscribe` on `covara:events` get, such as the framework's. `"targeted"`, the default: events of
   * subscriptions whose records this process wrote, each on a channel of its own, which publishers try first. `"filtered"`: the same
   * events, all on the one channel. `"all"`: every event of the fleet. With `covara-kv/register` the variable `COVARA_KV_FANOUT` sets the
   * default.
   */
  fanout?: FanoutMode | undefined;
  /**
   * Sentinels that know where the master is, in place of its address. With `url`, `host`, `port` or `path` beside it it is `CONFIG`.
   *
   * @example
   * const nodes = [{ host: "sentinel-1", port: 26379 }, { host: "sentinel-2", port: 26379 }];
   * const redis = { sentinel: { name: "mymaster", nodes } };
   */
  sentinel?: RedisSentinelConfig | undefined;
  /** A Redis Cluster, in place of one server. */
  cluster?: RedisClusterConfig | undefined;
  /**
   * Which nodes of a cluster take commands that only read keys, but for SCAN and those in a transaction. `"primary"`, the default: the
   * masters. `"replica"`: a replica of the slot, one for each store and master; while there is none they wait, at most for `queueTimeout`,
   * and reject with `CONNECTION`. `"prefer-replica"`: a replica where one is ready, else the master. A replica is behind its master: a read
   * may give an older value than the write before it. One server takes all reads itself; with Sentinels it is `CONFIG`.
   *
   * @example
   * const redis = { cluster: { nodes: [{ host: "10.0.0.1", port: 6379 }] }, readFrom: "prefer-replica" };
   */
  readFrom?: "primary" | "replica" | "prefer-replica" | undefined;
}

interface RedisClusterConfig {
  /** Some of its nodes; the others are found through them. */
  nodes: RedisNode[];
  /**
   * Where the addresses that nodes tell of each other lead from here, as behind a NAT: by `"host:port"`. An address that is not
   * there is taken as it is told. Or a function that is given such an address before each connection, and returns where it leads, or undefined
   * if that is where it says. An attempt to connect fails with `CONNECTION`, and another follows, if the function throws, rejects, returns anything
   * else, or takes longer than `connectTimeout`.
   *
   * @example
   * const addressMap = { "10.0.0.1:6379": { host: "127.0.0.1", port: 7001 } };
   *
   * @example
   * const nodes = [{ host: "localhost", port: 7_000 }];
   * const kv = createRedisKV({ cluster: { nodes, addressMap: ({ port }) => ({ host: "localhost", port: port + 600 }) } });
   */
  addressMap?:
    | Record<string, RedisNode>
    | ((node: RedisNode) => RedisNode | undefined | Promise<RedisNode | undefined>)
    | undefined;
  /**
   * The name in the certificates of all nodes, or a function of host and port: as `tls.servername`, in place of it. With `tls` only.
   *
   * @example
   * const redis = { cluster: { nodes: [{ host: "10.0.0.1", port: 6379 }], servername: "redis.example.com" }, tls: true };
   */
  servername?: string | ((node: RedisNode) => string | Promise<string>) | undefined;
  /**
   * What becomes of a transaction (`multi`) whose keys are in several slots. By default it is refused with `CROSSSLOT`. With `"split"` it
   * is run as one transaction for each slot: each of them is atomic, all together are not, and others may see some of them done. `exec`
   * resolves to the results in the order of the calls. If a part fails, `exec` rejects with an error that says in which slots the calls were
   * run, and whose `results` has what the others gave. Scripts, and commands with two keys in two slots, are refused all the same.
   *
   * @example
   * const redis = { cluster: { nodes: [{ host: "10.0.0.1", port: 6379 }], crossSlot: "split" } };
   */
  crossSlot?: "split" | undefined;
}

/** See {@link RedisConfig}'s `fanout`. */
export type FanoutMode = "targeted" | "filtered" | "all";

/** Certificates and checks of a TLS connection. */
export interface RedisTlsConfig {
  /**
   * The certificate authority of the server, in PEM, or the server's certificate itself. By default the authorities of the system and of
   * `NODE_EXTRA_CA_CERTS`, and those of Node.js where the system has none.
   */
  ca?: string | undefined;
  /** The client's certificate, in PEM. */
  cert?: string | undefined;
  /** The client's private key, in PEM. */
  key?: string | undefined;
  /**
   * The name in the certificate of the server; the host that is connected to by default. A string counts for all nodes of a cluster, and all
   * masters of Sentinels. Or a function that is given host and port before each connection, as the nodes of a cluster or Sentinels tell them, and
   * returns the name. An attempt to connect fails with `CONNECTION`, and another follows, if it throws, rejects, returns no name, or takes longer
   * than `connectTimeout`.
   *
   * @example
   * const nodes = [{ host: "redis-1", port: 6379 }];
   * const kv = createRedisKV({ cluster: { nodes }, tls: { servername: ({ host }) => `${host}.redis.example` } });
   */
  servername?: string | ((node: RedisNode) => string | Promise<string>) | undefined;
  /** False accepts any certificate. True by default. */
  rejectUnauthorized?: boolean | undefined;
}

interface RedisSentinelConfig {
  /** What the Sentinels call the master: the name after `sentinel monitor` in their configuration. */
  name: string;
  /**
   * One Sentinel at least. All that are given are watched, by one connection each for the process, and the others that they name, as long as
   * those answer.
   */
  nodes: RedisNode[];
  /** The Sentinels' user, or a function that gives it, as `username` of {@link RedisConfig}. The master's own stands there. */
  username?: string | (() => string | Promise<string>) | undefined;
  /** The Sentinels' password, or a function that gives it, as `password` of {@link RedisConfig}. None by default. */
  password?: string | (() => string | Promise<string>) | undefined;
  /** TLS with the Sentinels; by default as with the master. */
  tls?: boolean | RedisTlsConfig | undefined;
}

/** Where one server is. */
export interface RedisNode {
  /** The host. */
  host: string;
  /** The port. */
  port: number;
}

/** The Durable Object that holds the store. */
export interface DurableObjectConfig {
  /** The binding of its class, such as `env.COVARA_KV`. */
  namespace: DurableObjectNamespaceLike;
  /** The object's name; `"covara-kv"` by default. */
  name?: string | undefined;
}

/**
 * A client of ioredis or node-redis, or a similar object. Its options are read, and a connection with the same options is opened.
 */
export interface RedisClientLike {
  /** The address, the credentials and the timeouts, in the form of ioredis (`host`, …), its Cluster (`redisOptions`, …) or node-redis (`socket`, …). */
  readonly options:
    | {
        host?: string | undefined;
        port?: number | undefined;
        username?: string | null | undefined;
        password?: string | null | undefined;
        db?: number | undefined;
        tls?: object | boolean | undefined;
        path?: string | null | undefined;
        connectionName?: string | null | undefined;
        keyPrefix?: string | Uint8Array | undefined;
        connectTimeout?: number | undefined;
        commandTimeout?: number | undefined;
        sentinels?: readonly object[] | null | undefined;
        socket?: object | undefined;
        database?: number | undefined;
        name?: string | null | undefined;
        redisOptions?: object | undefined;
      }
    | undefined;
}

/**
 * A store on a Redis server: one connection for commands, and a second one for subscriptions. It connects again whenever it loses the
 * server, until `disconnect`.
 */
export declare class RedisKVStore extends Store {
  #private;
  /**
   * Takes a configuration, or a client of ioredis or node-redis, whose options are read. Throws `INVALID_ARGUMENT` for a field of a wrong
   * type, and `CONFIG` for a wrong address or certificate. An option of a client that cannot be taken over is `CONFIG` too, if it may
   * change the server or the trust in it. Opens no connection.
   */
  constructor(client: RedisClientLike | RedisConfig, prefix?: string);
}

/**
 * A {@link RedisKVStore}. Throws what its constructor throws.
 *
 * @example
 * // A client of ioredis gives its options.
 * const client = new Redis(url, { lazyConnect: true });
 * const kv = createRedisKV(client, "app");
 * await kv.ping(); // "PONG"
 */
export declare function createRedisKV(client: RedisClientLike | RedisConfig, prefix?: string): RedisKVStore;

/**
 * A {@link RedisKVStore} from a configuration. Throws what its constructor throws.
 *
 * @example
 * const kv = createRedisKVFromConfig({ url, commandTimeout: 2_000 }, "app");
 * await kv.ping(); // "PONG"
 */
export declare function createRedisKVFromConfig(config: RedisConfig, prefix?: string): RedisKVStore;

/**
 * Builds the store that `config.type` names, and connects it. Before anything is opened, rejects with `CONFIG` if the type is unknown, or
 * what the type requires is missing, and with `INVALID_ARGUMENT` if a field has a wrong type. Then rejects as `connect` does.
 *
 * Only an object's own fields count. A field that is unknown, or that the type does not use, has no effect, and a process
 * warning (`COVARA_KV_CONFIG`) names it.
 *
 * @example
 * const kv = await createKV({ type: "memory", prefix: "app" });
 * await kv.set("greeting", "hello");
 * await kv.get("greeting"); // "hello"
 */
export declare function createKV(config: KVConfig): Promise<KVStore>;

/**
 * {@link createKV}, then {@link setGlobalKV}; for every type but `memory` also
 * {@link initializeEventSubscription}.
 *
 * @example
 * const kv = await initializeKV({ type: "redis", redis: { url } });
 * getGlobalKV() === kv; // true
 */
export declare function initializeKV(config: KVConfig): Promise<KVStore>;

/** The backend of an event; `fanout` is the fan-out of the process. */
export type DiagnosticsBackend = "memory" | "redis" | "fanout";

/** A running command: one object for all of its messages. It has neither keys nor values. */
export interface CommandMessage {
  /** The Redis command; `EXEC` for a transaction. */
  readonly command: string;
  readonly backend: DiagnosticsBackend;
  /** The store's prefix; empty for none. */
  readonly prefix: string;
  /** Its error, from `covara-kv:command:error` on. */
  error?: unknown;
}

/** The messages of each channel of `node:diagnostics_channel`. */
export interface DiagnosticsMessages {
  /** A command was called. */
  "covara-kv:command:start": CommandMessage;
  /** A command failed. `end` follows. */
  "covara-kv:command:error": CommandMessage;
  /** A command has ended. */
  "covara-kv:command:end": CommandMessage;
  /** A connection was lost; attempt number `attempt` to connect again follows in `delay` milliseconds. */
  "covara-kv:reconnecting": {
    backend: DiagnosticsBackend;
  } & KVEvents["reconnecting"][0];
  /** Messages may have been missed. */
  "covara-kv:gap": {
    backend: DiagnosticsBackend;
  } & Gap;
  /** A call failed that the framework does not await: see `guardUnhandledRejections`. */
  "covara-kv:unhandled": {
    readonly backend: DiagnosticsBackend;
    readonly error: KVError;
  };
}

/** Delivers an event of a subscription, as JSON. */
export type DeliverEvent = (event: string, subscriptionId: string) => unknown;

/** Called with the rows that have changed, where they are known. */
export type AggregateWatcher = (changed?: unknown[]) => unknown;

/** Counts for the callbacks of `subscribe` on `covara:events` of a Redis store, such as the framework's. */
export interface StreamStats {
  /** The address of the server. */
  server: string;
  /** The option `redis.fanout`. */
  fanout: FanoutMode;
  /**
   * Which events are delivered. `"own"`: those for streams of this process. Everything, because `redis.fanout` is `"all"`, because
   * this process has not created a record of a subscription yet (`"no-record"`), or because it has written one of an unknown form
   * (`"unreadable-record"`).
   */
  delivers: "own" | "all" | "no-record" | "unreadable-record";
  /** The number of subscriptions whose records this process wrote. */
  records: number;
  /** The number of them with a channel of their own. */
  channels: number;
  /** Whether the server refused such channels (`NOPERM`): then events arrive by the channel of the fleet. */
  refused: boolean;
  /** The number of messages that the callbacks got. */
  delivered: number;
  /** The number of messages for streams elsewhere, dropped before the JavaScript thread. */
  notLocal: number;
}

/** Counts of a process: its registrations, and its events since it started. */
export interface FanoutStats {
  /** Open streams. */
  handlers: number;
  /** Subscriptions of handlers. */
  subscriptions: number;
  /** Aggregate watchers. */
  watchers: number;
  /** Messages received. */
  seen: number;
  /** Events for handlers of this process. */
  delivered: number;
  /** Events for handlers of other processes, dropped before the JavaScript thread. */
  notLocal: number;
  /** Malformed messages. */
  malformed: number;
  /** Events that a full queue dropped. An invalidation took their place. */
  overflowed: number;
  /** Spans of time in which messages may have been missed. */
  gaps: number;
  /** Stores whose `subscribe` was called for `covara:events`. */
  streams: StreamStats[];
}

/** An event for a subscription, wherever its stream is open. */
export interface FanoutEvent {
  type: "added" | "changed" | "removed" | "invalidate";
  /** Of the form `<uuid>:<resource>`. */
  subscriptionId: string;
  /** The event for the stream: any JSON value. */
  event: unknown;
}

/** The options of {@link registerHandler}. */
export interface HandlerOptions {
  /** Unregisters the handler when it is aborted. */
  signal?: AbortSignal;
}

/**
 * Delivers events of other instances to the handlers of this process, through the global store. The fan-out follows when that store
 * is replaced. May be called again: resolves once the channels that handlers and watchers need are live. Without handlers and
 * watchers nothing is subscribed.
 *
 * Rejects with `CONFIG` while there is no store; with the error of the server, such as `NOPERM`, or `TIMEOUT`, if a channel cannot
 * be subscribed. It is tried again nevertheless.
 *
 * @example
 * setGlobalKV(await createKV({ type: "redis", redis: { url } }));
 * await initializeEventSubscription();
 */
export declare function initializeEventSubscription(): Promise<void>;

/**
 * Registers an open stream. `deliver` gets the events of the subscriptions that are tracked for it, each as JSON, in order. After
 * messages may have been missed, it gets `{"type":"invalidate","reason":"fanout-gap"}`. In place of events that a full queue dropped,
 * it gets the reason `overflow`. At both the stream must read its state again. An error of `deliver` becomes a warning.
 *
 * Replaces a handler with this id, in any worker thread, and gets its subscriptions. Throws `INVALID_ARGUMENT`.
 *
 * @example
 * const heard: string[] = [];
 * registerHandler("stream-1", (event) => heard.push(event));
 * trackSubscription("stream-1", "1f0c:posts");
 * await publishEvent({ type: "added", subscriptionId: "1f0c:posts", event: { id: 7 } }); // true
 * heard; // ['{"id":7}']
 */
export declare function registerHandler(
  handlerId: string,
  deliver: DeliverEvent,
  options?: HandlerOptions,
): void;

/**
 * Removes a handler with all its subscriptions. Does nothing if there is none. Throws `INVALID_ARGUMENT`.
 *
 * @example
 * registerHandler("stream-1", () => {});
 * unregisterHandler("stream-1");
 * getActiveHandlerCount(); // 0
 */
export declare function unregisterHandler(handlerId: string): void;

/**
 * Delivers the events of a subscription to a handler of this process. A subscription belongs to one handler: another handler loses it,
 * and the first time in a process a warning (`COVARA_KV_SUBSCRIPTION`) reports that. Throws `INVALID_ARGUMENT` if there is no such
 * handler.
 *
 * @example
 * registerHandler("stream-1", () => {});
 * trackSubscription("stream-1", "1f0c:posts");
 * getFanoutStats().subscriptions; // 1
 */
export declare function trackSubscription(handlerId: string, subscriptionId: string): void;

/**
 * Ends the delivery that {@link trackSubscription} began. Throws `INVALID_ARGUMENT`.
 *
 * @example
 * registerHandler("stream-1", () => {});
 * trackSubscription("stream-1", "1f0c:posts");
 * untrackSubscription("1f0c:posts");
 * getFanoutStats().subscriptions; // 0
 */
export declare function untrackSubscription(subscriptionId: string): void;

/**
 * Sends an event to the handler of its subscription: directly if that is in this process, in any worker thread, else by PUBLISH.
 * Resolves to whether it reached the handler, or an instance that may have it. Rejects with `INVALID_ARGUMENT`, and with `CONFIG` if
 * it must be published and there is no store. Else rejects with the error of PUBLISH.
 *
 * @example
 * setGlobalKV(kv);
 * await publishEvent({ type: "changed", subscriptionId: "1f0c:posts", event: { id: 7 } }); // false
 */
export declare function publishEvent(message: FanoutEvent): Promise<boolean>;

/**
 * Calls `watcher` whenever a resource has changed: with the rows for a notification in this thread, else without them, also after
 * changes may have been missed. Returns a function that ends it. Throws `INVALID_ARGUMENT`.
 *
 * @example
 * setGlobalKV(kv);
 * const changes: unknown[] = [];
 * const stop = registerAggregateWatcher("posts", (changed) => changes.push(changed));
 * await notifyAggregateWatchers("posts", [{ id: 7 }]);
 * stop();
 * changes; // [[{ id: 7 }]]
 */
export declare function registerAggregateWatcher(resource: string, watcher: AggregateWatcher): () => void;

/**
 * Notifies the watchers of a resource of a change: those of this thread at once, with the rows, the others by PUBLISH. Resolves when
 * that is done. Rejects with `INVALID_ARGUMENT`; with `CONFIG` if there is no store; with the error of PUBLISH. The watchers of this
 * thread were called nevertheless.
 *
 * @example
 * setGlobalKV(kv);
 * let calls = 0;
 * registerAggregateWatcher("posts", () => {
 *   calls += 1;
 * });
 * await notifyAggregateWatchers("posts");
 * calls; // 1
 */
export declare function notifyAggregateWatchers(resource: string, changed?: unknown[]): Promise<void>;

/**
 * The number of handlers of this process, in all threads.
 *
 * @example
 * registerHandler("stream-1", () => {});
 * getActiveHandlerCount(); // 1
 */
export declare function getActiveHandlerCount(): number;

/**
 * The number of watchers of this process, of one resource or of all. Throws `INVALID_ARGUMENT`.
 *
 * @example
 * registerAggregateWatcher("posts", () => {});
 * getAggregateWatcherCount("posts"); // 1
 * getAggregateWatcherCount("users"); // 0
 */
export declare function getAggregateWatcherCount(resource?: string): number;

/**
 * The counts of the fan-out of this process, in all threads.
 *
 * @example
 * registerHandler("stream-1", () => {});
 * const { handlers, subscriptions } = getFanoutStats();
 * [handlers, subscriptions]; // [1, 0]
 */
export declare function getFanoutStats(): FanoutStats;

/**
 * Makes `kv` the store of the process: any object, also one of a test that has only what the test calls. Throws `INVALID_ARGUMENT` if it is
 * none.
 *
 * @example
 * setGlobalKV(createMemoryKV());
 * await getGlobalKV().ping(); // "PONG"
 */
export declare function setGlobalKV(kv: KVAdapter): void;

/**
 * The store of the process. Throws while there is none. Its type is that of this package's stores: one of an application's own may have less.
 *
 * @example
 * setGlobalKV(kv);
 * getGlobalKV() === kv; // true
 */
export declare function getGlobalKV(): KVStore;

/**
 * Whether the process has a store.
 *
 * @example
 * hasGlobalKV(); // false
 * setGlobalKV(kv);
 * hasGlobalKV(); // true
 */
export declare function hasGlobalKV(): boolean;

/**
 * Forgets the store of the process, without disconnecting it.
 *
 * @example
 * setGlobalKV(kv);
 * clearGlobalKV();
 * hasGlobalKV(); // false
 */
export declare function clearGlobalKV(): void;

/**
 * Keeps an outage from ending the process. Node.js ends a process for an unhandled rejection, and the framework does not await some
 * calls whose loss is harmless. These are calls on the changelog (`covara:changelog:*`) and on OIDC clients (`oidc:clients:*`), and
 * `subscribe` and `unsubscribe` of `covara:events` and `covara:aggregate`.
 *
 * From now on such a call that rejects with `CONNECTION`, `TIMEOUT` or `QUEUE_FULL` goes to the `error` event of its store. Without
 * listeners it goes to a process warning (`COVARA_KV_UNHANDLED`, at most one a minute, with the count). It always goes to the channel
 * `covara-kv:unhandled` of `node:diagnostics_channel`. Any other rejection, and every mode of `--unhandled-rejections`, stays with
 * Node.js. `covara-kv/register` calls this. Each thread has its own guard.
 *
 * Returns a function that undoes this call. The guard has no effect in a Worker, which no rejection ends. It has none in Bun and Deno
 * either, which do not emit these events through `process.emit`.
 *
 * @example
 * // The framework's store.
 * setGlobalKV(await createKV({ type: "redis", redis: { url } }));
 * guardUnhandledRejections();
 */
export declare function guardUnhandledRejections(): () => void;

export {};
