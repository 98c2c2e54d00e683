// A store that works only after connect, or not after disconnect, breaks tests and hot reloads.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createMemoryKV, type KVError, MemoryKVStore } from "covara-kv";
import { eventually } from "../backends.js";
import { invalidArgument } from "../replies.js";

test("a store is usable before connect, and connects by itself", async () => {
  const events: string[] = [];
  const kv = createMemoryKV("p").on("ready", () => void events.push("ready"));
  assert.deepEqual([kv.status, kv.isConnected()], ["connecting", false]);
  await kv.set("k", "v");
  assert.deepEqual([kv.status, kv.isConnected(), events], ["ready", true, ["ready"]]);
  await kv.connect();
  assert.deepEqual([await kv.get("k"), events], ["v", ["ready"]]);
});

test("the first call connects, whichever it is", async () => {
  const first: ((kv: MemoryKVStore) => Promise<unknown>)[] = [
    (kv) => kv.get("k"),
    (kv) => kv.set("k", "v", { ex: 1 }),
    (kv) => kv.multi().get("k").exec(),
    (kv) => kv.subscribe("c", () => {}),
    (kv) => kv.listen(["c"], () => {}),
    (kv) => kv.publish("c", "m"),
  ];
  for (const call of first) {
    const kv = new MemoryKVStore();
    await call(kv);
    assert.equal(kv.status, "ready", `${call}`);
    await kv.disconnect();
  }
});

test("a store that was never connected can be disconnected", async () => {
  const kv = createMemoryKV();
  await kv.disconnect();
  assert.equal(kv.status, "closed");
});

test("disconnect empties a store, which can be connected again", async () => {
  const kv = createMemoryKV("p", { strict: true });
  await kv.set("k", "v");
  await kv.rpush("l", "v");
  await kv.disconnect();
  await assert.rejects(kv.get("k"), { code: "CLOSED" });
  await kv.connect();
  assert.deepEqual(await kv.keys("*"), []);
  await kv.set("k", "w");
  assert.equal(await kv.get("k"), "w");
});

// Tests and hot reloads disconnect the process's store and go on using it, as the framework's own store allows. Without this they fail with
// CLOSED.
test("a store that is not strict goes on after disconnect, empty", async () => {
  const uses: Record<string, (kv: MemoryKVStore) => Promise<unknown>> = {
    get: (kv) => kv.get("k"),
    keys: (kv) => kv.keys("*"),
    set: (kv) => kv.set("k", "v", { ex: 10 }),
    multi: (kv) => kv.multi().get("k").incr("n").exec(),
    eval: (kv) => kv.eval("return redis.call('GET', KEYS[1])", ["k"], []),
    publish: (kv) => kv.publish("c", "m"),
    subscribe: (kv) => kv.subscribe("c", () => {}),
    subscribeScoped: async (kv) => (await kv.subscribeScoped?.(["c"], () => {}))?.close(),
    listen: async (kv) => (await kv.listen(["c"], () => {})).close(),
    unsubscribe: (kv) => kv.unsubscribe("c"),
  };
  const results: Record<string, unknown> = {};
  for (const [name, use] of Object.entries(uses)) {
    const kv = createMemoryKV("p");
    const events: string[] = [];
    const heard: string[] = [];
    await kv.set("k", "v");
    await kv.subscribe("c", (message) => void heard.push(message));
    kv.on("end", () => void events.push("end")).on("ready", () => void events.push("ready"));
    await kv.disconnect();
    assert.deepEqual([kv.status, kv.isConnected()], ["closed", false]);
    results[name] = await use(kv);
    await kv.set("after", "v");
    assert.deepEqual([kv.status, kv.isConnected(), events], ["ready", true, ["end", "ready"]], name);
    assert.deepEqual([await kv.get("after"), heard], ["v", []], name);
    await kv.disconnect();
  }
  assert.deepEqual(results, {
    ...{ get: null, keys: [], set: undefined, multi: [null, 1], eval: null, publish: 0 },
    ...{ subscribe: undefined, subscribeScoped: undefined, listen: undefined, unsubscribe: undefined },
  });
});

