// If threads that share a store do not see the same data in order, locks and counters between them are wrong.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { createKV, createMemoryKV, type Gap, type MemoryKVStore } from "covara-kv";
import { eventually, timeoutFactor } from "../backends.js";
import { Thread } from "./threads.js";

/** Runs a test with the name of a shared store of its own, and a handle to it. */
function sharing(name: string, body: (shared: string, kv: MemoryKVStore) => Promise<void>): void {
  test(name, { timeout: 60_000 * timeoutFactor }, async () => {
    const shared = randomUUID();
    const kv = createMemoryKV("", { shared });
    await kv.connect();
    try {
      await body(shared, kv);
    } finally {
      await kv.disconnect();
    }
  });
}

sharing("what one thread writes the others read", async (shared, kv) => {
  await kv.set("k", "before");
  await new Thread("write", shared, { values: { k: "after", ä: "\0" } }).ended();
  assert.deepEqual(await kv.mget("k", "ä"), ["after", "\0"]);
  await new Thread("write", shared, { values: { k: "v" }, prefix: "p" }).ended();
  assert.deepEqual((await kv.keys("*")).sort(), ["k", "p:k", "ä"]);
  const prefixed = createMemoryKV("p", { shared });
  assert.deepEqual(await prefixed.keys("*"), ["k"]);
  await prefixed.disconnect();
});

sharing("stores of other names are other stores", async (shared, kv) => {
  const [other, own] = [createMemoryKV("", { shared: `${shared}'` }), createMemoryKV("")];
  await kv.set("k", "v");
  assert.deepEqual([await other.get("k"), await own.get("k")], [null, null]);
  await other.disconnect();
});

sharing("the data goes with the last handle of the process", async (shared, kv) => {
  await kv.set("k", "v");
  const second = createMemoryKV("", { shared });
  await second.connect();
  await kv.disconnect();
  assert.equal(await second.get("k"), "v");
  const thread = await new Thread("hold", shared).isUnderway();
  await second.disconnect();
  await kv.connect();
  assert.equal(await kv.get("k"), "v");
  await kv.disconnect();
  thread.release();
  await thread.ended();
  await kv.connect();
  assert.equal(await kv.get("k"), null);
});

// connect rejected with the error of the native side, while a command rejected with a KVError.
sharing("a shared store is strict for all or for none", async (shared, kv) => {
  const strict = createMemoryKV("", { shared, strict: true });
  await assert.rejects(strict.get("k"), { name: "KVError", code: "CONFIG" });
  await assert.rejects(strict.connect(), { name: "KVError", code: "CONFIG" });
  await assert.rejects(
    strict.subscribe("c", () => {}),
    { name: "KVError", code: "CONFIG" },
  );
  await assert.rejects(createKV({ type: "memory", shared, strict: true }), {
    name: "KVError",
    code: "CONFIG",
  });
  await kv.disconnect();
  assert.equal(await strict.get("k"), null);
  await strict.disconnect();
});

sharing("nobody sees a transaction of another thread half done", async (shared, kv) => {
  const threads = Array.from({ length: 4 }, () => new Thread("incrementPairs", shared, { rounds: 5_000 }));
  await kv.multi().set("a", "0").set("b", "0").exec();
  let looks = 0;
  await eventually(async () => {
    const [a, b] = await kv.multi().get("a").get("b").exec();
    assert.equal(a, b);
    looks += 1;
    return threads.every((thread) => thread.hasEnded);
  });
  assert.ok(looks > 10);
  await Promise.all(threads.map((thread) => thread.ended()));
  assert.deepEqual(await kv.mget("a", "b"), ["20000", "20000"]);
});

sharing("scripts that move money between two keys lose none", async (shared, kv) => {
  await kv.multi().set("a", "1000").set("b", "1000").exec();
  const threads = [0, 1, 0, 1].map((parity) => new Thread("transfer", shared, { parity, rounds: 5_000 }));
  await eventually(async () => {
    const [a, b] = await kv.multi().get("a").get("b").exec();
    assert.equal(Number(a) + Number(b), 2_000);
    assert.ok(Number(a) >= 0 && Number(b) >= 0);
    return threads.every((thread) => thread.hasEnded);
  });
  await Promise.all(threads.map((thread) => thread.ended()));
});

sharing("a lock keeps the threads apart", async (shared, kv) => {
  const threads = ["a", "b", "c", "d"].map(
    (name) => new Thread("incrementUnderLock", shared, { name, rounds: 500 }),
  );
  await Promise.all(threads.map((thread) => thread.ended()));
  assert.deepEqual(await kv.mget("counter", "lock"), ["2000", null]);
});

