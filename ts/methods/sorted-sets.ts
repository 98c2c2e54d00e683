import type { OneOrMany, ZRangeOptions } from "../method-types.js";

/** The methods of a {@link KVStore} for sorted sets. */
export interface SortedSetMethods {
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
