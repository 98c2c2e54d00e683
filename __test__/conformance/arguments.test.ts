// An argument that one backend drops or refuses in its own way makes the same call mean something else there.
import assert from "node:assert/strict";
import { inspect } from "node:util";
import type { KVStoreTransaction } from "covara-kv";
import { onEveryBackend } from "../backends.js";
import { goodArguments, queued } from "../methods.js";
import {
  contents,
  errorOf,
  expectRefusal,
  expectReplies,
  inAnyOrder,
  invalidArgument,
  type Method,
  refusal,
  send,
} from "../replies.js";

type Call = readonly [Method, ...unknown[]];

/** Calls with one argument too many. The caller meant something by it. */
const surplus: readonly Call[] = [
  ["get", "k", "other"],
  ["getdel", "k", "other"],
  ["set", "k", "w", {}, "NX"],
  ["setnx", "k", "w", {}, "EX"],
  ["incr", "n", 5],
  ["incrBy", "n", 5, 5],
  ["decr", "n", 5],
  ["expire", "k", 5, "NX"],
  ["ttl", "k", "other"],
  ["type", "k", "other"],
  ["keys", "*", "k*"],
  ["scan", "0", {}, "COUNT"],
  ["hget", "h", "f", "g"],
  ["hmset", "h", { f: "w" }, { g: "w" }],
  ["hgetall", "h", "other"],
  ["hexists", "h", "f", "g"],
  ["hkeys", "h", "other"],
  ["hlen", "h", "other"],
  ["smembers", "s", "other"],
  ["sismember", "s", "m", "n"],
  ["scard", "s", "other"],
  ["lpop", "l", 2],
  ["rpop", "l", 2],
  ["lrange", "l", 0, -1, 5],
  ["llen", "l", "other"],
  ["ltrim", "l", 0, 0, 5],
  ["zscore", "z", "m", "n"],
  ["zrange", "z", 0, -1, "REV"],
  ["zrangebyscore", "z", 0, 9, {}, "LIMIT"],
  ["zcard", "z", "other"],
  ["zincrby", "z", 1, "m", "n"],
  ["publish", "c", "m", "more"],
  ["eval", "return 1", [], [], "more"],
  ["ping", "hello"],
  ["connect", "redis://elsewhere"],
  ["subscribe", "c", () => {}, "d"],
  ["psubscribe", "c", () => {}, "d"],
  ["unsubscribe", "c", "d"],
  ["punsubscribe", "c", "d"],
  ["subscribeScoped", ["c"], () => {}, { patterns: ["d"] }],
  ["listen", ["c"], () => {}, {}, "d"],
];

