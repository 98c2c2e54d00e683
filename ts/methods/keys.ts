import type { OneOrMany, ScanOptions, ScanResult } from "../method-types.js";

/** The methods of a {@link KVStore} for keys of any type. */
export interface KeyMethods {
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
