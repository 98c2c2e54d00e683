// A new version that reads another layout loses the data of existing objects. The layout is written here by hand, from docs/surface.md,
// "The Durable Object".
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createDurableObjectKV, DurableKVEngine } from "covara-kv";
import { contents } from "../replies.js";
import { FakeNamespace } from "./fake-namespace.js";
import { FakeSqlStorage, FakeStorage } from "./fake-storage.js";

const FAR = 4_102_444_800_000;

const fixture = (): Record<string, unknown> => ({
  "s\0app:string": { v: "text" },
  "s\0app:counter": { v: "41", exp: FAR },
  "s\0app:gone": { v: "old", exp: 1 },
  "m\0app:hash": { type: "hash", exp: FAR },
  "h\0app:hash\0field": "value",
  "h\0app:hash\0": "empty field",
  "h\0app:hash\0with\0nul": "",
  "m\0app:set": { type: "set" },
  "e\0app:set\0a": 1,
  "e\0app:set\0b": 1,
  "m\0app:list": { type: "list", head: -2, tail: 1 },
  "l\0app:list\x0004398046511102": "first",
  "l\0app:list\x0004398046511103": "second",
  "l\0app:list\x0004398046511104": "third",
  "m\0app:zset": { type: "zset" },
  "z\0app:zset\0minus": -1.5,
  "z\0app:zset\0two": 2,
  "z\0app:zset\0also two": 2,
  "z\0app:zset\0last": Number.POSITIVE_INFINITY,
  "m\0app:expired": { type: "hash", exp: 1 },
  "h\0app:expired\0f": "v",
});

/** A storage with the fixture, and a store on it. */
function open(Storage: new (entries: Record<string, unknown>) => FakeStorage) {
  const storage = new Storage(fixture());
  const namespace = new FakeNamespace(() => storage);
  return { storage, namespace, kv: createDurableObjectKV(namespace, { prefix: "app", strict: true }) };
}

/** The entries that older objects know, as they know them. */
function known({ entries }: FakeStorage): Record<string, unknown> {
  // Later versions add entries of other kinds, and `count` and `indexed`.
  const old = [...entries].filter(([name]) => /^[smhelz]\0/.test(name));
  return Object.fromEntries(
    old.map(([name, value]) => {
      if (!name.startsWith("m")) return [name, value];
      const { count, indexed, ...meta } = value as Record<string, unknown>;
      return [name, meta];
    }),
  );
}

for (const Storage of [FakeStorage, FakeSqlStorage]) {
  describe(`today's layout, ${Storage.name}`, () => {
    test("is read", async () => {
      const { kv } = open(Storage);
      const secondsLeft = () => Math.round((FAR - Date.now()) / 1000);
      const before = secondsLeft();
      const { entries } = await contents(kv);
      // A second may have passed in between.
      const isNear = (ttl: unknown) => ttl === before || ttl === secondsLeft();
      const found = (entries as [key: string, ttl: number, value: unknown][]).map(([key, ttl, value]) => {
        return [key, isNear(ttl) ? "far" : ttl, value];
      });
      assert.deepEqual(found, [
        ["counter", "far", "41"],
        ["hash", "far", { "": "empty field", field: "value", "with\0nul": "" }],
        ["list", -1, ["first", "second", "third"]],
        ["set", -1, ["a", "b"]],
        ["string", -1, "text"],
        ["zset", -1, ["minus", "-1.5", "also two", "2", "two", "2", "last", "inf"]],
      ]);
      assert.deepEqual([await kv.hlen("hash"), await kv.scard("set"), await kv.zcard("zset")], [3, 2, 4]);
      assert.equal(await kv.llen("list"), 3);
    });

    test("is changed in place, and stays in that layout", async () => {
      const { storage, kv } = open(Storage);
      await kv.incr("counter");
      await kv.set("string", "new");
      await kv.hset("hash", "field", "changed");
      await kv.hset("hash", "new", "v");
      await kv.hdel("hash", "");
      await kv.sadd("set", "b", "c");
      await kv.srem("set", "a");
      await kv.lpush("list", "zeroth");
      assert.equal(await kv.rpop("list"), "third");
      await kv.zadd("zset", 3, "two");
      await kv.zincrby("zset", 1, "minus");
      await kv.zrem("zset", "last");
      await kv.hset("expired", "g", "new");
      assert.equal(await kv.get("gone"), null);
      assert.deepEqual(known(storage), {
        "s\0app:string": { v: "new" },
        "s\0app:counter": { v: "42", exp: FAR },
        "m\0app:hash": { type: "hash", exp: FAR },
        "h\0app:hash\0field": "changed",
        "h\0app:hash\0new": "v",
        "h\0app:hash\0with\0nul": "",
        "m\0app:set": { type: "set" },
        "e\0app:set\0b": 1,
        "e\0app:set\0c": 1,
        "m\0app:list": { type: "list", head: -3, tail: 0 },
        "l\0app:list\x0004398046511101": "zeroth",
        "l\0app:list\x0004398046511102": "first",
        "l\0app:list\x0004398046511103": "second",
        "m\0app:zset": { type: "zset" },
        "z\0app:zset\0minus": -0.5,
        "z\0app:zset\0two": 3,
        "z\0app:zset\0also two": 2,
        "m\0app:expired": { type: "hash" },
        "h\0app:expired\0g": "new",
      });
      assert.deepEqual(await kv.zrange("zset", 0, -1), ["minus", "also two", "two"]);
      assert.deepEqual([await kv.hlen("hash"), await kv.scard("set"), await kv.zcard("zset")], [3, 2, 3]);
    });

    test("what is deleted leaves nothing behind", async () => {
      const { storage, kv } = open(Storage);
      await kv.zrange("zset", 0, -1);
      await kv.hset("a\0b", "f", "v");
      await kv.del("string", "counter", "hash", "set", "list", "zset", "gone", "expired", "a\0b");
      assert.deepEqual(
        [...storage.entries.keys()].filter((name) => name !== "t"),
        [],
      );
    });

    test("new data has the same layout", async () => {
      const storage = new Storage({});
      const engine = new DurableKVEngine(storage);
      await engine.set("k", "v");
      await engine.hset("k2", "f", "v");
      await engine.rpush("k3", "a", "b");
      await engine.zadd("k4", Number.NEGATIVE_INFINITY, "m");
      await engine.sadd("", "m");
      assert.deepEqual(known(storage), {
        "s\0k": { v: "v" },
        "m\0k2": { type: "hash" },
        "h\0k2\0f": "v",
        "m\0k3": { type: "list", head: 0, tail: 2 },
        "l\0k3\x0004398046511104": "a",
        "l\0k3\x0004398046511105": "b",
        "m\0k4": { type: "zset" },
        "z\0k4\0m": "-inf",
        "m\0": { type: "set" },
        "e\0\0m": 1,
      });
    });

    // The field `b\0c` of `a` and the field `c` of `a\0b` are the same entry if nothing escapes the NUL.
    test("keys with NUL have members of their own", async () => {
      const engine = new DurableKVEngine(new Storage({}));
      const fields = [
        ["a", "b\0c"],
        ["a\0b", "c"],
        ["a%00b", "c"],
        ["a\0", "b\0c"],
        ["\0a", "b"],
      ] as const;
      for (const [key, field] of fields) await engine.hset(key, field, `${key}: ${field}`);
      for (const [key, field] of fields) {
        assert.deepEqual(await engine.hgetall(key), { [field]: `${key}: ${field}` });
        assert.equal(await engine.hlen(key), 1);
      }
      await engine.del("a");
      assert.equal(await engine.hget("a\0b", "c"), "a\0b: c");
      assert.deepEqual(await engine.keys("a*"), ["a\0", "a\0b", "a%00b"]);
    });
  });
}

