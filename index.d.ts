// Generated from ts/ by `npm run build:ts`.

/// <reference lib="esnext.disposable" />

/** Not connected yet, usable, connecting again, or disconnected. */
export type KVStatus = "connecting" | "ready" | "reconnecting" | "closed";

/** A span of time in which messages may have been missed. */
export interface Gap {
  /** When the last message before the gap can have come, in milliseconds since the Unix epoch. */
  from: number;
  /** From when on messages come again, in milliseconds since the Unix epoch. */
  to: number;
  /** The connection was lost, or messages came faster than they were taken. */
  reason: "connection" | "overflow";
  /** Redis: the server whose connection was lost or left, as `host:port`. */
  node?: string;
}

/** What a connection is for. */
export type ConnectionRole = "commands" | "subscriptions";

/** How one connection of a store does. Times are in milliseconds since the Unix epoch. */
export interface ConnectionHealth {
  readonly connection: ConnectionRole;
  /** Redis: the server that it leads to, or led to last, as `host:port` or a path; absent if it never had one. */
  readonly node?: string;
  /** `reconnecting` also while it leads to what was a master and is a replica now: then reads go on, and writes wait. */
  readonly state: "connecting" | "ready" | "reconnecting";
  /** Since when there is a connection, or none. */
  readonly since: number;
  /** When the server last sent anything; absent if it never has. */
  readonly lastHeard?: number;
  /** How many commands were sent and not answered. */
  readonly inFlight: number;
  /** How many commands wait to be sent. */
  readonly waiting: number;
  /** How many attempts to connect have failed since. */
  readonly attempt: number;
  /** Why it is not `ready`, where that is known. */
  readonly cause?: Error;
}

/** How a store does. */
export interface KVHealth {
  readonly status: KVStatus;
  /** None for a memory store; for a Durable Object one for each socket of its subscriptions. */
  readonly connections: readonly ConnectionHealth[];
}

/** The events of a store, with what their listeners are called with. */
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

/** How long what {@link KVStore.setnx} sets lasts; without end by default. */
export type ExpiryOptions = Pick<SetOptions, "ex" | "px">;

/** What {@link KVStore.zrangebyscore} resolves to. */
export interface ZRangeOptions {
  /** Skip `offset` members, then take `count`; all that follow if `count` is negative. */
  limit?: {
    offset: number;
    count: number;
  };
  /** Each member followed by its score, as a string. False by default. */
  withScores?: boolean;
}

/** Which keys {@link KVStore.scan} looks at. */
export interface ScanOptions {
  /** Only keys that match this glob. */
  match?: string;
  /** About how many keys to look at in one call: a positive integer, 10 by default. */
  count?: number;
}

/** A page of {@link KVStore.scan}. */
export interface ScanResult {
  /** What to give to the next call; `"0"` after the last page. */
  cursor: string;
  /** The keys, without the store's prefix. A page may be empty before the last. */
  keys: string[];
}

type OneOrMany = string | readonly string[];

/**
 * Called with a message and the channel it was published to. An error, or a rejected Promise, goes to the
 * `error` event.
 */
export type MessageCallback = (message: string, channel: string) => void;

/** What {@link KVStore.listen} takes beside channels and a callback. */
export interface ListenOptions {
  /** Globs of channels to listen to as well. */
  patterns?: readonly string[];
  /** Called after messages may have been missed: time to read the state again. */
  onGap?: (gap: Gap) => unknown;
}

/** What takes one callback away from its channels. */
export interface ScopedSubscription {
  /** Takes away this callback and no other. May be called twice. */
  close(): Promise<void>;
}

