// Without one store for the process, each module uses a store of its own, or one that is half configured.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import {
  clearGlobalKV,
  createKV,
  createMemoryKV,
  DurableObjectKVStore,
  getGlobalKV,
  hasGlobalKV,
  initializeEventSubscription,
  initializeKV,
  type KVConfig,
  MemoryKVStore,
  setGlobalKV,
} from "covara-kv";
import { expectRefusal, refusal } from "../replies.js";

afterEach(clearGlobalKV);

test("there is no store until one is set, and none after it is cleared", () => {
  assert.equal(hasGlobalKV(), false);
  assert.throws(
    getGlobalKV,
    (error: unknown) => error instanceof Error && error.message.startsWith("KV store not initialized"),
  );
  const kv = createMemoryKV();
  assert.equal(setGlobalKV(kv), undefined);
  assert.deepEqual([hasGlobalKV(), getGlobalKV() === kv], [true, true]);
  clearGlobalKV();
  assert.equal(hasGlobalKV(), false);
  assert.throws(getGlobalKV, /^KVError: KV store not initialized/);
});

test("initializeKV makes a store, connects it and sets it", async () => {
  const kv = await initializeKV({ type: "memory", prefix: "p" });
  assert.ok(kv instanceof MemoryKVStore);
  assert.deepEqual([getGlobalKV() === kv, kv.isConnected()], [true, true]);
  await kv.set("k", "v");
  const next = await initializeKV({ type: "memory" });
  assert.deepEqual([getGlobalKV() === next, await kv.get("k")], [true, "v"]);
});

test("createKV sets no global store", async () => {
  await createKV({ type: "memory" });
  assert.equal(hasGlobalKV(), false);
});

// A test double may have only the one method that its test needs. It must not be refused.
test("any object may be set, and nothing else", async () => {
  setGlobalKV(createMemoryKV());
  await initializeEventSubscription();
  class Own {
    async get() {
      return "own";
    }
  }
  for (const kv of [
    { get: async () => "one" },
    new Own(),
    {},
    new Map(),
    Object.create(null),
    { on: true, status: 1 },
  ] as never[]) {
    assert.equal(setGlobalKV(kv), undefined);
    assert.equal(getGlobalKV(), kv);
  }
  const last = getGlobalKV();
  for (const other of [undefined, null, "memory", 5, true] as never[]) {
    assert.throws(() => setGlobalKV(other), { name: "KVError", code: "INVALID_ARGUMENT" });
  }
  assert.equal(getGlobalKV(), last);
});

test("a configuration that cannot be is refused before anything is opened", async () => {
  const wrong: [config: unknown, code: string, message: RegExp][] = [
    [{ type: "redis" }, "CONFIG", /^Redis configuration required/],
    [{ type: "redis", redis: null }, "CONFIG", /^Redis configuration required/],
    [{ type: "durable-object" }, "CONFIG", /^Durable Object namespace required/],
    [{ type: "durable-object", durableObject: {} }, "CONFIG", /^Durable Object namespace required/],
    [{ type: "memcached" }, "CONFIG", /type/],
    [{ type: "constructor" }, "CONFIG", /type/],
    [{}, "CONFIG", /type/],
    [undefined, "CONFIG", /type/],
    [null, "CONFIG", /type/],
    ["memory", "CONFIG", /type/],
    [{ type: "memory", prefix: 5 }, "INVALID_ARGUMENT", /prefix/],
    [{ type: "memory", prefix: null }, "INVALID_ARGUMENT", /prefix/],
    [{ type: "memory", strict: "yes" }, "INVALID_ARGUMENT", /strict/],
    [{ type: "memory", shared: true }, "INVALID_ARGUMENT", /shared/],
  ];
  for (const [config, code, message] of wrong) {
    await expectRefusal(createKV(config as KVConfig), refusal(code, message));
    await expectRefusal(initializeKV(config as KVConfig), refusal(code, message));
    assert.equal(hasGlobalKV(), false);
  }
});

test("createKV builds a store on a Durable Object, and asks that for nothing yet", async () => {
  const namespace = { idFromName: () => "id", get: () => assert.fail("nothing is opened") };
  const kv = await createKV({ type: "durable-object", durableObject: { namespace }, prefix: "app" });
  assert.ok(kv instanceof DurableObjectKVStore);
  assert.deepEqual([kv.isConnected(), kv.prefix], [true, "app"]);
  await kv.disconnect();
});
