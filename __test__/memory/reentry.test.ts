// User code that runs while the store is in use may call it again. That breaks the store or ends the process.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createMemoryKV, type Subscription } from "covara-kv";
import { PubSub } from "../../ts/pubsub.js";
import { eventually } from "../backends.js";
import { goodArguments } from "../methods.js";
import { warningsOf } from "../warnings.js";

// If the array of a long reply is filled by Array.prototype.push, a patched push may call the store while it is in use. That ends the
// process.
test("nothing of the user's runs while the store is in use", async () => {
  const kv = createMemoryKV();
  const members = Array.from({ length: 1_000 }, (_, n) => `${n}`);
  await kv.rpush("list", ...members);
  let called = 0;
  const reenter = function (this: unknown[], ...items: unknown[]) {
    called++;
    void kv.disconnect();
    for (const item of items) this[this.length] = item;
    return this.length;
  };
  const { push } = Array.prototype;
  // biome-ignore lint/suspicious/noExplicitAny: a patch with no regard for types
  Array.prototype.push = reenter as any;
  const reading = kv.lrange("list", 0, -1);
  Array.prototype.push = push;
  assert.deepEqual(await reading, members);
  assert.equal(called, 0);
  await kv.disconnect();
});

// An unhandled rejection ends the process.
test("what a listener or onGap rejects with becomes a warning", async () => {
  const fail = async () => {
    throw new Error("boom");
  };
  const warnings = await warningsOf(async () => {
    const kv = createMemoryKV();
    kv.on("ready", fail);
    kv.on("end", fail);
    await kv.connect();
    await kv.disconnect();
  });
  assert.equal(warnings.length, 2);
});

// The error of the native side must become a KVError.
test("a store that is disconnected while it subscribes refuses", async () => {
  const kv = createMemoryKV("", { shared: "closed by ready" });
  kv.on("ready", () => kv.disconnect());
  await assert.rejects(
    kv.subscribe("c", () => {}),
    { name: "KVError", code: "CLOSED" },
  );
});

// The first call opens the store. A listener that subscribes the same channel would lose its callback, and the process would never exit.
test("a listener of ready may subscribe what is being subscribed", async () => {
  const kv = createMemoryKV("", { shared: "subscribed by ready" });
  const received: string[] = [];
  let subscribing: Promise<void> | undefined;
  kv.once("ready", () => {
    subscribing = kv.subscribe("c", () => void received.push("listener"));
  });
  await kv.subscribe("c", () => void received.push("caller"));
  await subscribing;
  assert.equal(await kv.publish("c", "x"), 1);
  assert.deepEqual(received.sort(), ["caller", "listener"]);
  await kv.unsubscribe("c");
  assert.equal(await kv.publish("c", "x"), 0);
  await kv.disconnect();
});

// An emission within another one calls it, and the outer one must not call it again.
test("a listener that is added by once is called once", async () => {
  const kv = createMemoryKV();
  let [reopens, calls] = [true, 0];
  kv.on("ready", () => {
    if (!reopens) return;
    reopens = false;
    void kv.disconnect();
    void kv.connect();
  });
  kv.once("ready", () => calls++);
  await kv.connect();
  assert.equal(calls, 1);
  await kv.disconnect();
});

// A subscription that an earlier onGap has closed is no longer its owner's business.
test("the onGap of a closed subscription is not called", () => {
  const pubsub = new PubSub({ register() {}, unregister() {}, failed() {} }, (error) =>
    assert.fail(String(error)),
  );
  const told: string[] = [];
  let second: Subscription | undefined;
  const first = () => {
    told.push("first");
    void second?.close();
  };
  pubsub.listen(["c"], [], () => {}, first);
  second = pubsub.listen(
    ["c"],
    [],
    () => {},
    () => told.push("second"),
  ) as Subscription;
  pubsub.missed({ from: 1, to: 2, reason: "overflow" });
  assert.deepEqual(told, ["first"]);
});

// Code that awaits or catches a Promise does not expect a throw, nor a rejection that nobody holds beside it.
test("a method of another receiver rejects", async () => {
  const store = new Proxy(createMemoryKV(), {}) as unknown as Record<string, (...args: unknown[]) => unknown>;
  for (const [name, args] of Object.entries(goodArguments)) {
    const outcome = store[name]?.(...args);
    if (name !== "multi" && name !== "isConnected")
      await assert.rejects(async () => outcome, { name: "TypeError" }, name);
  }
});

test("what was published before a subscription does not reach it", async () => {
  const kv = createMemoryKV();
  const received: string[] = [];
  await kv.subscribe("c", async () => {
    await kv.unsubscribe("c");
    await kv.subscribe("c", (message) => void received.push(message));
  });
  await kv.publish("c", "first");
  await eventually(async () => (await kv.publish("c", "later")) === 1 && received.length > 0);
  assert.ok(!received.includes("first"));
  await kv.disconnect();
});

// If all later messages are delivered before `publish` returns, the first publish never returns.
test("a callback that publishes again, and again, does not block the event loop", async () => {
  const kv = createMemoryKV();
  let count = 0;
  let isOver = false;
  await kv.subscribe("c", async (message) => {
    count += 1;
    if (!isOver) await kv.publish("c", message);
  });
  await kv.publish("c", "again");
  for (let turn = 0; turn < 20; turn++) {
    const before = count;
    await eventually(() => count > before);
    // A message that is published meanwhile is delivered in its turn, and publish resolves after that.
    let isHeard = false;
    const handle = await kv.listen(["d"], () => {
      isHeard = true;
    });
    await kv.publish("d", "x");
    assert.ok(isHeard);
    await handle.close();
  }
  isOver = true;
  await kv.disconnect();
});

// A store that its user has closed tells of nothing any more: its listeners may have let go of what they need.
test("a callback that disconnects the store ends its events, the gap behind the message too", async () => {
  const kv = createMemoryKV();
  const gaps: unknown[] = [];
  kv.on("gap", (gap) => void gaps.push(gap));
  const deliver = (since: number) =>
    (kv as unknown as { deliverTaken(messages: unknown[]): void }).deliverTaken([since, null, "c", "m"]);
  await kv.subscribe("c", () => {});
  deliver(Date.now());
  assert.equal(gaps.length, 1);
  await kv.subscribe("c", () => void kv.disconnect());
  deliver(Date.now());
  assert.equal(gaps.length, 1);
});
