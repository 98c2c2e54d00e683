import type { OneOrMany } from "../method-types.js";

/** The methods of a {@link KVStore} for hashes. */
export interface HashMethods {
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
