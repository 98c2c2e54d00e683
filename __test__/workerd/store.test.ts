// A store that works in Node.js may fail in a Worker: timers, sockets and requests have other rules there.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { eventually } from "../backends.js";
import { RemoteObject, startStores } from "./objects.js";
import { cannotRun, type Worker } from "./workerd.js";

describe("a store in a Worker", { skip: cannotRun, concurrency: true }, () => {
  let worker: Worker;
  before(async () => {
    worker = await startStores();
  });
  after(() => worker.stop());

  test("each request uses the one that the first has made", async () => {
    const object = new RemoteObject(worker);
    for (let request = 1; request <= 20; request++) {
      assert.deepEqual(await object.call(["incr", "n"], ["get", "n"]), [request, `${request}`]);
    }
    const counts = await Promise.all(Array.from({ length: 20 }, () => object.call(["incr", "n"])));
    assert.deepEqual(
      counts.flat().sort((a, b) => Number(a) - Number(b)),
      Array.from({ length: 20 }, (_, index) => 21 + index),
    );
  });

  test("commands and MULTI", async () => {
    const object = new RemoteObject(worker);
    const results = await object.multi(
      ["set", "s", "1", { ex: 100 }],
      ["incr", "s"],
      ["rpush", "l", "a", "b"],
      ["get", "none"],
    );
    assert.deepEqual(results, ["OK", 2, 2, null]);
    assert.deepEqual(await object.call(["lrange", "l", 0, -1]), [["a", "b"]]);
    const [ttl] = (await object.call(["ttl", "s"])) as [number];
    // A busy machine may take seconds between the two calls.
    assert.ok(ttl > 80 && ttl <= 100, `${ttl}`);
    await assert.rejects(object.multi(["set", "s", "x"], ["incr", "s"]), /not an integer/);
    assert.deepEqual(await object.call(["keys", "*"], ["get", "s"]), [["s", "l"], "x"]);
  });

  test("scores may be infinite", async () => {
    const object = new RemoteObject(worker);
    const results = await object.call(
      ["zadd", "z", "Infinity", "last"],
      ["zadd", "z", "-Infinity", "first"],
      ["zscore", "z", "last"],
      ["zincrby", "z", 1, "first"],
      ["zrangebyscore", "z", "-inf", "+inf", { withScores: true }],
    );
    assert.deepEqual(results, [1, 1, "Infinity", "-Infinity", ["first", "-inf", "last", "inf"]]);
  });

  test("names that JavaScript or the storage could take for something else", async () => {
    const object = new RemoteObject(worker);
    await object.call(
      ["hset", "h", "__proto__", "v"],
      ["set", "a\0b", "1"],
      ["sadd", "a\0b\0", "m\0"],
      ["set", "", "empty"],
    );
    const [hash, ...others] = await object.call(
      ["hgetall", "h"],
      ["get", "a\0b"],
      ["smembers", "a\0b\0"],
      ["keys", "*"],
    );
    assert.deepEqual(Object.entries(hash as object), [["__proto__", "v"]]);
    assert.deepEqual(others, ["1", ["m\0"], ["", "a\0b", "a\0b\0", "h"]]);
  });

  test("one request listens, and others publish", async () => {
    const object = new RemoteObject(worker);
    const listener = await object.listen(["a", "ä\0"], ["p*"]);
    assert.equal(await object.publish("a", "1"), 1);
    assert.equal(await object.publish("ä\0", "2"), 1);
    assert.equal(await object.publish("pattern", "3"), 1);
    assert.equal(await object.publish("other", "4"), 0);
    await eventually(() => listener.got.length === 3);
    assert.deepEqual(listener.got, [
      ["a", "1"],
      ["ä\0", "2"],
      ["pattern", "3"],
    ]);
    await listener.leave();
  });

  test("when a client goes away, the socket of its request does", async () => {
    const object = new RemoteObject(worker);
    const listener = await object.listen(["a"]);
    assert.equal(await object.publish("a", "1"), 1);
    await eventually(() => listener.got.length === 1);
    await listener.leave();
    await eventually(async () => (await object.publish("a", "2")) === 0);
  });

  test("two requests listen at once, and one of them goes", async () => {
    const object = new RemoteObject(worker);
    const [stays, goes] = [await object.listen(["a"]), await object.listen(["a", "b"])];
    assert.equal(await object.publish("a", "1"), 2);
    await eventually(() => stays.got.length === 1 && goes.got.length === 1);
    await goes.leave();
    await eventually(async () => (await object.publish("b", "2")) === 0);
    assert.equal(await object.publish("a", "3"), 1);
    await eventually(() => stays.got.length === 2);
    await stays.leave();
    await eventually(async () => (await object.publish("a", "4")) === 0);
    const again = await object.listen(["a"]);
    assert.equal(await object.publish("a", "5"), 1);
    await eventually(() => again.got.length === 1);
    await again.leave();
  });
});