describe("expired keys", () => {
  test("go away by themselves, those of today's data too", async () => {
    const { storage, namespace, kv } = open(FakeSqlStorage);
    const sql = storage as FakeSqlStorage;
    assert.equal(await kv.get("string"), "text");
    assert.ok((sql.alarm ?? Number.POSITIVE_INFINITY) <= Date.now());
    await namespace.object().alarm();
    assert.deepEqual(
      [...storage.entries.keys()].filter((name) => /gone|expired/.test(name)),
      [],
    );
    const soon = await kv.set("soon", "v", { px: 5_000 }).then(() => Date.now() + 5_000);
    assert.ok(Math.abs((sql.alarm ?? 0) - soon) < 1_000);
    await kv.del("soon");
    assert.equal([...storage.entries.keys()].filter((name) => name.includes("soon")).length, 0);
  });

  test("an alarm that was lost is set again when the object wakes", async () => {
    const { storage, namespace, kv } = open(FakeSqlStorage);
    await kv.get("string");
    await namespace.object().alarm();
    (storage as FakeSqlStorage).alarm = null;
    namespace.object().evict();
    await kv.get("string");
    assert.ok((storage as FakeSqlStorage).alarm !== null);
  });
});

test("a value over what an entry holds is refused, and nothing changes", async () => {
  const storage = new FakeSqlStorage(fixture());
  const engine = new DurableKVEngine(storage);
  const before = new Map(storage.entries);
  const large = "x".repeat(2 * 1024 * 1024);
  const refused = { code: "INVALID_ARGUMENT", message: /is over the 2 MB of the Durable Object/ };
  await assert.rejects(engine.set("app:hash", large), refused);
  await assert.rejects(engine.hmset("app:hash", { a: "small", b: large }), refused);
  await assert.rejects(engine.hmset("app:string", { a: "small", b: large }), refused);
  await assert.rejects(engine.rpush("new", "small", large), refused);
  await assert.rejects(engine.sadd("new", "small", large), refused);
  await assert.rejects(engine.zadd("new", 1, large), refused);
  assert.deepEqual(new Map(storage.entries), before);
  await engine.set("k", "ä".repeat(1024 * 1024));
  await assert.rejects(engine.set("k", "日".repeat(1024 * 1024)), refused);

  // The storage without SQLite has a `sql` that throws.
  const old = new FakeSqlStorage();
  Object.defineProperty(old.sql, "databaseSize", { get: () => assert.fail("SQL is not enabled") });
  const oldEngine = new DurableKVEngine(old);
  await oldEngine.set("k", "x".repeat(127 * 1024));
  await assert.rejects(oldEngine.set("k", "x".repeat(128 * 1024)), { message: /over the 128 KB/ });
  await assert.rejects(oldEngine.hset("k", "x".repeat(2_048), "v"), { message: /over the 2 KB/ });
});
