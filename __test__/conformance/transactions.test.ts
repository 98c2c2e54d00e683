// If one backend runs a part of a refused transaction, or lets other calls in between, data is half changed there.
import assert from "node:assert/strict";
import type { KVStoreTransaction } from "covara-kv";
import { onEveryBackend } from "../backends.js";
import { contents, errorOf, expectRefusal, expectReplies, notAnInteger, refusal } from "../replies.js";

/** Commands in the order of the queue, each with its result. */
const queued: [queue: (multi: KVStoreTransaction) => KVStoreTransaction, result: unknown][] = [
  [(multi) => multi.get("s"), null],
  [(multi) => multi.set("s", "1"), "OK"],
  [(multi) => multi.set("s", "2", { nx: true }), null],
  [(multi) => multi.set("none", "2", { xx: true }), null],
  [(multi) => multi.set("s", "3", { xx: true, ex: 100 }), "OK"],
  [(multi) => multi.get("s"), "3"],
  [(multi) => multi.incr("s"), 4],
  [(multi) => multi.setnx("s", "5"), false],
  [(multi) => multi.setnx("lock", "5", { px: 100_000 }), true],
  [(multi) => multi.getdel("lock"), "5"],
  [(multi) => multi.getdel("lock"), null],
  [(multi) => multi.hset("h", "f", "v"), 1],
  [(multi) => multi.hset("h", "f", "w"), 0],
  [(multi) => multi.hdel("h", "f", "g"), 1],
  [(multi) => multi.hdel("h"), 0],
  [(multi) => multi.sadd("m", "a", "b", "a"), 2],
  [(multi) => multi.sadd("m"), 0],
  [(multi) => multi.srem("m", "a", "x"), 1],
  [(multi) => multi.srem("m"), 0],
  [(multi) => multi.lpush("l", "b", "a"), 2],
  [(multi) => multi.rpush("l", "c"), 3],
  [(multi) => multi.zadd("z", 1.5, "m"), 1],
  [(multi) => multi.zadd("z", Number.POSITIVE_INFINITY, "m"), 0],
  [(multi) => multi.zrem("z", "x"), 0],
  [(multi) => multi.zrem("z"), 0],
  [(multi) => multi.expire("l", 100), true],
  [(multi) => multi.expire("none", 100), false],
  [(multi) => multi.del(), 0],
  [(multi) => multi.del("s", "none"), 1],
];

