// Tests of programs fake the clock, advance it past a key's deadline, and expect the key to be gone. A store with a clock of its own keeps
// the key. Vitest and Jest use the same library as these tests.
import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";
import { type Clock, install } from "@sinonjs/fake-timers";
import { createMemoryKV, type KVStore } from "covara-kv";

let clock: Clock | undefined;
afterEach(() => {
  clock?.uninstall();
  clock = undefined;
});

/** Fakes what Vitest fakes by default; not `process.nextTick`, which the test runner needs. */
const fakeTimers = (now = Date.now()): Clock =>
  install({ toFake: ["Date", "setTimeout", "clearTimeout", "setInterval", "clearInterval"], now });

const call = (kv: KVStore, ...words: string[]) =>
  kv.eval("return redis.call(unpack(ARGV))", [], words.map(String));

/** All that a store tells of a key `k` that may have expired. */
async function seen(kv: KVStore) {
  return {
    get: await kv.get("k"),
    ttl: await kv.ttl("k"),
    exists: await kv.exists("k"),
    keys: await kv.keys("*"),
    scan: (await kv.scan("0")).keys,
    size: await call(kv, "DBSIZE"),
    multi: await kv.multi().get("k").exec(),
  };
}

const there = { get: "v", exists: 1, keys: ["k"], scan: ["k"], size: 1, multi: ["v"] };
const gone = { get: null, ttl: -2, exists: 0, keys: [], scan: [], size: 0, multi: [null] };

test("a key expires when fake timers are advanced", async () => {
  const kv = createMemoryKV();
  clock = fakeTimers();
  await kv.set("k", "v", { ex: 10 });
  await clock.tickAsync(9_000);
  assert.deepEqual(await seen(kv), { ...there, ttl: 1 });
  await clock.tickAsync(2_000);
  assert.deepEqual(await seen(kv), gone);
});

test("each way of giving a deadline goes by the fake clock", async () => {
  const kv = createMemoryKV();
  clock = fakeTimers(Date.parse("2001-02-03"));
  const soon = Date.now() + 10_000;
  const ways: [string, (key: string) => Promise<unknown>][] = [
    ["ex", (key) => kv.set(key, "v", { ex: 10 })],
    ["px", (key) => kv.set(key, "v", { px: 10_000 })],
    ["setex", (key) => call(kv, "SETEX", key, "10", "v")],
    ["expire", (key) => kv.set(key, "v").then(() => kv.expire(key, 10))],
    ["multi", (key) => kv.multi().set(key, "v", { ex: 10 }).exec()],
    ["script", (key) => call(kv, "SET", key, "v", "PXAT", `${soon}`)],
  ];
  for (const [key, set] of ways) await set(key);
  await clock.tickAsync(9_999);
  assert.equal(await kv.exists(...ways.map(([key]) => key)), ways.length);
  await clock.tickAsync(1);
  assert.equal(await kv.exists(...ways.map(([key]) => key)), 0);
});

test("the date may be set, also to long ago, and only the date", async () => {
  const kv = createMemoryKV();
  clock = install({ toFake: ["Date"], now: Date.parse("1999-12-31") });
  await kv.set("k", "v", { ex: 10 });
  // The sweeper runs on the system's timers. By the system's clock this key expired long ago.
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.deepEqual(await seen(kv), { ...there, ttl: 10 });
  clock.setSystemTime(Date.parse("2000-01-01"));
  assert.deepEqual(await seen(kv), gone);
});

test("TIME of scripts shows the fake clock", async () => {
  const kv = createMemoryKV();
  clock = fakeTimers(1_234_567);
  const [seconds, microseconds] = (await call(kv, "TIME")) as [string, string];
  assert.deepEqual([seconds, microseconds], ["1234", "567000"]);
});

test("a spy on Date.now is followed", async () => {
  const kv = createMemoryKV();
  const now = Date.now();
  await kv.set("k", "v", { ex: 10 });
  const spy = mock.method(Date, "now", () => now + 11_000);
  assert.equal(await kv.get("k"), null);
  spy.mock.restore();
});

test("deadlines are times: with the system's clock back, a key with a later deadline stays", async () => {
  const kv = createMemoryKV();
  const now = Date.now();
  clock = fakeTimers(now);
  await kv.set("later", "v", { ex: 1_000 });
  clock.setSystemTime(now - 1_000_000);
  await kv.set("earlier", "v", { ex: 10 });
  clock.uninstall();
  clock = undefined;
  assert.deepEqual([await kv.get("later"), await kv.get("earlier")], ["v", null]);
  assert.ok((await kv.ttl("later")) > 900);
});

test("a shared store goes by the system's clock, as its other threads do", async () => {
  const kv = createMemoryKV("", { shared: "clock" });
  clock = fakeTimers();
  await kv.set("k", "v", { ex: 10 });
  await clock.tickAsync(11_000);
  assert.equal(await kv.get("k"), "v");
  assert.deepEqual(await kv.multi().get("k").exec(), ["v"]);
  await kv.disconnect();
});

// Rate limiters add `TIME` to a sorted set. If its microseconds are always a whole millisecond, 254 of 500 calls pass instead of 10.
test("TIME differs in each call", async () => {
  const kv = createMemoryKV();
  const times = new Set<string>();
  for (let n = 0; n < 1_000; n++) times.add(`${await call(kv, "TIME")}`);
  clock = fakeTimers();
  for (let n = 0; n < 1_000; n++) times.add(`${await call(kv, "TIME")}`);
  assert.equal(times.size, 2_000);
});