onEveryBackend("arguments", (test) => {
  // hset("h", "a", "1", "b", "2") must not store `a` alone, nor zadd("z", 1, "a", 2, "b").
  test("hset and zadd take more pairs", async ({ kv }) => {
    await expectReplies(kv, [
      [["hset", "h", "a", "1", "b", "2"], 2],
      [["hset", "h", "b", "3", "c", "4", "c", "5", "a", "6"], 1],
      [["hgetall", "h"], { a: "6", b: "3", c: "5" }],
      [["zadd", "z", 1, "a", 2, "b", Number.NEGATIVE_INFINITY, "c"], 3],
      [["zadd", "z", 5, "a", Number.POSITIVE_INFINITY, "inf", 3, "d", 4, "d"], 2],
      [["zrangebyscore", "z", "-inf", "+inf", { withScores: true }], "c -inf b 2 d 4 a 5 inf inf".split(" ")],
    ]);
    assert.deepEqual(
      await kv.multi().hset("h", "a", "0", "d", "0", "e", "0").zadd("z", 0, "a", 0, "x").exec(),
      [2, 1],
    );
    assert.deepEqual([await kv.hlen("h"), await kv.zcard("z")], [5, 6]);
  });

  test("half a pair is refused, and nothing changes", async ({ kv }) => {
    const halves: Call[] = [
      ["hset", "h", "a", "1", "b"],
      ["hset", "h", "a", "1", "b", undefined],
      ["hset", "h", "a", "1", ["b", "2"]],
      ["zadd", "z", 1, "a", 2],
      ["zadd", "z", 1, "a", "NX", "b"],
      ["zadd", "z", 1, "a", 2, "b", "3", "c"],
    ];
    for (const call of halves) await expectRefusal(send(kv, call), invalidArgument);
    const error = await errorOf(send(kv, ["hset", "h", "a", "1", "b"]));
    assert.equal(error.message, "hset: value must be a string, got undefined");
    assert.deepEqual(await kv.keys("*"), []);
  });

  test("thousands of pairs", async ({ kv }) => {
    const names = Array.from({ length: 3_000 }, (_, index) => `${index}`);
    const pairs = names.flatMap((name) => [name, name]);
    assert.equal(await kv.hset("h", "a", "a", ...pairs), 3_001);
    assert.deepEqual([await kv.hlen("h"), await kv.hget("h", "2999")], [3_001, "2999"]);
  });

  // A surplus argument that is dropped changes the meaning without an error: expire("k", 5, "NX") shortens a longer time, and lpop("l", 2)
  // takes one.
  test("an argument too many is refused, and nothing changes", async ({ kv }) => {
    await kv.set("k", "v");
    await kv.rpush("l", "a", "b");
    await kv.zadd("z", 1, "m");
    const before = await contents(kv);
    for (const call of surplus.filter(([method]) => kv[method] !== undefined)) {
      const error = await errorOf(send(kv, call), inspect(call));
      const [method, ...args] = call;
      assert.equal(error.code, "INVALID_ARGUMENT", inspect(call));
      assert.match(error.message, RegExp(`^${method}: takes .*, got ${args.length}$`));
    }
    assert.deepEqual(await contents(kv), before);
    assert.equal(await kv.publish("c", "m"), 0);
  });

  test("what was left out as undefined is not too many", async ({ kv }) => {
    const calls: [Call, unknown][] = [
      [["set", "k", "v", undefined], undefined],
      [["set", "k", "v", undefined, undefined], undefined],
      [["get", "k", undefined], "v"],
      [["scan", "0", undefined], { cursor: "0", keys: ["k"] }],
      [["ping", undefined], "PONG"],
      [["unsubscribe", "c", undefined], undefined],
    ];
    for (const [call, result] of calls) assert.deepEqual(await send(kv, call), result, inspect(call));
  });

  test("an argument too many in a transaction is refused by exec, and nothing runs", async ({ kv }) => {
    const args = new Map(surplus.map(([method, ...args]) => [method, args]));
    for (const method of queued) {
      const given = args.get(method);
      if (given === undefined) continue;
      const multi = kv.multi().set("k", "v");
      (multi[method] as (...args: unknown[]) => KVStoreTransaction).apply(multi, given);
      const error = await errorOf(multi.exec(), method);
      assert.deepEqual([error.code, error.index], ["INVALID_ARGUMENT", 1], method);
    }
    const { multi, ...other } = { multi: (...more: unknown[]) => kv.multi.apply(kv, more as never) };
    assert.deepEqual(other, {});
    assert.throws(
      () => multi({ pipeline: false }),
      (error) => invalidArgument.check(error),
    );
    const begun = kv.multi().set("k", "v");
    await expectRefusal(begun.exec.apply(begun, [() => {}] as never), invalidArgument);
    assert.deepEqual(await kv.keys("*"), []);
  });

  // Without this check keys(), scan(), hmset() and eval() reach a Redis server, which refuses them with errors of its own.
  test("a missing argument is found before the store is asked", async ({ kv }) => {
    const takesNone = ["connect", "disconnect", "ping", "mget", "del", "exists"];
    const takesKeyAlone = ["hdel", "sadd", "srem", "zrem", "lpush", "rpush"];
    for (const [method, good] of Object.entries(goodArguments) as [Method, readonly unknown[]][]) {
      if (kv[method] === undefined || takesNone.includes(method)) continue;
      for (let count = 0; count < (takesKeyAlone.includes(method) ? 1 : good.length); count++) {
        const call: Call = [method, ...good.slice(0, count)];
        const { code, message } = await errorOf(send(kv, call), inspect(call));
        assert.deepEqual([code, message.split(": ")[0]], ["INVALID_ARGUMENT", method], inspect(call));
      }
    }
  });

  // del(...keys) with 125,000 keys must give a Promise that rejects. Otherwise it throws a RangeError.
  test("methods that take any number of strings take arrays of them", async ({ kv }) => {
    await expectReplies(kv, [
      [["sadd", "s", ["a", "b"], "c", []], 3],
      [["smembers", "s"], inAnyOrder("a", "b", "c")],
      [["srem", "s", ["a", "c", "d"]], 2],
      [["rpush", "l", ["a", "b"]], 2],
      [["lpush", "l", ["c", "d"]], 4],
      [
        ["lrange", "l", 0, -1],
        ["d", "c", "a", "b"],
      ],
      [["hmset", "h", { f: "1", g: "2", h: "3" }], undefined],
      [["hdel", "h", ["f", "g"]], 2],
      [["zadd", "z", 1, "a", 2, "b"], 2],
      [["zrem", "z", ["a", "b", "c"]], 2],
      [["set", "k", "v"], undefined],
      [
        ["mget", ["k", "none", "k"]],
        ["v", null, "v"],
      ],
      [["exists", ["k", "h", "none"]], 2],
      [["del", ["k", "h", "none"]], 2],
    ]);
    assert.deepEqual(
      await kv
        .multi()
        .sadd("s", ["x", "y"])
        .srem("s", ["x"])
        .rpush("l", ["e"])
        .hdel("h", ["h"])
        .del(["l", "s"])
        .exec(),
      [2, 1, 5, 0, 2],
    );
    const none: Call[] = [
      ["mget", []],
      ["del", []],
      ["exists", []],
      ["sadd", "s", []],
      ["srem", "s", []],
      ["hdel", "h", []],
      ["zrem", "z", []],
    ];
    for (const call of none) assert.deepEqual(await send(kv, call), call[0] === "mget" ? [] : 0, call[0]);
    const wrongNumber = refusal("ERR", "ERR wrong number of arguments for 'lpush' command");
    await expectRefusal(kv.lpush("l", []), wrongNumber);
    assert.deepEqual(await kv.keys("*"), []);
  });

  test("an array that changes after the call changes nothing", async ({ kv }) => {
    const members = ["a"];
    const added = kv.sadd("s", members);
    members.push("b");
    members[0] = "c";
    assert.equal(await added, 1);
    assert.deepEqual(await kv.smembers("s"), ["a"]);
  });

  test("more strings than JavaScript takes arguments", async ({ kv }) => {
    const names = Array.from({ length: 150_000 }, (_, index) => `${index}`);
    assert.equal(await kv.exists(names), 0);
  });
});
