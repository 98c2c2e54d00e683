// If one backend keeps expired keys, or rounds deadlines its own way, sessions and locks outlive their time there.
import assert from "node:assert/strict";
import type { KVStore } from "covara-kv";
import { eventually, onEveryBackend } from "../backends.js";
import { expectReplies, type Step } from "../replies.js";

onEveryBackend("keys and expiry", (test) => {
  test("ping", async ({ kv }) => {
    await expectReplies(kv, [[["ping"], "PONG"]]);
  });

  test("del and exists count keys, those given twice as well", async ({ kv }) => {
    await expectReplies(kv, [
      [["del"], 0],
      [["exists"], 0],
      [["del", "none"], 0],
      [["exists", "none"], 0],
      [["set", "a", ""], undefined],
      [["rpush", "b", "v"], 1],
      [["exists", "a"], 1],
      [["exists", "a", "b", "none", "a"], 3],
      [["del", "a", "none", "b", "a"], 2],
      [["exists", "a", "b"], 0],
    ]);
  });

  test("10,000 keys in one call", async ({ kv }) => {
    const names = Array.from({ length: 10_000 }, (_, index) => `k${index}`);
    await Promise.all(names.map((name) => kv.set(name, name)));
    assert.deepEqual(await kv.mget(...names), names);
    assert.equal(await kv.exists(...names), 10_000);
    assert.equal(await kv.del(...names), 10_000);
    assert.deepEqual(await kv.keys("*"), []);
  });

  test("type", async ({ kv }) => {
    await expectReplies(kv, [
      [["type", "k"], "none"],
      [["set", "string", ""], undefined],
      [["hset", "hash", "f", "v"], 1],
      [["sadd", "set", "m"], 1],
      [["rpush", "list", "v"], 1],
      [["zadd", "zset", 0, "m"], 1],
      ...["string", "hash", "set", "list", "zset"].map((key): Step => [["type", key], key]),
    ]);
  });

  test("an empty collection is no key, and its expiry goes with it", async ({ kv }) => {
    const cases: [make: Step[0], empty: Step[0], emptied: unknown][] = [
      [["hset", "k", "f", "v"], ["hdel", "k", "f"], 1],
      [["sadd", "k", "m"], ["srem", "k", "m"], 1],
      [["rpush", "k", "v"], ["lpop", "k"], "v"],
      [["rpush", "k", "v"], ["rpop", "k"], "v"],
      [["rpush", "k", "v"], ["ltrim", "k", 1, 0], undefined],
      [["zadd", "k", 1, "m"], ["zrem", "k", "m"], 1],
    ];
    for (const [make, empty, emptied] of cases) {
      await expectReplies(kv, [
        [make, 1],
        [["expire", "k", 100], true],
        [empty, emptied],
        [["exists", "k"], 0],
        [["type", "k"], "none"],
        [["ttl", "k"], -2],
        [make, 1],
        [["ttl", "k"], -1],
        [["del", "k"], 1],
      ]);
    }
  });

  test("expire sets and moves a deadline; ttl tells of it", async ({ kv }) => {
    await expectReplies(kv, [
      [["ttl", "k"], -2],
      [["expire", "k", 100], false],
      [["exists", "k"], 0],
      [["set", "k", "v"], undefined],
      [["ttl", "k"], -1],
      [["expire", "k", 100], true],
      [["ttl", "k"], 100],
      [["expire", "k", 200], true],
      [["ttl", "k"], 200],
      [["expire", "k", Number.MAX_SAFE_INTEGER], true],
      [["ttl", "k"], Number.MAX_SAFE_INTEGER],
    ]);
  });

  test("a deadline that is not in the future deletes at once", async ({ kv }) => {
    for (const seconds of [0, -1, -Number.MAX_SAFE_INTEGER]) {
      await expectReplies(kv, [
        [["set", "k", "v"], undefined],
        [["expire", "k", seconds], true],
        [["get", "k"], null],
        [["ttl", "k"], -2],
        [["expire", "k", seconds], false],
      ]);
    }
  });

  test("writing into a value leaves its deadline", async ({ kv }) => {
    const cases: [make: Step[0], write: Step[0]][] = [
      [
        ["set", "k", "1"],
        ["incr", "k"],
      ],
      [
        ["set", "k", "1"],
        ["decr", "k"],
      ],
      [
        ["set", "k", "1"],
        ["incrBy", "k", 5],
      ],
      [
        ["hset", "k", "f", "v"],
        ["hset", "k", "g", "v"],
      ],
      [
        ["hset", "k", "f", "v"],
        ["hmset", "k", { g: "v" }],
      ],
      [
        ["sadd", "k", "m"],
        ["sadd", "k", "n"],
      ],
      [
        ["rpush", "k", "v"],
        ["lpush", "k", "w"],
      ],
      [
        ["zadd", "k", 1, "m"],
        ["zincrby", "k", 1, "m"],
      ],
    ];
    for (const [make, write] of cases) {
      await kv.del("k");
      await (kv[make[0]] as (...args: unknown[]) => Promise<unknown>)(...make.slice(1));
      await kv.expire("k", 100);
      await (kv[write[0]] as (...args: unknown[]) => Promise<unknown>)(...write.slice(1));
      assert.equal(await kv.ttl("k"), 100, write[0]);
    }
  });

  // A write to an expired key that is not yet swept goes into the expired value, and is lost with it.
  test("an expired key is gone for every command, swept or not", async ({ kv }) => {
    const gone: Step[] = [
      [["get", "s1"], null],
      [["mget", "s2"], [null]],
      [["getdel", "s3"], null],
      [["setnx", "s4", "new"], true],
      [["incr", "s5"], 1],
      [["incrBy", "s6", 5], 5],
      [["decr", "s7"], -1],
      [["exists", "s8"], 0],
      [["del", "s9"], 0],
      [["ttl", "s10"], -2],
      [["expire", "s11", 100], false],
      [["type", "s12"], "none"],
      [["set", "s13", "new", { xx: true }], undefined],
      [["hget", "h1", "f"], null],
      [["hset", "h2", "f", "new"], 1],
      [["hmset", "h3", { g: "new" }], undefined],
      [["hgetall", "h4"], {}],
      [["hdel", "h5", "f"], 0],
      [["hexists", "h6", "f"], false],
      [["hkeys", "h7"], []],
      [["hlen", "h8"], 0],
      [["sadd", "m1", "m"], 1],
      [["srem", "m2", "m"], 0],
      [["smembers", "m3"], []],
      [["sismember", "m4", "m"], false],
      [["scard", "m5"], 0],
      [["lpush", "l1", "new"], 1],
      [["rpush", "l2", "new"], 1],
      [["lpop", "l3"], null],
      [["rpop", "l4"], null],
      [["lrange", "l5", 0, -1], []],
      [["llen", "l6"], 0],
      [["ltrim", "l7", 0, 0], undefined],
      [["zadd", "z1", 5, "m"], 1],
      [["zrem", "z2", "m"], 0],
      [["zscore", "z3", "m"], null],
      [["zrange", "z4", 0, -1], []],
      [["zrangebyscore", "z5", "-inf", "+inf"], []],
      [["zcard", "z6"], 0],
      [["zincrby", "z7", 2, "m"], 2],
    ];
    const alive: Step[] = [
      [["keys", "*"], []],
      [["scan", "0", { count: 1_000_000 }], { cursor: "0", keys: [] }],
    ];
    const until = await withDeadline(
      kv,
      gone.map(([call]) => call[1] as string),
    );
    holdUpUntil(until);
    await expectReplies(kv, [...alive, ...gone]);

    const written = ["h2", "h3", "l1", "l2", "m1", "s4", "s5", "s6", "s7", "z1", "z7"];
    assert.deepEqual((await kv.keys("*")).sort(), written);
    for (const key of written) assert.equal(await kv.ttl(key), -1, key);
    assert.deepEqual(await kv.hgetall("h3"), { g: "new" });
    assert.deepEqual(await kv.lrange("l1", 0, -1), ["new"]);
  });

  test("a transaction finds an expired key gone", async ({ kv }) => {
    holdUpUntil(await withDeadline(kv, ["s1", "h1", "l1"]));
    const queue = kv.multi().get("s1").hset("h1", "g", "v").rpush("l1", "v").expire("s1", 5).del("s1");
    assert.deepEqual(await queue.exec(), [null, 1, 1, false, 0]);
  });

  test("keys expire in the order of their deadlines", async ({ kv }) => {
    const left = () => kv.mget("first", "second", "never");
    await kv.set("second", "v", { px: 150 });
    await kv.set("first", "v", { px: 30 });
    await kv.set("never", "v");
    const seen = new Set<string>();
    await eventually(async () => {
      const values = await left();
      seen.add(values.map((value) => value ?? "-").join(""));
      return values[1] === null;
    });
    assert.ok(!seen.has("v-v"), [...seen].join());
    assert.deepEqual(await left(), [null, null, "v"]);
  });
});

/**
 * Gives each key a value of the type that its name starts with, and one second to live. Resolves to the time by which all are over, in ms
 * since the epoch.
 */
async function withDeadline(kv: KVStore, keys: string[]): Promise<number> {
  const make: Record<string, (key: string) => Promise<unknown>> = {
    s: (key) => kv.set(key, "7"),
    h: (key) => kv.hset(key, "f", "v"),
    m: (key) => kv.sadd(key, "m"),
    l: (key) => kv.rpush(key, "v"),
    z: (key) => kv.zadd(key, 1, "m"),
  };
  for (const key of keys) {
    await make[key.charAt(0)]?.(key);
    assert.equal(await kv.expire(key, 1), true, key);
  }
  return Date.now() + 1_000;
}

/** Keeps the event loop busy, so that the store's own sweep cannot run first. */
function holdUpUntil(time: number): void {
  while (Date.now() <= time);
}