/** A {@link ScopedSubscription} that `await using` closes. */
export interface Subscription extends ScopedSubscription {
  /** The same as `close`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * A store with Redis's commands.
 *
 * Methods that return a Promise never throw: they reject with a {@link KVError}. Each may reject with the
 * codes `INVALID_ARGUMENT` (then nothing was sent), `CLOSED` (after `disconnect`) and, over a network,
 * `CONNECTION`, `TIMEOUT` and `QUEUE_FULL`; a method that names a kind of value, also with `WRONGTYPE` where
 * the key holds another (memory and Durable Object: with `strict` only; else the key counts as empty, and one
 * warning is given). Further errors stand at the method. An argument too many is `INVALID_ARGUMENT`, unless it
 * is undefined. A reply that is no reply of the command is `CONNECTION`.
 *
 * Keys, fields, members and values are strings of at most 512 MB of UTF-8. A store with a prefix puts it, and
 * a colon, before every key.
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
   * Ends all subscriptions and closes the store: what follows rejects with `CLOSED`, until `connect`. Empties
   * a memory store, which goes on at the next call unless it is strict.
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
   * How each connection does: its state and since when, when the server was last heard, what waits. Asks no server, connects nothing,
   * and never rejects.
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
   * Takes a listener away: the one added last, if it was added more than once.
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
   * How many listeners `event` has.
   *
   * @example
   * kv.listenerCount("ready"); // 0
   */
  listenerCount(event: keyof KVEvents): number;
  /**
   * Asks whether the store answers. Resolves to `"PONG"`. {@link https://redis.io/commands/ping}
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
   * Sets `key` to a string, whatever it held, and takes away its expiry unless `options` give one. Whether
   * `nx` and `xx` let it happen is not told: see {@link KVStore.setnx}. Errors: `ERR` for an expiry that is
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
   * Has `key` deleted in `seconds`, an integer; at once if that is not positive. False if there is no such
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
   * The keys that match a glob, in no order. Looks at every key: see {@link KVStore.scan}.
   * {@link https://redis.io/commands/keys}
   *
   * @example
   * await kv.set("user:1", "ada");
   * await kv.set("session:1", "…");
   * await kv.keys("user:*"); // ["user:1"]
   */
  keys(pattern: string): Promise<string[]>;
  /**
   * A page of the keys. Start with the cursor `"0"`, go on with the one returned, until that is `"0"`. A key
   * that is there all the while is seen; one may be seen twice. Errors: `ERR` for a cursor or a count that is
   * none. {@link https://redis.io/commands/scan}
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
   * Puts values before the head of a list, one after the other. Its length then. Errors: `ERR` for no values.
   * {@link https://redis.io/commands/lpush}
   *
   * @example
   * await kv.lpush("log", "first", "second"); // 2
   * await kv.lrange("log", 0, -1); // ["second", "first"]
   */
  lpush(key: string, ...values: OneOrMany[]): Promise<number>;
  /**
   * Puts values behind the tail of a list. Its length then. Errors: `ERR` for no values.
   * {@link https://redis.io/commands/rpush}
   *
   * @example
   * await kv.rpush("queue", "first", "second"); // 2
   * await kv.lrange("queue", 0, -1); // ["first", "second"]
   */
  rpush(key: string, ...values: OneOrMany[]): Promise<number>;
  /**
   * Takes the head off a list; null if there is none. {@link https://redis.io/commands/lpop}
   *
   * @example
   * await kv.rpush("queue", "first", "second");
   * await kv.lpop("queue"); // "first"
   */
  lpop(key: string): Promise<string | null>;
  /**
   * Takes the tail off a list; null if there is none. {@link https://redis.io/commands/rpop}
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
   * Sends a message to a channel, on which there is no prefix. How many subscribers it reached.
   * {@link https://redis.io/commands/publish}
   *
   * @example
   * await kv.publish("news", "hello"); // 0
   * await kv.subscribe("news", () => {});
   * await kv.publish("news", "hello"); // 1
   */
  publish(channel: string, message: string): Promise<number>;
  /**
   * Calls `callback` for each message on a channel. Resolves once live. Nothing changes if the callback is
   * there already. {@link https://redis.io/commands/subscribe}
   *
   * @example
   * const heard: string[] = [];
   * await kv.subscribe("news", (message, channel) => heard.push(`${channel}: ${message}`));
   * await kv.publish("news", "hello");
   * heard; // ["news: hello"]
   */
  subscribe(channel: string, callback: MessageCallback): Promise<void>;
  /**
   * Takes away every callback of a channel, whoever it belongs to: see {@link KVStore.listen}.
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
   * Takes away every callback of a pattern, whoever it belongs to: see {@link KVStore.listen}.
   * {@link https://redis.io/commands/punsubscribe}
   *
   * @example
   * await kv.psubscribe("news.*", () => {});
   * await kv.punsubscribe("news.*");
   * await kv.publish("news.local", "hello"); // 0
   */
  punsubscribe(pattern: string): Promise<void>;
  /**
   * Like {@link KVStore.listen}, where a callback for each stream costs little: absent on Redis.
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
   * Resolves, once live, to a handle that takes away this callback and no other.
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
 * A {@link KVStore} as far as the framework knows it: what this package adds is optional, so that a class of an application's own, and a test's
 * stand-in, need not have it.
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
   * Queues SET. Its result: `"OK"`, or null if `nx` or `xx` did not let it happen.
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
   * Runs what was queued, and empties the queue. The results, in order; `[]` for an empty queue. If a command
   * fails the others run all the same, and it rejects with the first failure, which has `index` and
   * `results`. After a wrong argument nothing runs: it rejects with that failure, which has `index`.
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

/** A transaction of a {@link KVAdapter}: what this package adds is optional. */
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
  | "topology"
  | "scripts"
  | "in-worker"
  | "node-version"
  | "unix-socket";

/** What a {@link KVError} carries beside its code and message: see there. */
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
}

