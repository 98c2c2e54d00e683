// If one backend orders members or reads scores differently, leaderboards and rate limiters differ there.
import assert from "node:assert/strict";
import type { ZRangeOptions } from "covara-kv";
import { onEveryBackend } from "../backends.js";
import { expectReplies, refusal } from "../replies.js";

const notANumber = refusal("ERR", "ERR resulting score is not a number (NaN)");

onEveryBackend("sorted sets", (test) => {
  test("a sorted set that is not there is empty", async ({ kv }) => {
    await expectReplies(kv, [
      [["zscore", "z", "m"], null],
      [["zrange", "z", 0, -1], []],
      [["zrangebyscore", "z", "-inf", "+inf"], []],
      [["zcard", "z"], 0],
      [["zrem", "z", "m"], 0],
      [["zrem", "z"], 0],
      [["exists", "z"], 0],
    ]);
  });

  test("members are added, moved and removed", async ({ kv }) => {
    await expectReplies(kv, [
      [["zadd", "z", 2, "b"], 1],
      [["zadd", "z", 1, "a"], 1],
      [["zadd", "z", 3, "c"], 1],
      [
        ["zrange", "z", 0, -1],
        ["a", "b", "c"],
      ],
      [["zadd", "z", 9, "a"], 0],
      [["zadd", "z", 9, "a"], 0],
      [
        ["zrange", "z", 0, -1],
        ["b", "c", "a"],
      ],
      [["zscore", "z", "a"], 9],
      [["zscore", "z", "none"], null],
      [["zcard", "z"], 3],
      [["zrem", "z", "b", "none", "b"], 1],
      [["zrem", "z"], 0],
      [
        ["zrange", "z", 0, -1],
        ["c", "a"],
      ],
      [["zrem", "z", "a", "c"], 2],
      [["exists", "z"], 0],
    ]);
  });

  // JavaScript compares UTF-16 code units, Redis bytes of UTF-8: they differ above U+FFFF.
  test("equal scores are ordered by the bytes of the member", async ({ kv }) => {
    const inOrder = [
      "",
      "\0",
      "\0\0",
      "\0a",
      "1",
      "10",
      "2",
      "B",
      "a",
      "a\0",
      "aa",
      "b",
      "é",
      "\uFFFF",
      "\u{10000}",
      "\u{10FFFF}",
    ];
    for (const member of [...inOrder].reverse()) await kv.zadd("z", 0, member);
    assert.deepEqual(await kv.zrange("z", 0, -1), inOrder);
    assert.deepEqual(await kv.zrangebyscore("z", 0, 0), inOrder);
  });

  test("scores are kept to the last bit", async ({ kv }) => {
    const scores = [
      0.1 + 0.2,
      Number.MAX_VALUE,
      -Number.MAX_VALUE,
      Number.MIN_VALUE,
      -Number.MIN_VALUE,
      Number.EPSILON,
      Math.PI,
      1e21,
      1e-7,
      1.5,
      -1.5,
      2 ** 53,
      2 ** 53 + 2,
      -(2 ** 63),
      123456789012345680000,
      0,
    ];
    for (const score of scores) {
      await kv.zadd("z", score, `${score}`);
      assert.equal(await kv.zscore("z", `${score}`), score);
    }
    const inOrder = [...scores].sort((a, b) => a - b).map((score) => `${score}`);
    assert.deepEqual(await kv.zrange("z", 0, -1), inOrder);
  });

  // An infinite score reads back as NaN from Redis, and is lost on the way to the Durable Object.
  test("scores may be infinite", async ({ kv }) => {
    await expectReplies(kv, [
      [["zadd", "z", Number.POSITIVE_INFINITY, "last"], 1],
      [["zadd", "z", Number.NEGATIVE_INFINITY, "first"], 1],
      [["zadd", "z", 0, "zero"], 1],
      [["zscore", "z", "last"], Number.POSITIVE_INFINITY],
      [["zscore", "z", "first"], Number.NEGATIVE_INFINITY],
      [
        ["zrange", "z", 0, -1],
        ["first", "zero", "last"],
      ],
      [
        ["zrangebyscore", "z", "-inf", "+inf", { withScores: true }],
        ["first", "-inf", "zero", "0", "last", "inf"],
      ],
      [
        ["zrangebyscore", "z", Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
        ["first", "zero", "last"],
      ],
      [["zrangebyscore", "z", "(-inf", "(+inf"], ["zero"]],
      [["zincrby", "z", 5, "last"], Number.POSITIVE_INFINITY],
      [["zincrby", "z", Number.NEGATIVE_INFINITY, "last"], notANumber],
      [["zscore", "z", "last"], Number.POSITIVE_INFINITY],
      [["zincrby", "z", Number.NEGATIVE_INFINITY, "zero"], Number.NEGATIVE_INFINITY],
    ]);
  });

  test("zincrby adds, from nothing too, and moves the member", async ({ kv }) => {
    await expectReplies(kv, [
      [["zincrby", "z", 5, "a"], 5],
      [["zincrby", "z", -2.5, "a"], 2.5],
      [["zincrby", "z", 0, "a"], 2.5],
      [["zincrby", "z", 0.1, "b"], 0.1],
      [["zincrby", "z", 0.2, "b"], 0.1 + 0.2],
      [
        ["zrange", "z", 0, -1],
        ["b", "a"],
      ],
      [["zincrby", "z", 100, "b"], 100.3],
      [
        ["zrange", "z", 0, -1],
        ["a", "b"],
      ],
      [["zadd", "z", Number.MAX_VALUE, "huge"], 1],
      [["zincrby", "z", Number.MAX_VALUE, "huge"], Number.POSITIVE_INFINITY],
    ]);
  });

  test("a sum that is no number leaves no key behind", async ({ kv }) => {
    await kv.zadd("z", Number.POSITIVE_INFINITY, "m");
    await expectReplies(kv, [
      [["zincrby", "z", Number.NEGATIVE_INFINITY, "m"], notANumber],
      [["zscore", "z", "m"], Number.POSITIVE_INFINITY],
    ]);
  });

  test("zrange by rank", async ({ kv }) => {
    for (const [score, member] of [..."abcde"].entries()) await kv.zadd("z", score, member);
    const ranges: [start: number, stop: number, members: string][] = [
      [0, -1, "abcde"],
      [1, 2, "bc"],
      [-2, -1, "de"],
      [-100, 0, "a"],
      [3, 100, "de"],
      [3, 1, ""],
      [5, 5, ""],
      [-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, "abcde"],
    ];
    for (const [start, stop, members] of ranges) {
      assert.deepEqual(await kv.zrange("z", start, stop), [...members], `${start} to ${stop}`);
    }
  });

  test("zrangebyscore takes numbers and Redis's words as bounds", async ({ kv }) => {
    for (const [score, member] of [..."abcde"].entries()) await kv.zadd("z", score, member);
    const ranges: [min: number | string, max: number | string, members: string][] = [
      [1, 3, "bcd"],
      ["1", "3", "bcd"],
      ["(1", 3, "cd"],
      [1, "(3", "bc"],
      ["(1", "(2", ""],
      ["(1", "(1", ""],
      ["-inf", "+inf", "abcde"],
      ["-inf", "inf", "abcde"],
      [3, 1, ""],
      [0.5, 2.5, "bc"],
      ["1e0", "2.0", "bc"],
      ["+inf", "-inf", ""],
      [4, Number.MAX_VALUE, "e"],
      [-0, 0, "a"],
    ];
    for (const [min, max, members] of ranges) {
      assert.deepEqual(await kv.zrangebyscore("z", min, max), [...members], `${min} to ${max}`);
    }
  });

  test("a bound that is no number is refused", async ({ kv }) => {
    const refused = refusal("ERR", "ERR min or max is not a float");
    for (const bound of ["abc", "nan", "1x", "[1", "((1", "1 2", "1("]) {
      await expectReplies(kv, [
        [["zrangebyscore", "z", bound, 1], refused],
        [["zrangebyscore", "z", 1, bound], refused],
      ]);
    }
  });

  test("zrangebyscore skips and limits", async ({ kv }) => {
    for (const [score, member] of [..."abcde"].entries()) await kv.zadd("z", score, member);
    const limits: [offset: number, count: number, members: string][] = [
      [0, 2, "bc"],
      [1, 2, "cd"],
      [3, 2, "e"],
      [4, 1, ""],
      [0, 0, ""],
      [1, -1, "cde"],
      [0, -100, "bcde"],
      [-1, 2, ""],
      [0, Number.MAX_SAFE_INTEGER, "bcde"],
      [Number.MAX_SAFE_INTEGER, 1, ""],
    ];
    for (const [offset, count, members] of limits) {
      const page = await kv.zrangebyscore("z", 1, "+inf", { limit: { offset, count } });
      assert.deepEqual(page, [...members], `${offset}, ${count}`);
    }
  });

  test("withScores gives each member and its score, as JavaScript writes numbers", async ({ kv }) => {
    const scores = [
      -1.5,
      0,
      0.1,
      0.1 + 0.2,
      1e-7,
      3,
      1e20,
      1e21,
      2 ** 53,
      Number.MAX_VALUE,
      Number.MIN_VALUE,
    ];
    for (const score of scores) await kv.zadd("z", score, `m${score}`);
    const inOrder = [...scores].sort((a, b) => a - b).flatMap((score) => [`m${score}`, `${score}`]);
    assert.deepEqual(await kv.zrangebyscore("z", "-inf", "+inf", { withScores: true }), inOrder);

    const three: ZRangeOptions = { withScores: true, limit: { offset: 1, count: 1 } };
    await expectReplies(kv, [
      [["zadd", "y", 1, "a"], 1],
      [["zadd", "y", 2.5, "b"], 1],
      [["zadd", "y", 3, "c"], 1],
      [
        ["zrangebyscore", "y", 1, 3, three],
        ["b", "2.5"],
      ],
      [
        ["zrangebyscore", "y", 1, 1, { withScores: true }],
        ["a", "1"],
      ],
      [["zrangebyscore", "y", 1, 1, { withScores: false }], ["a"]],
      [["zrangebyscore", "y", 7, 8, { withScores: true }], []],
      [["zrangebyscore", "none", 7, 8, { withScores: true }], []],
    ]);
  });

  test("10,000 members stay in order while they move", async ({ kv }) => {
    const score = (index: number, round: number) => (index * 7919 + round * 104_729) % 5_000;
    const members = Array.from({ length: 10_000 }, (_, index) => `member ${index}`);
    for (const round of [0, 1, 2]) {
      await Promise.all(members.map((member, index) => kv.zadd("z", score(index, round), member)));
    }
    const inOrder = members
      .map((member, index) => ({ member, score: score(index, 2) }))
      .sort((a, b) => a.score - b.score || (a.member < b.member ? -1 : 1))
      .map(({ member }) => member);
    assert.deepEqual(await kv.zrange("z", 0, -1), inOrder);
    assert.deepEqual(await kv.zrange("z", 4_990, 5_009), inOrder.slice(4_990, 5_010));
    assert.equal(await kv.zrem("z", ...inOrder.slice(0, 9_999)), 9_999);
    assert.deepEqual(await kv.zrange("z", 0, -1), inOrder.slice(9_999));
  });
});
