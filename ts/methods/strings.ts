import type { ExpiryOptions, OneOrMany, SetOptions } from "../method-types.js";

/** The methods of a {@link KVStore} for strings. */
export interface StringMethods {
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
