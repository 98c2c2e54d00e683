// If one backend answers a command on sets differently, a program that changes its backend finds other members.
import assert from "node:assert/strict";
import { onEveryBackend } from "../backends.js";
import { expectReplies, inAnyOrder } from "../replies.js";

onEveryBackend("sets", (test) => {
  test("a set that is not there is empty", async ({ kv }) => {
    await expectReplies(kv, [
      [["smembers", "s"], []],
      [["sismember", "s", "m"], false],
      [["scard", "s"], 0],
      [["srem", "s", "m"], 0],
      [["exists", "s"], 0],
    ]);
  });

  test("members are added and removed, each once", async ({ kv }) => {
    await expectReplies(kv, [
      [["sadd", "s", "a"], 1],
      [["sadd", "s", "a", "b", "c", "b"], 2],
      [["sadd", "s", "a"], 0],
      [["scard", "s"], 3],
      [["smembers", "s"], inAnyOrder("a", "b", "c")],
      [["sismember", "s", "b"], true],
      [["sismember", "s", "d"], false],
      [["srem", "s", "b", "d", "b"], 1],
      [["smembers", "s"], inAnyOrder("a", "c")],
      [["srem", "s", "a", "c"], 2],
      [["exists", "s"], 0],
    ]);
  });

  test("no members change nothing", async ({ kv }) => {
    await expectReplies(kv, [
      [["sadd", "s"], 0],
      [["exists", "s"], 0],
      [["sadd", "s", "a"], 1],
      [["sadd", "s"], 0],
      [["srem", "s"], 0],
      [["smembers", "s"], ["a"]],
    ]);
  });

  test("integers and other texts are told apart", async ({ kv }) => {
    await expectReplies(kv, [
      [["sadd", "s", "1", "2", "3"], 3],
      [["sismember", "s", "01"], false],
      [["sismember", "s", "1"], true],
      [["sadd", "s", "01", "1.0", "+1", "x", "__proto__"], 5],
      [["smembers", "s"], inAnyOrder("1", "2", "3", "01", "1.0", "+1", "x", "__proto__")],
    ]);
  });

  test("any text can be a member", async ({ kv }) => {
    const members = ["", "\0", "a\0", "é", "e\u0301", "日本語", "\u{10FFFF}", "\uFFFF", "x".repeat(1 << 20)];
    assert.equal(await kv.sadd("s", ...members), members.length);
    assert.deepEqual((await kv.smembers("s")).sort(), [...members].sort());
    for (const member of members) assert.equal(await kv.sismember("s", member), true);
  });

  test("10,000 members in one call", async ({ kv }) => {
    const members = Array.from({ length: 10_000 }, (_, index) => `member ${index}`);
    assert.equal(await kv.sadd("s", ...members), 10_000);
    assert.equal(await kv.sadd("s", ...members, "one more"), 1);
    assert.equal(await kv.scard("s"), 10_001);
    assert.deepEqual(new Set(await kv.smembers("s")), new Set([...members, "one more"]));
    assert.equal(await kv.srem("s", ...members), 10_000);
    assert.deepEqual(await kv.smembers("s"), ["one more"]);
  });
});