onEveryBackend("transactions", (test) => {
  test("every command gives its result in its place", async ({ kv }) => {
    const multi = kv.multi();
    for (const [queue] of queued) assert.equal(queue(multi), multi);
    assert.deepEqual(
      await multi.exec(),
      queued.map(([, result]) => result),
    );
    await expectReplies(kv, [
      [["ttl", "l"], 100],
      [
        ["lrange", "l", 0, -1],
        ["a", "b", "c"],
      ],
      [["del", "l"], 1],
    ]);
    assert.deepEqual(await contents(kv), {
      entries: [
        ["m", -1, ["b"]],
        ["z", -1, ["m", "inf"]],
      ],
    });
  });

  test("nothing is run before exec", async ({ kv }) => {
    const multi = kv.multi().set("k", "v");
    assert.equal(await kv.get("k"), null);
    await multi.exec();
    assert.equal(await kv.get("k"), "v");
  });

  test("an empty queue gives no results", async ({ kv }) => {
    assert.deepEqual(await kv.multi().exec(), []);
    assert.deepEqual(await kv.multi().del().sadd("s").exec(), [0, 0]);
  });

  // A queue that is kept runs all commands again at a second exec, and discard does nothing.
  test("exec and discard empty the queue", async ({ kv }) => {
    const multi = kv.multi().incr("n");
    assert.deepEqual(await multi.exec(), [1]);
    assert.deepEqual(await multi.exec(), []);
    assert.equal(multi.incr("n").discard(), undefined);
    assert.deepEqual(await multi.exec(), []);
    multi.discard();
    multi.discard();
    assert.deepEqual(await multi.incr("n").get("n").exec(), [2, "2"]);
    assert.equal(await kv.get("n"), "2");
  });

  test("exec twice at once runs the queue once", async ({ kv }) => {
    const multi = kv.multi().incr("n");
    assert.deepEqual(await Promise.all([multi.exec(), multi.exec()]), [[1], []]);
    assert.equal(await kv.get("n"), "1");
  });

  test("transactions do not mix", async ({ kv }) => {
    const [a, b] = [kv.multi(), kv.multi()];
    a.set("k", "a").get("k");
    b.set("k", "b").get("k");
    assert.deepEqual(await Promise.all([a.exec(), b.exec()]), [
      ["OK", "a"],
      ["OK", "b"],
    ]);
  });

  test("if a command fails the others have run, and the failure says which", async ({ kv }) => {
    await kv.set("text", "abc");
    const multi = kv.multi().set("before", "1").incr("text").incr("text").set("after", "2").del();
    const error = await errorOf(multi.exec());
    notAnInteger.check(error);
    assert.equal(error.command, "INCR");
    assert.equal(error.index, 1);
    const [first, failed, too, last, none, ...more] = error.results ?? [];
    assert.deepEqual([first, last, none, more], ["OK", "OK", 0, []]);
    notAnInteger.check(failed);
    notAnInteger.check(too);
    assert.deepEqual(await kv.mget("before", "text", "after"), ["1", "abc", "2"]);
    assert.deepEqual(await multi.exec(), []);
  });

  test("a wrong argument shows in exec, and nothing is run", async ({ kv }) => {
    const wrong: ((multi: KVStoreTransaction) => KVStoreTransaction)[] = [
      (multi) => multi.set("k", 1 as never),
      (multi) => multi.get(undefined as never),
      (multi) => multi.del("a", Symbol("b") as never),
      (multi) => multi.zadd("z", Number.NaN, "m"),
      (multi) => multi.expire("k", 1.5),
      (multi) => multi.set("k", "\ud800"),
      (multi) => multi.set("k", "v", { ex: "1" as never }),
      (multi) => multi.hset("h", "f", null as never),
    ];
    for (const queue of wrong) {
      const multi = kv.multi().set("before", "v");
      assert.equal(queue(multi), multi);
      const error = await errorOf(multi.set("after", "v").exec());
      assert.deepEqual([error.code, error.index, error.results], ["INVALID_ARGUMENT", 1, undefined]);
      assert.deepEqual(await multi.set("k", "v").exec(), ["OK"]);
      assert.deepEqual(await kv.keys("*"), ["k"]);
    }
  });

  test("a push of no values is refused before anything is run", async ({ kv }) => {
    for (const method of ["lpush", "rpush"] as const) {
      const refused = refusal("ERR", `ERR wrong number of arguments for '${method}' command`);
      await expectRefusal(kv.multi().set("k", "v")[method]("l").exec(), refused);
      assert.deepEqual(await kv.keys("*"), []);
    }
  });

  test("options are read when they are given", async ({ kv }) => {
    const options = { ex: 100 };
    const multi = kv.multi().set("k", "v", options);
    options.ex = 5;
    await multi.exec();
    await expectReplies(kv, [[["ttl", "k"], 100]]);
  });

  test("10,000 commands", async ({ kv }) => {
    const multi = kv.multi();
    for (let index = 0; index < 10_000; index++) multi.incr("n");
    assert.deepEqual(
      await multi.exec(),
      Array.from({ length: 10_000 }, (_, index) => index + 1),
    );
  });

  test("commands from elsewhere do not come in between", async ({ kv }) => {
    const transactions = Array.from({ length: 20 }, (_, index) =>
      kv.multi().set("k", `${index}`).get("k").incr("k").get("k").exec(),
    );
    const others = Array.from({ length: 20 }, () => kv.set("k", "other"));
    for (const [index, results] of (await Promise.all(transactions)).entries()) {
      assert.deepEqual(results, ["OK", `${index}`, index + 1, `${index + 1}`]);
    }
    await Promise.all(others);
  });

  // On a Durable Object a call after exec is sent beside the transaction, so that a read runs before the transaction's write.
  test("what is called in one go has its effect in that order, transactions among it", async ({ kv }) => {
    const results = await Promise.all([
      kv.set("a", "0"),
      kv.multi().incr("a").exec(),
      kv.get("a"),
      kv.multi().incr("a").incr("a").exec(),
      kv.multi().get("a").exec(),
      kv.incr("a"),
      kv.get("a"),
    ]);
    assert.deepEqual(results, [undefined, [1], "1", [2, 3], ["3"], 4, "4"]);
  });

  test("nobody sees a transaction half done", async ({ kv, open }) => {
    const observer = await open();
    const seen = new Set<unknown>();
    for (let round = 0; round < 200; round++) {
      const [, values] = await Promise.all([kv.multi().incr("a").incr("b").exec(), observer.mget("a", "b")]);
      seen.add(values[0] === values[1]);
    }
    assert.deepEqual([...seen], [true]);
  });
});
