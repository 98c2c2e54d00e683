// If one backend answers a command on strings differently, counters and cached values differ there.
import assert from "node:assert/strict";
import { eventually, onEveryBackend } from "../backends.js";
import { expectReplies, notAnInteger, refusal } from "../replies.js";

const overflow = refusal("ERR", "ERR increment or decrement would overflow");

onEveryBackend("strings", (test) => {
  test("get, set, overwrite", async ({ kv }) => {
    await expectReplies(kv, [
      [["get", "k"], null],
      [["set", "k", "v"], undefined],
      [["get", "k"], "v"],
      [["set", "k", "w"], undefined],
      [["get", "k"], "w"],
    ]);
  });

  test("any text is kept as it is, as key and as value", async ({ kv }) => {
    const texts = [
      "",
      " ",
      "\0",
      "a\0b\0",
      "\r\n",
      "ä",
      "日本語",
      "👩‍👩‍👧",
      "\u{10FFFF}\uFFFF",
      "\uFEFFbom",
      "$3\r\nfoo",
      "-0",
      "NaN",
    ];
    for (const text of texts) await kv.set(text, `${text}!`);
    for (const text of texts) assert.equal(await kv.get(text), `${text}!`);
    for (const text of texts) await kv.set(`v${text}`, text);
    assert.deepEqual(await kv.mget(...texts.map((text) => `v${text}`)), texts);
  });

  test("keys and values of a megabyte", async ({ kv }) => {
    for (const large of ["x".repeat(1 << 20), "\0ä日👩".repeat(1 << 17)]) {
      await kv.set(large, large);
      assert.ok((await kv.get(large)) === large);
    }
  });

  test("set resolves to nothing, whether nx and xx let it happen or not", async ({ kv }) => {
    await expectReplies(kv, [
      [["set", "k", "1", { xx: true }], undefined],
      [["get", "k"], null],
      [["set", "k", "2", { nx: true }], undefined],
      [["get", "k"], "2"],
      [["set", "k", "3", { nx: true }], undefined],
      [["get", "k"], "2"],
      [["set", "k", "4", { xx: true }], undefined],
      [["get", "k"], "4"],
      [["set", "k", "5", { nx: false, xx: false }], undefined],
      [["get", "k"], "5"],
      [["set", "k", "6", {}], undefined],
      [["get", "k"], "6"],
    ]);
  });

  test("set gives an expiry, and takes one away", async ({ kv }) => {
    await expectReplies(kv, [
      [["set", "k", "v", { ex: 100 }], undefined],
      [["ttl", "k"], 100],
      [["set", "k", "v", { nx: true }], undefined],
      [["ttl", "k"], 100],
      [["set", "k", "v", { px: 50_000 }], undefined],
      [["ttl", "k"], 50],
      [["set", "k", "v", { xx: true, ex: 7 }], undefined],
      [["ttl", "k"], 7],
      [["set", "k", "v", { xx: true }], undefined],
      [["ttl", "k"], -1],
      [["set", "n", "v", { nx: true, px: 9_000, ex: undefined as never }], undefined],
      [["ttl", "n"], 9],
    ]);
    await kv.set("k", "v", { px: 20 });
    await eventually(async () => (await kv.get("k")) === null);
    assert.equal(await kv.ttl("k"), -2);
  });

  test("an expiry that is not positive is refused, and nothing changes", async ({ kv }) => {
    const refused = refusal("ERR", "ERR invalid expire time in 'set' command");
    await kv.set("k", "old");
    for (const options of [
      { ex: 0 },
      { ex: -1 },
      { px: 0 },
      { px: -1000 },
      { px: -Number.MAX_SAFE_INTEGER },
    ]) {
      await expectReplies(kv, [
        [["set", "k", "new", options], refused],
        [["setnx", "free", "new", options], refused],
        [["get", "k"], "old"],
        [["ttl", "k"], -1],
        [["exists", "free"], 0],
      ]);
    }
  });

  test("set and setnx see keys of every type", async ({ kv }) => {
    const made: (() => Promise<unknown>)[] = [
      () => kv.set("k", "s"),
      () => kv.hset("k", "f", "v"),
      () => kv.sadd("k", "m"),
      () => kv.rpush("k", "v"),
      () => kv.zadd("k", 1, "m"),
    ];
    for (const make of made) {
      await make();
      await kv.expire("k", 100);
      await expectReplies(kv, [
        [["setnx", "k", "v"], false],
        [["ttl", "k"], 100],
        [["set", "k", "v"], undefined],
        [["get", "k"], "v"],
        [["ttl", "k"], -1],
        [["del", "k"], 1],
      ]);
    }
  });

  test("setnx tells whether it set, with an expiry", async ({ kv }) => {
    await expectReplies(kv, [
      [["setnx", "lock", "me"], true],
      [["ttl", "lock"], -1],
      [["setnx", "lock", "you", { ex: 100 }], false],
      [["get", "lock"], "me"],
      [["ttl", "lock"], -1],
      [["setnx", "seconds", "v", { ex: 100 }], true],
      [["ttl", "seconds"], 100],
      [["setnx", "milliseconds", "v", { px: 20 }], true],
    ]);
    await eventually(() => kv.setnx("milliseconds", "w"));
    assert.equal(await kv.get("milliseconds"), "w");
  });

  test("getdel takes a value away", async ({ kv }) => {
    await expectReplies(kv, [
      [["getdel", "code"], null],
      [["set", "code", "1234", { ex: 100 }], undefined],
      [["getdel", "code"], "1234"],
      [["getdel", "code"], null],
      [["exists", "code"], 0],
      [["set", "code", ""], undefined],
      [["ttl", "code"], -1],
      [["getdel", "code"], ""],
      [["exists", "code"], 0],
    ]);
  });

  test("of many at once, one takes the lock and one the code", async ({ kv }) => {
    const many = Array.from({ length: 50 }, (_, index) => `${index}`);
    const locks = await Promise.all(many.map((owner) => kv.setnx("lock", owner)));
    assert.equal(locks.filter(Boolean).length, 1);
    assert.equal(await kv.get("lock"), many[locks.indexOf(true)]);
    const codes = await Promise.all(many.map(() => kv.getdel("lock")));
    assert.equal(codes.filter((code) => code !== null).length, 1);
  });

  test("mget gives a value for each key, null for none and for another type", async ({ kv }) => {
    await kv.hset("hash", "f", "v");
    await expectReplies(kv, [
      [["mget"], []],
      [["mget", "a"], [null]],
      [["set", "a", "1"], undefined],
      [["set", "b", ""], undefined],
      [
        ["mget", "b", "none", "a", "hash", "a"],
        ["", null, "1", null, "1"],
      ],
    ]);
  });

  test("incr, incrBy and decr count from nothing, and give the sum", async ({ kv }) => {
    await expectReplies(kv, [
      [["incr", "n"], 1],
      [["incr", "n"], 2],
      [["incrBy", "n", 40], 42],
      [["incrBy", "n", -50], -8],
      [["incrBy", "n", 0], -8],
      [["decr", "n"], -9],
      [["get", "n"], "-9"],
      [["decr", "m"], -1],
      [["incrBy", "zero", 0], 0],
      [["get", "zero"], "0"],
      [["expire", "n", 100], true],
      [["incr", "n"], -8],
      [["ttl", "n"], 100],
    ]);
  });

  test("what is no 64-bit integer is not counted, and stays", async ({ kv }) => {
    const texts = [
      "",
      " 1",
      "1 ",
      "+1",
      "01",
      "-0",
      "1.0",
      "1e3",
      "0x1",
      "abc",
      "NaN",
      "1\0",
      "9223372036854775808",
    ];
    for (const text of texts) {
      await expectReplies(kv, [
        [["set", "n", text], undefined],
        [["incr", "n"], notAnInteger],
        [["decr", "n"], notAnInteger],
        [["incrBy", "n", 2], notAnInteger],
        [["get", "n"], text],
      ]);
    }
  });

  test("past 2^53 the result is the nearest double, and get gives every digit", async ({ kv }) => {
    await expectReplies(kv, [
      [["set", "n", "9007199254740990"], undefined],
      [["incr", "n"], 9007199254740991],
      [["incr", "n"], 9007199254740992],
      [["incr", "n"], 9007199254740992],
      [["get", "n"], "9007199254740993"],
      [["incrBy", "n", Number.MAX_SAFE_INTEGER], 18014398509481984],
      [["get", "n"], "18014398509481984"],
      [["set", "n", "-9223372036854775807"], undefined],
      [["decr", "n"], -(2 ** 63)],
      [["get", "n"], "-9223372036854775808"],
      [["decr", "n"], overflow],
      [["incrBy", "n", -Number.MAX_SAFE_INTEGER], overflow],
      [["get", "n"], "-9223372036854775808"],
      [["set", "n", "9223372036854775807"], undefined],
      [["incr", "n"], overflow],
      [["incrBy", "n", 1], overflow],
      [["get", "n"], "9223372036854775807"],
    ]);
  });
});
