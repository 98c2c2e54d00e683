import type { OneOrMany } from "../method-types.js";

/** The methods of a {@link KVStore} for lists. */
export interface ListMethods {
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
