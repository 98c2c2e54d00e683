// A thread may publish before it takes the messages of a flood from another thread. If its gap begins with its own message, messages
// dropped earlier are in no gap.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { createMemoryKV, type Gap } from "../../ts/index.js";

test("a gap begins before the first message that was dropped, whatever this thread publishes meanwhile", async () => {
  const kv = createMemoryKV("", { shared: "shared-gap" });
  const gap = new Promise<Gap>((resolve) => kv.once("gap", resolve));
  await kv.subscribe("flood", () => {});
  const flooded = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(
    `const { createMemoryKV } = require(${JSON.stringify(join(__dirname, "../../dist/index.js"))});
     (async () => {
       const kv = createMemoryKV("", { shared: "shared-gap" });
       const flooded = require("node:worker_threads").workerData;
       Atomics.wait(flooded, 0, 0);
       for (let n = 0; n < 150_000; n += 1) await kv.publish("flood", "message");
       Atomics.store(flooded, 0, 2);
       Atomics.notify(flooded, 0);
     })();`,
    { eval: true, workerData: flooded },
  );
  await new Promise((resolve) => worker.once("online", resolve));
  const before = Date.now();
  Atomics.store(flooded, 0, 1);
  Atomics.notify(flooded, 0);
  // This thread takes no message until the flood is over.
  Atomics.wait(flooded, 0, 1);
  await kv.publish("other", "message");
  assert.ok((await gap).from <= before, `${(await gap).from - before} ms after the flood began`);
  await worker.terminate();
  await kv.disconnect();
});
