// A command whose cost grows with the data stops working on large objects. The cost is counted, not timed.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { DurableKVEngine } from "covara-kv";
import { FakeSqlStorage } from "./fake-storage.js";

const SIZE = 10_000;
const names = Array.from({ length: SIZE }, (_, index) => `m${index}`);

type Work = (engine: DurableKVEngine) => Promise<unknown>;

/** Commands, each with the most calls of the storage and the most entries that it may cost. */
const costs: [name: string, work: Work, operations: number, touched: number][] = [
  ["ZADD of a new member", (kv) => kv.zadd("zset", 5_000.5, "new"), 8, 8],
  ["ZADD of a member that moves", (kv) => kv.zadd("zset", 1.5, "m9000"), 8, 8],
  ["ZADD of a member that stays", (kv) => kv.zadd("zset", 9_999, "m9999"), 4, 4],
  ["ZINCRBY", (kv) => kv.zincrby("zset", 2, "m7"), 8, 8],
  ["ZREM", (kv) => kv.zrem("zset", "m8"), 8, 8],
  ["ZSCORE", (kv) => kv.zscore("zset", "m5"), 3, 3],
  ["ZCARD", (kv) => kv.zcard("zset"), 3, 3],
  ["ZRANGE of the first 10", (kv) => kv.zrange("zset", 0, 9), 3, 12],
  ["ZRANGE of the last 10", (kv) => kv.zrange("zset", -10, -1), 3, 12],
  [
    "ZRANGEBYSCORE of 10",
    (kv) => kv.zrangebyscore("zset", 4_000, "+inf", { limit: { offset: 0, count: 10 } }),
    3,
    12,
  ],
  ["ZRANGEBYSCORE of a narrow range", (kv) => kv.zrangebyscore("zset", 4_000, "(4010"), 3, 12],
  ["HSET", (kv) => kv.hset("hash", "new", "v"), 5, 5],
  ["HGET", (kv) => kv.hget("hash", "m5"), 3, 3],
  ["HDEL", (kv) => kv.hdel("hash", "m6"), 5, 5],
  ["HLEN", (kv) => kv.hlen("hash"), 3, 3],
  ["SADD", (kv) => kv.sadd("set", "new"), 5, 5],
  ["SISMEMBER", (kv) => kv.sismember("set", "m5"), 3, 3],
  ["SCARD", (kv) => kv.scard("set"), 3, 3],
  ["LPUSH", (kv) => kv.lpush("list", "v"), 4, 4],
  ["RPOP", (kv) => kv.rpop("list"), 5, 5],
  ["LLEN", (kv) => kv.llen("list"), 3, 3],
  ["LRANGE of 10 in the middle", (kv) => kv.lrange("list", 5_000, 5_009), 3, 12],
  ["LTRIM of the last", (kv) => kv.ltrim("list", 0, -2), 5, 5],
  ["EXPIRE", (kv) => kv.expire("zset", 100_000), 4, 4],
  ["SCAN", (kv) => kv.scan("0"), 3, 14],
  ["EXISTS", (kv) => kv.exists("zset", "hash"), 4, 4],
];

/** Data as older objects hold it, without counts and an index. */
function largeData(): Record<string, unknown> {
  const entries: Record<string, unknown> = {
    "m\0zset": { type: "zset" },
    "m\0hash": { type: "hash" },
    "m\0set": { type: "set" },
    "m\0list": { type: "list", head: 0, tail: SIZE },
  };
  for (const [index, name] of names.entries()) {
    entries[`z\0zset\0${name}`] = index;
    entries[`h\0hash\0${name}`] = "v";
    entries[`e\0set\0${name}`] = 1;
    entries[`l\0list\0${`${2 ** 42 + index}`.padStart(14, "0")}`] = name;
  }
  return entries;
}

describe("with 10,000 members", () => {
  const storage = new FakeSqlStorage(largeData());
  const engine = new DurableKVEngine(storage);

  // The first command on data of older objects makes counts and an index, once.
  before(async () => {
    await engine.zrange("zset", 0, 0);
    await engine.hlen("hash");
    await engine.scard("set");
  });

  for (const [name, work, operations, touched] of costs) {
    test(`${name} touches a bounded number of entries`, async () => {
      const cost = await storage.counting(() => work(engine));
      const shown = `${cost.operations} operations, ${cost.touched} entries`;
      assert.ok(cost.operations <= operations && cost.touched <= touched, shown);
    });
  }
});