/**
 * Every failure of a store.
 *
 * What the server, or the memory store in its place, answers has Redis's text as its message, the same on
 * every backend. Messages of covara-kv's own name the method and the argument, and never hold a key or a
 * value. `instanceof` knows the errors of every copy of the package, and of every realm.
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
  /** What to do about it, where that can be told; not in a Worker. Its text may change: decide by `code` and `reason`. */
  readonly hint?: string;
  /** The Redis command that failed, where it was one. */
  readonly command?: string;
  /** What led to the error, where something did. */
  readonly cause?: unknown;
  /** From `exec`: the position in the transaction of the command that failed, counted from 0. */
  readonly index?: number;
  /** From `exec`: the result of every command, a KVError for one that failed. Absent if nothing was run. */
  readonly results?: unknown[];
  /** An error with a code; for stores of your own. */
  constructor(code: string, message: string, details?: KVErrorDetails);
}

/** What {@link createKV} builds. */
export interface KVConfig {
  /** The backend. */
  type: "memory" | "redis" | "durable-object";
  /** Put, with a colon, before every key. None by default. */
  prefix?: string | undefined;
  /** Where Redis is; required for `type: "redis"`. */
  redis?: RedisConfig | undefined;
  /** Where the Durable Object is; required for `type: "durable-object"`. */
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
 * Where Redis is, and how patient to be with it. Fields beside `url` win over what it says. `url`, `host`, `path` or
 * `port` given as undefined is `CONFIG` where nothing else says where the server is.
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
   * The user of the ACL, or a function that gives it, as with `password`. Without a password it is `CONFIG`: the server would take us
   * for `default`.
   */
  username?: string | (() => string | Promise<string>) | undefined;
  /**
   * The password, or a function that gives it: it is asked before each connection, the subscribing one too, and each time one is
   * opened again. An attempt whose function throws, rejects, gives no string, or none within `connectTimeout`, has failed with
   * `CONNECTION`, and there will be another; so it is when the server refuses what it gave.
   *
   * @example
   * const kv = await createKV({ type: "redis", redis: { url, username: "default", password: () => token.get() } });
   * await kv.ping(); // "PONG"
   */
  password?: string | (() => string | Promise<string>) | undefined;
  /** The number of the database; 0 by default. */
  db?: number | undefined;
  /**
   * The version of RESP: 2 does without HELLO, with 3 a server that refuses HELLO is refused too. By default 3, and 2 with a
   * server or proxy that knows no other.
   */
  protocol?: 2 | 3 | undefined;
  /** TLS, with the system's authorities or those given (PEM). False by default. */
  tls?: boolean | RedisTlsConfig | undefined;
  /** The connection's name in CLIENT LIST. */
  clientName?: string | undefined;
  /**
   * How many failed attempts `connect` makes before it rejects; 3 by default. Given explicitly, also how many a command
   * outlives that waits for a connection.
   */
  maxRetries?: number | undefined;
  /**
   * A fixed wait between attempts to connect, in milliseconds; by default 50 growing to 2,000, with jitter.
   */
  retryDelay?: number | undefined;
  /**
   * From when there is a connection for a command to its reply, in milliseconds; 5,000 by default. Then it rejects with `TIMEOUT`.
   */
  commandTimeout?: number | undefined;
  /**
   * How long a command that was not sent waits for a connection, from its call on, in milliseconds; 10,000 by default. `Infinity`
   * is allowed: `maxQueue` bounds it. Then it rejects with `TIMEOUT`, and has not been run.
   */
  queueTimeout?: number | undefined;
  /** For one attempt to connect, in milliseconds; 3,000 by default. */
  connectTimeout?: number | undefined;
  /** How many commands may wait for a connection; 100,000 by default. */
  maxQueue?: number | undefined;
  /**
   * How many bytes a reply may have: a larger one ends the connection, and the command rejects with `CONNECTION`. 1 GiB by default.
   */
  maxReplySize?: number | undefined;
  /**
   * What a callback hears that was given to `subscribe` on `covara:events`, as the framework does. `"targeted"`, the default: events of
   * subscriptions whose records this process wrote, each by a channel of its own, where publishers go first. `"filtered"`: the same
   * events, all by the one channel. `"all"`: every event of the fleet. With `covara-kv/register` the variable `COVARA_KV_FANOUT`
   * gives the default.
   */
  fanout?: FanoutMode | undefined;
  /**
   * Sentinels that know where the master is, in place of its address. With `url`, `host`, `port` or `path` beside it it is `CONFIG`.
   *
   * @example
   * const nodes = [{ host: "sentinel-1", port: 26379 }, { host: "sentinel-2", port: 26379 }];
   * const kv = await createKV({ type: "redis", redis: { sentinel: { name: "mymaster", nodes } } });
   */
  sentinel?: RedisSentinelConfig | undefined;
  /** Some nodes of a cluster; the others are found through them. */
  cluster?:
    | {
        nodes: RedisNode[];
      }
    | undefined;
}

