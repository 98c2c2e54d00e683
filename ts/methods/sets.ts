import type { OneOrMany } from "../method-types.js";

/** The methods of a {@link KVStore} for sets. */
export interface SetMethods {
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
