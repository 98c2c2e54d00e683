// Through the native store a publish to 100 callbacks takes 8 times as long as a loop over them. A private store without patterns calls its
// callbacks directly, and must behave the same.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createMemoryKV } from "../../ts/index.js";

const SCRIPT = "return redis.call('PUBLISH', KEYS[1], ARGV[1])";

test("what callbacks publish comes after what was published before, however it is published", async () => {
  for (const pattern of [undefined, "other*"]) {
    const kv = createMemoryKV();
    const heard: string[] = [];
    if (pattern !== undefined) await kv.psubscribe(pattern, () => {});
    await kv.subscribe("a", (message) => {
      heard.push(`first ${message}`);
      if (message === "1") {
        kv.publish("a", "2");
        kv.eval(SCRIPT, ["a"], ["3"]);
        kv.publish("b", "4");
      }
    });
    await kv.subscribe("a", (message) => heard.push(`second ${message}`));
    await kv.subscribe("b", (message) => heard.push(message));
    assert.equal(await kv.publish("a", "1"), 1);
    assert.deepEqual(heard, ["first 1", "second 1", "first 2", "second 2", "first 3", "second 3", "4"]);
    await kv.disconnect();
  }
});

test("a callback may take away others, itself, or the store, in the middle of a message", async () => {
  const kv = createMemoryKV();
  const heard: string[] = [];
  const first = await kv.listen(["a"], (message) => {
    heard.push(`first ${message}`);
    if (message === "1") second.close();
    if (message === "2") first.close();
    if (message === "3") kv.unsubscribe("a");
  });
  const second = await kv.listen(["a"], (message) => heard.push(`second ${message}`));
  await kv.subscribe("a", (message) => heard.push(`third ${message}`));
  await kv.publish("a", "1");
  await kv.publish("a", "2");
  await kv.publish("a", "3");
  assert.equal(await kv.publish("a", "3"), 1);
  await kv.subscribe("a", () => kv.disconnect());
  await kv.subscribe("a", () => heard.push("after disconnect"));
  await kv.unsubscribe("b");
  await kv.publish("a", "4");
  assert.deepEqual(heard, ["first 1", "third 1", "first 2", "third 2", "third 3", "third 3", "third 4"]);
});

test("a callback that throws or rejects harms neither the others nor the publisher", async () => {
  const kv = createMemoryKV();
  const errors: string[] = [];
  const heard: string[] = [];
  const reported = new Promise<void>((resolve) => {
    kv.on("error", ({ message }) => {
      if (errors.push(message) === 2) resolve();
    });
  });
  await kv.subscribe("a", () => {
    throw new Error("thrown");
  });
  await kv.subscribe("a", async () => {
    throw new Error("rejected");
  });
  await kv.subscribe("a", (message) => heard.push(message));
  assert.equal(await kv.publish("a", "1"), 1);
  await reported;
  assert.deepEqual([errors, heard], [["thrown", "rejected"], ["1"]]);
  assert.equal(await kv.publish("nobody", "1"), 0);
  await kv.disconnect();
});
