// Objects in workerd are evicted and come back, their alarms ring, and their data is in files. Only there does code that relies on memory
// fail.
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { eventually } from "../backends.js";
import { scratchFolder } from "../scratch-folder.js";
import { RemoteObject, startStores } from "./objects.js";
import { cannotRun, type Worker } from "./workerd.js";

/** workerd evicts an object after 10 s without a request. A test cannot ask whether it has, as asking is a request. */
const IDLE = 11_000;

async function evicted(object: RemoteObject): Promise<void> {
  const life = await object.life();
  do await wait(IDLE);
  while ((await object.life()) === life);
}

describe("an object in workerd", { skip: cannotRun, concurrency: true }, () => {
  let worker: Worker;
  before(async () => {
    worker = await startStores();
  });
  after(() => worker.stop());

  test("sockets outlive its eviction, with names in the attachment", async () => {
    const object = new RemoteObject(worker);
    const listener = await object.listen(["a"], ["p*"]);
    await object.publish("a", "before");
    await evicted(object);
    assert.equal(await object.publish("a", "1"), 1);
    assert.equal(await object.publish("pattern", "2"), 1);
    assert.equal(await object.publish("other", "3"), 0);
    await eventually(() => listener.got.length === 3);
    assert.deepEqual(listener.got, [
      ["a", "before"],
      ["a", "1"],
      ["pattern", "2"],
    ]);
    await listener.leave();
    await eventually(async () => (await object.publish("a", "4")) === 0);
  });

  test("sockets outlive its eviction, with names that are too long for that", async () => {
    const object = new RemoteObject(worker);
    const long = "ä".repeat(5_000);
    const listener = await object.listen([long], [`${long}r*`]);
    assert.equal((await object.entries()).filter((name) => name.startsWith("w\0")).length, 1);
    await evicted(object);
    assert.equal(await object.publish(long, "1"), 1);
    assert.equal(await object.publish(`${long}r`, "2"), 1);
    await eventually(() => listener.got.length === 2);
    await listener.leave();
    // The names of the socket are deleted with it.
    await eventually(async () => (await object.publish(long, "3")) === 0);
    await eventually(async () => !(await object.entries()).some((name) => name.startsWith("w\0")));
  });

  test("sockets are found by their channels, as far as there may be tags", async () => {
    const object = new RemoteObject(worker);
    const channels = Array.from({ length: 12 }, (_, index) => `channel ${index}`);
    const [long, tooLong] = ["ä".repeat(128), "ä".repeat(129)];
    const listeners = [
      await object.listen([tooLong, "", "a", "a", long]),
      await object.listen(channels, ["p*"]),
    ];
    const tagged = await Promise.all(
      ["a", long, tooLong, ...channels, "p*"].map((tag) => object.tagged(tag)),
    );
    assert.deepEqual(tagged, [1, 1, 0, ...Array(10).fill(1), 0, 0, 0]);
    for (const channel of [tooLong, "", long, "channel 11"])
      assert.equal(await object.publish(channel, "m"), 1);
    for (const listener of listeners) await listener.leave();
  });

  test("keys that have expired go by themselves", async () => {
    const object = new RemoteObject(worker);
    await object.call(["set", "stays", "v"]);
    const before = await object.entries();
    await object.call(
      ["set", "s", "v", { px: 500 }],
      ["zadd", "z", 1, "m"],
      ["hset", "h", "f", "v"],
      ["expire", "z", 1],
      ["expire", "h", 1],
    );
    assert.notDeepEqual(await object.entries(), before);
    await eventually(async () => (await object.entries()).length === before.length);
    assert.deepEqual(await object.entries(), before);
  });

  test("its alarm rings after it was evicted", async () => {
    const object = new RemoteObject(worker);
    await object.call(["set", "s", "v", { px: IDLE + 4_000 }]);
    await evicted(object);
    await eventually(async () => !(await object.entries()).includes("s\0s"));
  });
});

test("what is in an object outlives the runtime", { skip: cannotRun }, async () => {
  const folder = scratchFolder("objects");
  try {
    const first = await startStores(folder);
    await new RemoteObject(first, "kept").call(
      ["set", "s", "v"],
      ["hset", "h", "__proto__", "v"],
      ["zadd", "z", "Infinity", "m"],
      ["rpush", "l", "a", "b"],
      ["set", "expires", "v", { ex: 1_000 }],
      ["set", "expired", "v", { px: 1 }],
    );
    await first.stop();
    const second = await startStores(folder);
    const object = new RemoteObject(second, "kept");
    const results = await object.call(
      ["get", "s"],
      ["hkeys", "h"],
      ["zrangebyscore", "z", "-inf", "+inf", { withScores: true }],
      ["lrange", "l", 0, -1],
      ["get", "expired"],
      ["keys", "*"],
    );
    assert.deepEqual(results, [
      "v",
      ["__proto__"],
      ["m", "inf"],
      ["a", "b"],
      null,
      ["expires", "s", "h", "l", "z"],
    ]);
    const [ttl] = await object.call(["ttl", "expires"]);
    assert.ok((ttl as number) > 900 && (ttl as number) <= 1_000, `${ttl}`);
    await second.stop();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
