// A thread may be terminated in the middle of a call. The store that it shares must not stay locked or half changed.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createMemoryKV } from "covara-kv";
import { eventually, timeoutFactor } from "../backends.js";
import { Thread } from "./threads.js";

const jobs = ["commands", "publishing", "subscribed", "scripts"];

// A thread may be ended while it holds the store's lock, or while another is waking it.
test("threads that are terminated in mid-call leave a store that works", {
  timeout: 120_000 * timeoutFactor,
}, async () => {
  const shared = "terminated";
  const kv = createMemoryKV("", { shared });
  let received = 0;
  await kv.subscribe("news", () => void received++);
  for (let round = 0; round < 50; round++) {
    const threads = jobs.slice(0, 2 + (round % 3)).map((_, index) => {
      const job = jobs[(round + index) % jobs.length] as string;
      return new Thread(job, shared);
    });
    await Promise.all(threads.map((thread) => thread.isUnderway()));
    await Promise.all([
      ...threads.map((thread) => thread.worker.terminate()),
      kv.publish("news", "meanwhile"),
    ]);
    assert.equal(await kv.set("k", `${round}`).then(() => kv.get("k")), `${round}`);
  }
  await eventually(async () => (await kv.publish("news", "only to this thread")) === 1);
  assert.ok(received > 0);
  await kv.unsubscribe("news");
  assert.equal(await kv.publish("news", "nobody"), 0);
  await kv.disconnect();
});

// A thread that is being terminated can make no reply. If the commands of a MULTI run while their reply is made, only some thousands of
// 20,000 keys are written.
test("a transaction of a thread that is terminated is there as a whole or not at all", {
  timeout: 120_000 * timeoutFactor,
}, async () => {
  const keys = 20_000;
  for (let round = 0; round < 10; round++) {
    const shared = `torn ${round}`;
    const kv = createMemoryKV("", { shared });
    await kv.connect();
    const thread = await new Thread("fill", shared, { keys }).isUnderway();
    await thread.worker.terminate();
    const written = await kv.keys("*");
    assert.equal(written.length % keys, 0, `${written.length} of ${keys}`);
    await kv.disconnect();
  }
});
