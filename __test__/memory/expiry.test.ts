// Expired keys that are not swept fill the memory, and a sweep that does too much at once stops the event loop.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createMemoryKV, type KVStore } from "covara-kv";
import { eventually } from "../backends.js";

/** The number of keys in the store, including expired ones that are not yet swept. */
const size = (kv: KVStore) => kv.eval("return redis.call('dbsize')", [], []);

test("expired keys of every type go although nobody reads them", async () => {
  const kv = createMemoryKV("p");
  await kv.set("stays", "v");
  await kv.set("string", "v", { px: 20 });
  await kv.hset("hash", "f", "v");
  await kv.sadd("set", "m");
  await kv.rpush("list", "v");
  await kv.zadd("zset", 1, "m");
  for (const key of ["hash", "set", "list", "zset"]) await kv.expire(key, 1);
  assert.equal(await size(kv), 6);
  await eventually(async () => (await size(kv)) === 1);
  assert.deepEqual(await kv.keys("*"), ["stays"]);
});

test("100,000 keys that expire at once all go, in all stores", async () => {
  const stores = [createMemoryKV("a"), createMemoryKV("b"), createMemoryKV("c", { shared: "expiry" })];
  for (const kv of stores) {
    for (let index = 0; index < 100_000; index++) void kv.set(`k${index}`, "v", { px: 10 + (index % 50) });
    await kv.set("stays", "v", { ex: 1_000 });
  }
  for (const kv of stores) await eventually(async () => (await size(kv)) === 1);
  await Promise.all(stores.map((kv) => kv.disconnect()));
});

test("a deadline that was taken away or moved deletes nothing", async () => {
  const kv = createMemoryKV();
  for (const key of ["taken away", "moved", "renewed", "goes"]) await kv.set(key, "v", { px: 20 });
  await kv.set("taken away", "v");
  await kv.expire("moved", 1_000);
  await kv.del("renewed");
  await kv.rpush("renewed", "v");
  await eventually(async () => (await size(kv)) === 3);
  assert.deepEqual((await kv.keys("*")).sort(), ["moved", "renewed", "taken away"]);
  assert.deepEqual([await kv.ttl("taken away"), await kv.ttl("renewed")], [-1, -1]);
});

test("keys go on expiring after another store was disconnected, and after a store was opened again", async () => {
  const [first, second] = [createMemoryKV(), createMemoryKV()];
  await first.set("k", "v", { px: 10 });
  await second.set("k", "v", { px: 10 });
  await first.disconnect();
  await eventually(async () => (await size(second)) === 0);
  await second.disconnect();
  await first.connect();
  await first.set("k", "v", { px: 10 });
  await eventually(async () => (await size(first)) === 0);
});
