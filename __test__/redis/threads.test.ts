// A worker thread that ends may leave a connection behind, keep the process alive, or crash the other threads.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createKV } from "covara-kv";
import { eventually, timeoutFactor } from "../backends.js";
import { listen } from "../sockets.js";
import { run, Thread } from "./processes.js";
import { open, SharedRedis } from "./servers.js";

const server = new SharedRedis();
const jobs = ["connecting", "load", "pubsub", "scripts"];

const noneIsLeft = () => eventually(async () => (await server.clients()).length === 0);

for (const job of ["useAndLeave", "use"]) {
  test(`a thread ends by itself, and leaves no connection: ${job}`, async () => {
    for (let round = 0; round < 5; round++) {
      await server.admin.del("thread");
      await new Thread(job, server.address).ended();
      assert.equal(await server.admin.get("thread"), "was here");
    }
    await noneIsLeft();
  });
}

describe("threads that are terminated leave no connection", { timeout: 60_000 * timeoutFactor }, () => {
  for (const job of jobs) {
    test(`while they are at it: ${job}`, async () => {
      for (let round = 0; round < 5; round++) {
        const threads = Array.from({ length: 3 }, () => new Thread(job, server.address));
        await Promise.all(threads.map((thread) => thread.hasRaised(1 + 3 * round)));
        await Promise.all(threads.map((thread) => thread.worker.terminate()));
      }
      await noneIsLeft();
    });
  }

  test("while a server does not answer them", async () => {
    let left = 0;
    await using silent = await listen((socket) => {
      left += 1;
      socket.resume().on("close", () => left--);
    });
    const threads = Array.from({ length: 5 }, () => new Thread("connecting", { port: silent.port }));
    await eventually(() => left === 5);
    await Promise.all(threads.map((thread) => thread.worker.terminate()));
    await eventually(() => left === 0);
  });

  test("20 of them, at any moment, while this thread goes on", async () => {
    const kv = await open(server.address);
    await kv.subscribe("threads", () => {});
    for (let round = 0; round < 3; round++) {
      const threads = Array.from(
        { length: 20 },
        (_, n) => new Thread(jobs[n % jobs.length] as string, server.address),
      );
      const terminated = threads.map(async (thread, n) => {
        // Some threads end before they have begun, others after some turns of this thread, or after some progress.
        if (n % 3 === 1) for (let turn = 0; turn < n * 20; turn++) await kv.get("k");
        if (n % 3 === 2) await thread.hasRaised(n);
        await thread.worker.terminate();
      });
      await Promise.all(terminated);
      assert.equal(await kv.set("k", `${round}`).then(() => kv.get("k")), `${round}`);
    }
    await eventually(async () => (await server.clients()).length === 2);
    await kv.disconnect();
    await noneIsLeft();
  });
});

test("a process with threads in mid-load exits when it is told to", async () => {
  const outcome = await run(
    server.address,
    `const { Worker } = await import("node:worker_threads");
     const jobs = ${JSON.stringify(jobs)};
     const signal = new Int32Array(new SharedArrayBuffer(4));
     const worker = new URL("__test__/redis/worker.mjs", "file://" + process.cwd() + "/");
     for (const job of [...jobs, ...jobs]) new Worker(worker, { workerData: { job, redis, signal }, execArgv: [] });
     while (Atomics.load(signal, 0) < 200) await turn();
     process.exit(7);`,
  );
  assert.deepEqual(outcome, { code: 7, stdout: "", stderr: "" });
  await noneIsLeft();
});

// Node.js unloads an addon when the last environment that uses it ends.
test("threads use it one after the other, in a process whose main thread never loads it", async () => {
  const outcome = await run(
    server.address,
    `const { Worker } = await import("node:worker_threads");
     const worker = new URL("__test__/redis/worker.mjs", "file://" + process.cwd() + "/");
     const signal = new Int32Array(new SharedArrayBuffer(4));
     for (const job of ["use", "useAndLeave", "load", "use", "load", "useAndLeave"]) {
       const thread = new Worker(worker, { workerData: { job, redis, signal }, execArgv: [] });
       const ended = new Promise((resolve, reject) => thread.on("exit", resolve).on("error", reject));
       const before = Atomics.load(signal, 0);
       if (job === "load") while (Atomics.load(signal, 0) < before + 10) await turn();
       if (job === "load") await thread.terminate();
       await ended;
     }`,
    { imports: "" },
  );
  assert.deepEqual(outcome, { code: 0, stdout: "", stderr: "" });
  await noneIsLeft();
});

test("opens and closes in a row leave as many connections as there were", {
  timeout: 300_000 * timeoutFactor,
}, async () => {
  const rounds = process.env.REDIS_LONG === "1" ? 2_000 : 200;
  for (let round = 0; round < rounds; round++) {
    const kv = await createKV({ type: "redis", redis: server.address });
    if (round % 2 === 0) await kv.subscribe("c", () => {});
    const reply = kv.incr("rounds");
    await kv.disconnect();
    assert.equal(await reply, round + 1);
    if (round % 20 === 0) assert.deepEqual(await server.clients(), []);
  }
  assert.deepEqual(await server.clients(), []);
});
