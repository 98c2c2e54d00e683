import type { ExpiryOptions, OneOrMany, SetOptions } from "../method-types.js";

/**
 * Commands that run as one. Each method queues the command of {@link KVStore} with its name, and returns the transaction. `exec`
 * rejects for a wrong argument.
 */
export interface Queue<Self> {
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
