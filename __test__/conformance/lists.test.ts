// If one backend answers a command on lists differently, queues lose or reorder their entries there.
import assert from "node:assert/strict";
import { onEveryBackend } from "../backends.js";
import { expectReplies, refusal } from "../replies.js";

/** Ranges of the list a b c d e, as LRANGE returns them and LTRIM keeps them. */
const ranges: [start: number, stop: number, values: string][] = [
  [0, -1, "abcde"],
  [0, 0, "a"],
  [-1, -1, "e"],
  [1, 3, "bcd"],
  [-3, -2, "cd"],
  [0, 100, "abcde"],
  [-100, 1, "ab"],
  [-100, -100, ""],
  [3, 1, ""],
  [5, 9, ""],
  [0, -6, ""],
  [4, 4, "e"],
  [-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, "abcde"],
  [Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER, ""],
];

onEveryBackend("lists", (test) => {
  test("a list that is not there is empty", async ({ kv }) => {
    await expectReplies(kv, [
      [["lpop", "l"], null],
      [["rpop", "l"], null],
      [["lrange", "l", 0, -1], []],
      [["llen", "l"], 0],
      [["ltrim", "l", 0, 0], undefined],
      [["exists", "l"], 0],
    ]);
  });

  test("values are pushed one after the other, at either end", async ({ kv }) => {
    await expectReplies(kv, [
      [["rpush", "l", "c"], 1],
      [["rpush", "l", "d", "e"], 3],
      [["lpush", "l", "b", "a"], 5],
      [
        ["lrange", "l", 0, -1],
        ["a", "b", "c", "d", "e"],
      ],
      [["llen", "l"], 5],
      [["rpush", "l", "a"], 6],
      [["lpop", "l"], "a"],
      [["rpop", "l"], "a"],
      [["rpop", "l"], "e"],
      [
        ["lrange", "l", 0, -1],
        ["b", "c", "d"],
      ],
    ]);
  });

  test("popping the last value takes the key away", async ({ kv }) => {
    await expectReplies(kv, [
      [["lpush", "l", "", "x"], 2],
      [["lpop", "l"], "x"],
      [["lpop", "l"], ""],
      [["lpop", "l"], null],
      [["exists", "l"], 0],
    ]);
  });

  test("a push of no values is refused", async ({ kv }) => {
    for (const method of ["lpush", "rpush"] as const) {
      const refused = refusal("ERR", `ERR wrong number of arguments for '${method}' command`);
      await expectReplies(kv, [
        [[method, "l"], refused],
        [["exists", "l"], 0],
      ]);
    }
  });

  for (const [start, stop, values] of ranges) {
    test(`the range ${start} to ${stop}`, async ({ kv }) => {
      await expectReplies(kv, [
        [["rpush", "l", ..."abcde"], 5],
        [["lrange", "l", start, stop], [...values]],
        [["ltrim", "l", start, stop], undefined],
        [["lrange", "l", 0, -1], [...values]],
        [["llen", "l"], values.length],
        [["exists", "l"], values === "" ? 0 : 1],
      ]);
    });
  }

  test("any text can be a value", async ({ kv }) => {
    const values = ["", "\0", "\r\n", "日本語", "👩‍👩‍👧", "\u{10FFFF}", "x".repeat(1 << 20)];
    assert.equal(await kv.rpush("l", ...values), values.length);
    assert.deepEqual(await kv.lrange("l", 0, -1), values);
    for (const value of values) assert.equal(await kv.lpop("l"), value);
  });

  test("10,000 values as a queue, in one call and one by one", async ({ kv }) => {
    const values = Array.from({ length: 10_000 }, (_, index) => `${index}`);
    assert.equal(await kv.rpush("l", ...values), 10_000);
    assert.deepEqual(await kv.lrange("l", 0, -1), values);
    assert.deepEqual(await Promise.all(values.map(() => kv.lpop("l"))), values);
    assert.equal(await kv.exists("l"), 0);
  });

  test("a changelog keeps its newest 100 entries", async ({ kv }) => {
    for (let entry = 0; entry < 300; entry++) {
      await Promise.all([kv.lpush("log", `${entry}`), kv.ltrim("log", 0, 99)]);
    }
    const newest = Array.from({ length: 100 }, (_, index) => `${299 - index}`);
    assert.deepEqual(await kv.lrange("log", 0, -1), newest);
  });
});