sharing("messages of other threads come in the order of their publication", async (shared, kv) => {
  const received = new Map<string, number[]>([
    ["a", []],
    ["b", []],
    ["here", []],
  ]);
  await kv.subscribe("news", (message) => {
    const [name, number] = message.split(" ") as [string, string];
    received.get(name)?.push(Number(number));
  });
  const count = 20_000;
  const threads = ["a", "b"].map((name) => new Thread("publish", shared, { name, channel: "news", count }));
  let sent = 0;
  await eventually(async () => {
    if (sent < 1_000) await kv.publish("news", `here ${sent++}`);
    return sent === 1_000 && threads.every((thread) => thread.hasEnded);
  });
  await eventually(() => received.get("a")?.length === count && received.get("b")?.length === count);
  const inOrder = Array.from({ length: count }, (_, index) => index);
  assert.deepEqual(received.get("a"), inOrder);
  assert.deepEqual(received.get("b"), inOrder);
  assert.deepEqual(received.get("here"), inOrder.slice(0, 1_000));
});

sharing("threads answer each other, and publish counts them all", async (shared, kv) => {
  const answers: string[] = [];
  await kv.subscribe("answer", (message) => void answers.push(message));
  const threads = ["a", "b", "c"].map((name) => new Thread("answer", shared, { name }));
  await Promise.all(threads.map((thread) => thread.isUnderway()));
  assert.equal(await kv.publish("ask", "who"), 3);
  await eventually(() => answers.length === 3);
  assert.deepEqual(answers.splice(0).sort(), ["a: who!", "b: who!", "c: who!"]);
  assert.equal(await kv.publish("ask", "stop"), 3);
  await Promise.all(threads.map((thread) => thread.ended()));
  assert.equal(await kv.publish("ask", "anyone"), 0);
});

sharing("in one thread, publish resolves after the callbacks of every handle", async (shared, kv) => {
  const other = createMemoryKV("other", { shared });
  const received: string[] = [];
  await other.subscribe("c", (message) => void received.push(`other ${message}`));
  await kv.subscribe("c", (message) => void received.push(`own ${message}`));
  assert.equal(await kv.publish("c", "1"), 2);
  assert.deepEqual(received.splice(0).sort(), ["other 1", "own 1"]);
  await other.publish("c", "2");
  assert.deepEqual(received.sort(), ["other 2", "own 2"]);
  await other.disconnect();
});

sharing("a thread that falls behind loses the newest messages, and is told so", async (shared, kv) => {
  const fits = 100_000;
  const gaps: Gap[] = [];
  let received = 0;
  let last = "";
  kv.on("gap", (gap) => void gaps.push(gap));
  const onMessage = (message: string) => {
    received += 1;
    last = message;
  };
  const handle = await kv.listen(["news"], onMessage, { onGap: (gap) => void gaps.push(gap) });
  const before = Date.now();
  const thread = new Thread("publish", shared, { name: "a", channel: "news", count: fits + 500 });
  thread.block();
  await eventually(() => gaps.length === 2);
  assert.deepEqual([received, last], [fits, `a ${fits - 1}`]);
  for (const { from, to, reason } of gaps) {
    assert.equal(reason, "overflow");
    assert.ok(from <= before && to >= before && to <= Date.now());
  }
  await kv.publish("news", "later");
  assert.deepEqual([received, last, gaps.length], [fits + 1, "later", 2]);
  await handle.close();
  await thread.ended();
});

for (const way of ["subscribe", "psubscribe", "listen", "disconnect"]) {
  sharing(`a subscription keeps its thread alive, until it leaves: ${way}`, async (shared, kv) => {
    const thread = await new Thread("listen", shared, { way }).isUnderway();
    for (let round = 0; round < 100; round++) assert.equal(await kv.publish("news", "go on"), 1);
    assert.equal(thread.hasEnded, false);
    await kv.publish("news", "stop");
    await thread.ended();
    assert.equal(await kv.publish("news", "anyone"), 0);
  });
}

sharing("a key that expires is gone in every thread", async (shared, kv) => {
  const other = createMemoryKV("", { shared });
  await kv.set("k", "v", { px: 30 });
  assert.equal(await other.get("k"), "v");
  await eventually(async () => (await other.exists("k")) === 0);
  assert.equal(await kv.get("k"), null);
  await other.disconnect();
});

// Another thread published faster than this one took the messages: a timer of 10 ms fired 24 s late.
sharing("the event loop turns while another thread publishes without end", async (shared, kv) => {
  let count = 0;
  await kv.subscribe("news", () => {
    count += 1;
    for (const end = performance.now() + 0.02; performance.now() < end; );
  });
  new Thread("publishing", shared);
  await eventually(() => count > 0);
  let most = 0;
  for (let turn = 0; turn < 50; turn++) {
    const before = count;
    await wait(0);
    most = Math.max(most, count - before);
  }
  // This publish resolves when all earlier messages have been delivered.
  await kv.publish("news", "own");
  // At 20 µs for each, 100 messages fill the 2 ms of a turn.
  assert.ok(most < 3_000, `${most} messages in a turn`);
});
