// Operations of all kinds, equally likely, on a bounded number of keys: for each operation that adds data there is one that removes it.

const upTo = (end) => Math.floor(Math.random() * end);
const name = (kind, count = 2_000) => `${kind}:${upTo(count)}`;
/** Values of very different lengths, so that the allocator has to find places of all sizes. */
const value = () => "x".repeat(1 + 2 ** (upTo(100) / 10));
const script = "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('INCR', KEYS[2])";

/**
 * The operations on a store, and how many messages have come of them.
 * @param {import("covara-kv").KVStore} kv
 */
export async function mixOf(kv) {
  let received = 0;
  const receive = () => {
    received += 1;
  };
  await kv.subscribe("news", receive);
  await kv.psubscribe("new?", receive);
  await kv.set("no number", "none");

  /** @type {(() => Promise<unknown>)[]} */
  const mix = [
    () => kv.set(name("string"), value()),
    () => kv.get(name("string")),
    () => kv.del(name("string")),
    () => kv.incr(name("counter")),
    () => kv.set(name("session", 20_000), value(), { px: 1 + upTo(2_000) }),
    () => kv.setnx(name("lock"), "mine", { px: 1 + upTo(50) }),
    () => kv.getdel(name("session", 20_000)),
    () => kv.expire(name("string"), upTo(3)),
    () => kv.hset(name("hash"), `field:${upTo(50)}`, value()),
    () => kv.hdel(name("hash"), `field:${upTo(50)}`),
    () => kv.hgetall(name("hash")),
    () => kv.sadd(name("set"), `member:${upTo(50)}`, `member:${upTo(50)}`),
    () => kv.srem(name("set"), `member:${upTo(50)}`),
    () => kv.rpush(name("list"), value()),
    () => kv.lpush(name("list"), value()),
    () => kv.lpop(name("list")),
    () => kv.ltrim(name("list"), 0, 20),
    () => kv.zadd(name("zset", 200), upTo(1_000), `member:${upTo(500)}`),
    () => kv.zrem(name("zset", 200), `member:${upTo(500)}`),
    () => kv.zrangebyscore(name("zset", 200), upTo(500), "+inf", { limit: { offset: 0, count: 10 } }),
    () => kv.scan(String(upTo(10_000)), { match: "s*", count: 10 }),
    () => kv.publish("news", value()),
    async () => (await kv.listen([`channel:${upTo(100)}`], receive)).close(),
    () => kv.multi().incr(name("counter")).set(name("string"), value()).expire(name("hash"), 1).exec(),
    // The path of an error must not leak memory either.
    () => kv.incr("no number").catch(() => {}),
    () => kv.eval(script, [name("string"), name("counter")], [value()]),
  ];
  return { next: () => mix[upTo(mix.length)](), kinds: mix.length, received: () => received };
}
