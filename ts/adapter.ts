import type { KVEvents, KVHealth, KVListener, KVStatus } from "./events.js";
import type { HashMethods } from "./methods/hashes.js";
import type { KeyMethods } from "./methods/keys.js";
import type { ListMethods } from "./methods/lists.js";
import type { PubSubMethods } from "./methods/pubsub.js";
import type { Queue } from "./methods/queue.js";
import type { SetMethods } from "./methods/sets.js";
import type { SortedSetMethods } from "./methods/sorted-sets.js";
import type { StringMethods } from "./methods/strings.js";

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

/** A transaction of a {@link KVStore}. */
export interface KVStoreTransaction extends Queue<KVStoreTransaction> {}

type AddedToQueue = Extract<Added, keyof Queue<unknown>>;

/** A transaction of a {@link KVAdapter}: the methods that this package adds are optional. */
export interface KVTransaction
  extends Omit<Queue<KVTransaction>, AddedToQueue>,
    Partial<Pick<Queue<KVTransaction>, AddedToQueue>> {}