// Two subscriptions in a row that take 4 and 6 microtasks are live only after the next poll of a test.
test("what is subscribed is there after as few microtasks as a plain async method takes", async () => {
  const kv = createMemoryKV();
  const microtasksOf = async (call: () => Promise<unknown>) => {
    let isDone = false;
    void call().then(() => {
      isDone = true;
    });
    for (let count = 0; ; count++) {
      if (isDone) return count;
      await null;
    }
  };
  const plain = await microtasksOf(async () => {});
  const scoped = await kv.subscribeScoped?.(["a", "b"], () => {});
  const calls: Record<string, () => Promise<unknown>> = {
    subscribe: () => kv.subscribe("c", () => {}),
    "subscribe again": () => kv.subscribe("c", () => {}),
    psubscribe: () => kv.psubscribe("c*", () => {}),
    subscribeScoped: () => kv.subscribeScoped?.(["c", "d"], () => {}) ?? assert.fail(),
    listen: () => kv.listen(["e"], () => {}, { patterns: ["e*"] }),
    close: () => scoped?.close() ?? assert.fail(),
    unsubscribe: () => kv.unsubscribe("c"),
    punsubscribe: () => kv.punsubscribe("c*"),
  };
  for (const [name, call] of Object.entries(calls)) assert.equal(await microtasksOf(call), plain, name);
});

test("each store is its own, also under the same prefix", async () => {
  const [a, b] = [createMemoryKV("p"), createMemoryKV("p")];
  await a.set("k", "a");
  assert.equal(await b.get("k"), null);
  assert.equal(await b.publish("c", "m"), 0);
});

test("without a prefix keys are as they are", async () => {
  for (const kv of [createMemoryKV(), createMemoryKV(""), new MemoryKVStore(undefined)]) {
    await kv.set("a:b", "v");
    await kv.set(":", "v");
    assert.deepEqual((await kv.keys("*")).sort(), [":", "a:b"]);
    assert.deepEqual(await kv.keys("a:*"), ["a:b"]);
    assert.deepEqual((await kv.scan("0")).keys.sort(), [":", "a:b"]);
  }
});

test("a prefix or an option of a wrong type is refused at once", () => {
  const refused = (error: unknown) => invalidArgument.check(error);
  for (const prefix of [null, 1, {}, "\ud800"] as never[]) {
    assert.throws(() => createMemoryKV(prefix), refused);
    assert.throws(() => new MemoryKVStore(prefix), refused);
  }
  for (const options of [
    null,
    "strict",
    { strict: "yes" },
    { shared: 1 },
    { shared: true },
    { stict: true },
  ] as never[]) {
    assert.throws(() => createMemoryKV("p", options), refused);
  }
});

// Within one thread the pub/sub of the framework's memory store is synchronous, and applications rely on it.
test("when publish resolves, every callback has run", async () => {
  const kv = createMemoryKV();
  const received: string[] = [];
  await kv.subscribe("c", (message) => void received.push(`channel ${message}`));
  await kv.psubscribe("c*", (message) => void received.push(`pattern ${message}`));
  await kv.publish("c", "1");
  assert.deepEqual(received.splice(0), ["channel 1", "pattern 1"]);
  await kv.multi().set("k", "v").exec();
  void kv.publish("c", "2");
  assert.deepEqual(received, ["channel 2", "pattern 2"]);
});

test("what a callback publishes is delivered before the outer publish resolves, in order", async () => {
  const kv = createMemoryKV();
  const received: string[] = [];
  await kv.subscribe("c", (message) => {
    if (message.length < 3) void kv.publish("c", `${message}!`);
    received.push(`first ${message}`);
  });
  await kv.subscribe("c", (message) => void received.push(`second ${message}`));
  await kv.publish("c", "a");
  assert.deepEqual(received, ["first a", "second a", "first a!", "second a!", "first a!!", "second a!!"]);
});

test("a callback that disconnects its own store ends the delivery", async () => {
  const kv = createMemoryKV();
  const received: string[] = [];
  await kv.subscribe("c", (message) => {
    received.push(message);
    void kv.disconnect();
  });
  await kv.subscribe("c", assert.fail);
  await kv.publish("c", "1");
  assert.deepEqual([received, kv.status], [["1"], "closed"]);
});

test("a listener of ready or end may use the store", async () => {
  const kv = createMemoryKV("", { strict: true });
  const seen: unknown[] = [];
  kv.on("ready", () => void kv.set("k", "v").then(() => seen.push("set")));
  kv.on("end", () => void kv.get("k").catch((error: KVError) => seen.push(error.code)));
  await kv.connect();
  await eventually(() => seen.length === 1);
  await kv.disconnect();
  await eventually(() => seen.length === 2);
  assert.deepEqual(seen, ["set", "CLOSED"]);
});

// If the types declare the methods as properties, a class that extends MemoryKVStore cannot override one.
test("a store's class can be extended", async () => {
  class Counting extends MemoryKVStore {
    reads = 0;
    override get(key: string): Promise<string | null> {
      this.reads += 1;
      return super.get(key);
    }
  }
  const kv = new Counting("p");
  await kv.set("k", "v");
  assert.deepEqual([await kv.get("k"), kv.reads], ["v", 1]);
  assert.equal(createMemoryKV().get.name, "get");
  assert.ok(createMemoryKV() instanceof MemoryKVStore);
});
