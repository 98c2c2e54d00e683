// A lenient store that reads or replaces too much hides errors, and one without a warning hides them for good.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createKV, createMemoryKV, type KVStore } from "covara-kv";
import { expectReplies, type Method, send } from "../replies.js";
import { warningsOf } from "../warnings.js";

const makers: Record<string, (kv: KVStore) => Promise<unknown>> = {
  string: (kv) => kv.set("k", "7"),
  hash: (kv) => kv.hset("k", "f", "v"),
  set: (kv) => kv.sadd("k", "m"),
  list: (kv) => kv.rpush("k", "v"),
  zset: (kv) => kv.zadd("k", 1, "m"),
};

/** Commands on a key of another type, which counts as empty. */
const reads: [type: string, result: unknown, method: Method, ...args: unknown[]][] = [
  ["string", null, "get", "k"],
  ["string", null, "getdel", "k"],
  ["hash", null, "hget", "k", "f"],
  ["hash", {}, "hgetall", "k"],
  ["hash", 0, "hdel", "k", "f"],
  ["hash", false, "hexists", "k", "f"],
  ["hash", [], "hkeys", "k"],
  ["hash", 0, "hlen", "k"],
  ["set", 0, "srem", "k", "m"],
  ["set", [], "smembers", "k"],
  ["set", false, "sismember", "k", "m"],
  ["set", 0, "scard", "k"],
  ["list", null, "lpop", "k"],
  ["list", null, "rpop", "k"],
  ["list", [], "lrange", "k", 0, -1],
  ["list", 0, "llen", "k"],
  ["list", undefined, "ltrim", "k", 1, 0],
  ["zset", 0, "zrem", "k", "m"],
  ["zset", null, "zscore", "k", "m"],
  ["zset", [], "zrange", "k", 0, -1],
  ["zset", [], "zrangebyscore", "k", "-inf", "+inf"],
  ["zset", 0, "zcard", "k"],
];

/** Commands that replace a value of another type with one of their own type. */
const writes: [type: string, result: unknown, method: Method, ...args: unknown[]][] = [
  ["string", 1, "incr", "k"],
  ["string", 5, "incrBy", "k", 5],
  ["string", -1, "decr", "k"],
  ["hash", 1, "hset", "k", "f", "v"],
  ["hash", undefined, "hmset", "k", { f: "v" }],
  ["set", 2, "sadd", "k", "a", "b"],
  ["list", 1, "lpush", "k", "v"],
  ["list", 2, "rpush", "k", "v", "w"],
  ["zset", 1, "zadd", "k", 1, "m"],
  ["zset", 2.5, "zincrby", "k", 2.5, "m"],
];

const otherThan = (type: string) => Object.entries(makers).filter(([other]) => other !== type);

for (const [type, result, method, ...args] of reads) {
  test(`${method} reads a key of another type as empty, and leaves it`, async () => {
    for (const [other, make] of otherThan(type)) {
      const kv = createMemoryKV("p");
      await make(kv);
      await kv.expire("k", 100);
      const warnings = await warningsOf(async () => {
        assert.deepEqual(await send(kv, [method, ...args]), result, other);
        assert.deepEqual(await send(kv, [method, ...args]), result, other);
      });
      assert.equal(await kv.type("k"), other);
      assert.equal(await kv.ttl("k"), 100);
      assert.deepEqual(
        warnings.map(({ code }) => code),
        ["COVARA_KV_WRONGTYPE"],
        other,
      );
    }
  });
}

for (const [type, result, method, ...args] of writes) {
  test(`${method} replaces a key of another type`, async () => {
    for (const [other, make] of otherThan(type)) {
      const kv = createMemoryKV("p");
      await make(kv);
      await kv.expire("k", 100);
      const warnings = await warningsOf(async () => {
        assert.deepEqual(await send(kv, [method, ...args]), result, other);
      });
      assert.equal(await kv.type("k"), type);
      assert.equal(await kv.ttl("k"), -1);
      assert.deepEqual(
        warnings.map(({ code }) => code),
        ["COVARA_KV_WRONGTYPE"],
        other,
      );
    }
  });
}

test("a command that is refused for its argument replaces nothing", async () => {
  const kv = createMemoryKV();
  await kv.hset("h", "f", "v");
  await expectReplies(kv, [[["hgetall", "h"], { f: "v" }]]);
  await warningsOf(async () => {
    await kv.hmset("h", {}).catch(() => {});
    await kv.lpush("h").catch(() => {});
    await kv.zadd("h", Number.NaN, "m").catch(() => {});
    await kv.zrangebyscore("h", "x", "y").catch(() => {});
    assert.equal(await kv.sadd("h"), 0);
  });
  await expectReplies(kv, [[["hgetall", "h"], { f: "v" }]]);
});

test("there is one warning for each store and command, which names the command and no key", async () => {
  const [a, b] = [createMemoryKV(), createMemoryKV()];
  await Promise.all([a.set("a secret key", "v"), b.set("a secret key", "v")]);
  const warnings = await warningsOf(async () => {
    for (let round = 0; round < 3; round++) {
      await a.hget("a secret key", "f");
      await a.llen("a secret key");
      await b.hget("a secret key", "f");
      await a.multi().hset("other", "f", "v").sadd("a secret key", "m").set("a secret key", "v").exec();
    }
  });
  assert.deepEqual(
    warnings.map(({ code }) => code),
    Array.from({ length: 4 }, () => "COVARA_KV_WRONGTYPE"),
  );
  assert.deepEqual(
    warnings.map(({ message }) => message.split(" ")[0]),
    ["HGET", "LLEN", "HGET", "SADD"],
  );
  for (const { message } of warnings) {
    assert.match(message, /strict: true/);
    assert.doesNotMatch(message, /secret/);
  }
});

test("what Redis would not refuse gives no warning", async () => {
  const kv = createMemoryKV();
  const warnings = await warningsOf(async () => {
    await kv.hset("h", "f", "v");
    await expectReplies(kv, [
      [["mget", "h"], [null]],
      [["exists", "h"], 1],
      [["type", "h"], "hash"],
      [["ttl", "h"], -1],
      [["setnx", "h", "v"], false],
      [["set", "h", "v"], undefined],
      [["del", "h"], 1],
      [["hget", "h", "f"], null],
    ]);
  });
  assert.deepEqual(warnings, []);
});

test("a strict store gives no warning, and refuses", async () => {
  for (const kv of [
    createMemoryKV("p", { strict: true }),
    await createKV({ type: "memory", strict: true }),
  ]) {
    const warnings = await warningsOf(async () => {
      await kv.set("k", "v");
      await assert.rejects(kv.hget("k", "f"), { code: "WRONGTYPE" });
      await assert.rejects(kv.multi().hset("k", "f", "v").exec(), { code: "WRONGTYPE", index: 0 });
    });
    assert.deepEqual(warnings, []);
    await kv.disconnect();
  }
});

test("a transaction goes on after a key of another type", async () => {
  const kv = createMemoryKV();
  await kv.rpush("k", "v");
  let results: unknown[] = [];
  await warningsOf(async () => {
    results = await kv.multi().get("k").hset("k", "f", "v").hdel("k", "f").exec();
  });
  assert.deepEqual(results, [null, 1, 1]);
  assert.equal(await kv.exists("k"), 0);
});