/** See {@link RedisConfig}'s `fanout`. */
export type FanoutMode = "targeted" | "filtered" | "all";

/** Certificates and checks of a TLS connection. */
export interface RedisTlsConfig {
  /**
   * The authority that the server's certificate is checked against, in PEM, or that certificate itself. By default the system's
   * authorities and those in `NODE_EXTRA_CA_CERTS` count, and Node.js's own where the system has none.
   */
  ca?: string | undefined;
  /** The client's certificate, in PEM. */
  cert?: string | undefined;
  /** The client's private key, in PEM. */
  key?: string | undefined;
  /** The name that the server's certificate must have; the host by default. */
  servername?: string | undefined;
  /** False takes any certificate. True by default. */
  rejectUnauthorized?: boolean | undefined;
}

interface RedisSentinelConfig {
  /** What the Sentinels call the master: the name after `sentinel monitor` in their configuration. */
  name: string;
  /** One Sentinel at least. All that are given are watched, by one connection each for the process. */
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

/** Which Durable Object holds the store. */
export interface DurableObjectConfig {
  /** The binding of the class, such as `env.COVARA_KV`. */
  namespace: DurableObjectNamespaceLike;
  /** The object's name; `"covara-kv"` by default. */
  name?: string | undefined;
}

/** Takes an event, as JSON, of a subscription. */
export type DeliverEvent = (event: string, subscriptionId: string) => unknown;

/** Takes the rows that have changed, where they are known. */
export type AggregateWatcher = (changed?: unknown[]) => unknown;

/** What the callbacks of a Redis store hear that were given to `subscribe` on `covara:events`, as the framework does. */
export interface StreamStats {
  /** Where the server is. */
  server: string;
  /** What `redis.fanout` says. */
  fanout: FanoutMode;
  /**
   * What is delivered, and why: `"own"`, events for streams of this process; everything because `redis.fanout` is `"all"`,
   * because this process has created no record of a subscription yet (`"no-record"`), or because it has written one that was not
   * understood (`"unreadable-record"`).
   */
  delivers: "own" | "all" | "no-record" | "unreadable-record";
  /** Subscriptions whose records this process wrote to the server. */
  records: number;
  /** Those of them that have a channel of their own. */
  channels: number;
  /** Whether the server refused such channels (`NOPERM`), so that events come by the fleet's. */
  refused: boolean;
  /** Messages that were handed to the callbacks. */
  delivered: number;
  /** Messages that were for no stream here, which ended off the JavaScript thread. */
  notLocal: number;
}

/** Counts of a process: what it has, and what has happened since it began. */
export interface FanoutStats {
  /** Open streams. */
  handlers: number;
  /** Subscriptions of handlers. */
  subscriptions: number;
  /** Aggregate watchers. */
  watchers: number;
  /** Messages that came in. */
  seen: number;
  /** Events that went to handlers of this process. */
  delivered: number;
  /** Events for handlers of other processes, which ended off the JavaScript thread. */
  notLocal: number;
  /** Messages that were none. */
  malformed: number;
  /** Events that were dropped for want of room, and an invalidation given in their place. */
  overflowed: number;
  /** Times in which messages may have been missed. */
  gaps: number;
  /** Stores whose `subscribe` was called for `covara:events`. */
  streams: StreamStats[];
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
  /** What requests to an object go through. */
  get(id: unknown): DurableObjectStubLike;
}

/** What requests to one Durable Object go through. */
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

/** Which object holds the store, and how to get back to it. */
export interface DurableObjectKVOptions {
  /** The object's name; `"covara-kv"` by default. */
  name?: string;
  /** Put, with a colon, before every key. None by default. */
  prefix?: string;
  /** Refuse a key of another type, as Redis does. False by default: then it counts as empty. */
  strict?: boolean;
  /**
   * How long to wait before attempt number `attempt`, from 1, to open a lost socket again, in ms; by default
   * 250, doubling up to 5,000.
   */
  reconnectDelay?: (attempt: number) => number;
}

/** What a Durable Object is constructed with. */
export interface DurableObjectStateLike {
  /** What the object keeps. */
  storage: DurableObjectStorageLike;
  /** Takes a WebSocket that outlives the object's sleep. */
  acceptWebSocket(ws: WebSocketLike, tags?: string[]): void;
  /** The WebSockets that were taken, or those with a tag. */
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
  /** Takes the client's end of a connection in a Worker. */
  accept?(): void;
  /** Calls `handler` at every message, or at the end. */
  addEventListener?(type: "message" | "close", handler: (event: { data?: unknown }) => void): void;
  /** Keeps a value with the WebSocket while the object sleeps. */
  serializeAttachment?(value: unknown): void;
  /** The value that was kept. */
  deserializeAttachment?(): unknown;
}

type Publish = (channel: string, message: string) => Promise<number>;

/** The commands that an engine has as methods, which resolve to what the store's do. */
export interface DurableKVEngine extends Pick<KVStore, CommandMethod> {}

/** Redis's commands on the storage of a Durable Object. Calls that come at once run one after the other. */
export declare class DurableKVEngine {
  #private;
  /** An engine on a storage. Without `publish` nobody hears what is published. */
  constructor(storage: DurableObjectStorageLike, publish?: Publish);
}

/** The class of the Durable Object, for a Worker to export. */
export declare class CovaraKVDurableObject {
  #private;
  /** By this the types that `wrangler types` makes know the class of an object. It is not there. */
  readonly __DURABLE_OBJECT_BRAND: never;
  /** Made by the Workers runtime. */
  constructor(state: DurableObjectStateLike);
  /** Answers a request of a {@link DurableObjectKVStore}. */
  fetch(request: Request): Promise<Response>;
  /** Removes keys that have expired, and what was announced for sockets that never came. */
  alarm(): Promise<void>;
  /** Stores say nothing on their sockets. */
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
  /** Takes a listener away: the one added last, if it was added more than once. */
  off<K extends keyof E>(event: K, listener: Listener<E[K]>): this;
  /** The same as `on`. */
  addListener<K extends keyof E>(event: K, listener: Listener<E[K]>): this;
  /** The same as `off`. */
  removeListener<K extends keyof E>(event: K, listener: Listener<E[K]>): this;
  /** How many listeners `event` has. */
  listenerCount(event: keyof E): number;
}

interface Store extends KVStore {}

declare abstract class Store extends Emitter<KVEvents> implements KVStore {
  #private;
  /** What the store puts, with a colon, before every key; empty for nothing. */
  readonly prefix: string;
}

/**
 * A store in a Durable Object. Commands that are called in one tick go in one request; what is subscribed comes over
 * one WebSocket, which is opened again whenever it is lost, until `disconnect`.
 */
export declare class DurableObjectKVStore extends Store {
  #private;
  /**
   * Takes a stub, or what gives one: that is asked for every request, as Workers forbid to use a stub in another
   * request than the one it was made in. Throws `INVALID_ARGUMENT` for an option of a wrong type. Opens nothing yet.
   */
  constructor(
    stubOrResolver: DurableObjectStubLike | (() => DurableObjectStubLike),
    options?: DurableObjectKVOptions,
  );
}

/**
 * A {@link DurableObjectKVStore} on the object of a namespace with the name of the options. Throws `CONFIG` if that is
 * no namespace, `INVALID_ARGUMENT` for an option of a wrong type.
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

/** What a memory store may be told beside its prefix. */
export interface MemoryKVOptions {
  /**
   * Refuse a key of another type, and calls between `disconnect` and `connect`, as Redis does. False by default: then such a key counts as
   * empty, and one warning is given, and the store goes on, empty.
   */
  strict?: boolean;
  /** One store of this name for all worker threads of the process. By default each store is its own. */
  shared?: string;
}

/**
 * A store in this process, which needs no server. Usable before `connect`; after `disconnect` too, and empty then, unless it is strict: then it
 * refuses with `CLOSED` until `connect`, as one on Redis does.
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

/**
 * A client of ioredis or node-redis, or what looks like one: its options are read, and a connection with the same is
 * opened.
 */
export interface RedisClientLike {
  /** Where it connects to, and how patiently: `host` and the like of ioredis, or `socket` and the like of node-redis. */
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
      }
    | undefined;
}

/**
 * A store on a Redis server: one connection for commands, and a second one once something is subscribed. It
 * connects again whenever it loses the server, until `disconnect`.
 */
export declare class RedisKVStore extends Store {
  #private;
  /**
   * Takes a configuration, or a client of ioredis or node-redis, of which only the options are read. Throws
   * `INVALID_ARGUMENT` for a field of a wrong type; `CONFIG` for an address or a certificate that is wrong, and for an
   * option of a client that would have to be dropped and may change which server is meant or who is trusted. Opens
   * nothing yet.
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
 * Builds the store that `config.type` names, and connects it. Rejects before anything is opened with `CONFIG`
 * if the type is unknown, or what the type requires is missing; with `INVALID_ARGUMENT` if a field has a
 * wrong type; else with what `connect` rejects with.
 *
 * Only an object's own fields count. One that is unknown, or that the type does not hear, changes nothing, and a process
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

/** The backend that something happened to; `fanout` is that of the whole process. */
export type DiagnosticsBackend = "memory" | "redis" | "fanout";

/** A command on its way: one object for all of its messages. It holds neither keys nor values. */
export interface CommandMessage {
  /** The Redis command; `EXEC` for a transaction. */
  readonly command: string;
  readonly backend: DiagnosticsBackend;
  /** The store's prefix; empty for none. */
  readonly prefix: string;
  /** What it failed with, from `covara-kv:command:error` on. */
  error?: unknown;
}

/** What is published on each channel of `node:diagnostics_channel`. */
export interface DiagnosticsMessages {
  /** A command was called. */
  "covara-kv:command:start": CommandMessage;
  /** It failed. `end` follows. */
  "covara-kv:command:error": CommandMessage;
  /** It is over. */
  "covara-kv:command:end": CommandMessage;
  /** A connection was lost; attempt number `attempt` to connect again follows in `delay` milliseconds. */
  "covara-kv:reconnecting": {
    backend: DiagnosticsBackend;
  } & KVEvents["reconnecting"][0];
  /** Messages may have been missed. */
  "covara-kv:gap": {
    backend: DiagnosticsBackend;
  } & Gap;
  /** A call failed that the framework does not wait for: see `guardUnhandledRejections`. */
  "covara-kv:unhandled": {
    readonly backend: DiagnosticsBackend;
    readonly error: KVError;
  };
}

/** An event for a subscription, wherever its stream is open. */
export interface FanoutEvent {
  type: "added" | "changed" | "removed" | "invalidate";
  /** Of the form `<uuid>:<resource>`. */
  subscriptionId: string;
  /** What the stream gets: anything that JSON can hold. */
  event: unknown;
}

/** What {@link registerHandler} may be told beside the function. */
export interface HandlerOptions {
  /** Unregisters the handler when it is aborted. */
  signal?: AbortSignal;
}

/**
 * Lets events that are published on other instances reach the handlers of this process, by way of the
 * process's store; if that becomes another, the fan-out follows. May be called again: resolves once what the
 * handlers and watchers that there are need is subscribed. Without any nothing is.
 *
 * Rejects with `CONFIG` while there is no store; with what the server answers, such as `NOPERM`, or `TIMEOUT`,
 * if it cannot be subscribed; it is tried again nevertheless.
 *
 * @example
 * setGlobalKV(await createKV({ type: "redis", redis: { url } }));
 * await initializeEventSubscription();
 */
export declare function initializeEventSubscription(): Promise<void>;

/**
 * Registers an open stream. `deliver` gets the events of the subscriptions that are tracked for it, each as JSON, in
 * their order. It also gets `{"type":"invalidate","reason":"fanout-gap"}` after messages may have been missed, and with
 * the reason `overflow` in place of events that came faster than they were taken: then what the subscription shows is
 * to be read again. What `deliver` throws becomes a warning.
 *
 * A handler of this id that there is already, in any worker thread, makes room for the new one, which gets its
 * subscriptions. Throws `INVALID_ARGUMENT`.
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
 * Takes a handler away, with all its subscriptions. Does nothing if there is none. Throws `INVALID_ARGUMENT`.
 *
 * @example
 * registerHandler("stream-1", () => {});
 * unregisterHandler("stream-1");
 * getActiveHandlerCount(); // 0
 */
export declare function unregisterHandler(handlerId: string): void;

/**
 * Has the events of a subscription delivered to a handler of this process. A subscription belongs to one handler: one that another had is its no
 * longer, and the first time that this happens in a process a warning (`COVARA_KV_SUBSCRIPTION`) tells. Throws `INVALID_ARGUMENT` if there is no
 * such handler.
 *
 * @example
 * registerHandler("stream-1", () => {});
 * trackSubscription("stream-1", "1f0c:posts");
 * getFanoutStats().subscriptions; // 1
 */
export declare function trackSubscription(handlerId: string, subscriptionId: string): void;

/**
 * Ends what {@link trackSubscription} began. Throws `INVALID_ARGUMENT`.
 *
 * @example
 * registerHandler("stream-1", () => {});
 * trackSubscription("stream-1", "1f0c:posts");
 * untrackSubscription("1f0c:posts");
 * getFanoutStats().subscriptions; // 0
 */
export declare function untrackSubscription(subscriptionId: string): void;

/**
 * Hands an event to the handler of its subscription: at once if that is in this process, in any worker thread, else by
 * PUBLISH. Resolves to whether anyone was reached: the handler, or an instance that may have it. Rejects with
 * `INVALID_ARGUMENT`; with `CONFIG` if it must be published and there is no store; with what PUBLISH fails with.
 *
 * @example
 * setGlobalKV(kv);
 * await publishEvent({ type: "changed", subscriptionId: "1f0c:posts", event: { id: 7 } }); // false
 */
export declare function publishEvent(message: FanoutEvent): Promise<boolean>;

/**
 * Has `watcher` called whenever a resource has changed: with the rows if that was said in this thread, else without, also after
 * changes may have been missed. Gives the function that ends it. Throws `INVALID_ARGUMENT`.
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
 * Tells the watchers of a resource that it has changed: those of this thread at once and with the rows, the others by
 * PUBLISH. Resolves when that is done. Rejects with `INVALID_ARGUMENT`; with `CONFIG` if there is no store; with what
 * PUBLISH fails with. Watchers here have been told all the same.
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
 * How many handlers this process has, in all its threads.
 *
 * @example
 * registerHandler("stream-1", () => {});
 * getActiveHandlerCount(); // 1
 */
export declare function getActiveHandlerCount(): number;

/**
 * How many watchers this process has, of one resource or of all. Throws `INVALID_ARGUMENT`.
 *
 * @example
 * registerAggregateWatcher("posts", () => {});
 * getAggregateWatcherCount("posts"); // 1
 * getAggregateWatcherCount("users"); // 0
 */
export declare function getAggregateWatcherCount(resource?: string): number;

/**
 * What the fan-out of this process, in all its threads, has and has done.
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
 * Has an outage end no process that can go on. Node.js ends a process for a rejected Promise that nobody handles, and the framework
 * leaves some of its calls unhandled whose loss harms nothing further: the changelog (`covara:changelog:*`), OIDC clients
 * (`oidc:clients:*`), and `subscribe` and `unsubscribe` of `covara:events` and `covara:aggregate`. From now on such a call that rejects with
 * `CONNECTION`, `TIMEOUT` or `QUEUE_FULL` goes to its store's `error` event, or if that has no listener to a process warning
 * (`COVARA_KV_UNHANDLED`, one a minute, with the count), and to the channel `covara-kv:unhandled` of `node:diagnostics_channel`. Every other
 * rejection, and every mode of `--unhandled-rejections`, stays Node's. `covara-kv/register` calls it. Each thread has a guard of its own.
 *
 * Returns what undoes this call. In a Worker, which no rejection ends, nothing is done, and Bun and Deno do not ask what this stands before.
 *
 * @example
 * // The framework's store.
 * setGlobalKV(await createKV({ type: "redis", redis: { url } }));
 * guardUnhandledRejections();
 */
export declare function guardUnhandledRejections(): () => void;

export {};
