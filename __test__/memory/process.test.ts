// A timer or a thread that is left behind keeps the process from ending, or ends it too early.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { timeoutFactor } from "../backends.js";

interface Outcome {
  code: unknown;
  stdout: string;
  stderr: string;
}

/** Runs a program in a process of its own, with the package imported. */
const run = (program: string, ...flags: string[]): Promise<Outcome> =>
  runBare(`import { createMemoryKV, initializeKV } from "covara-kv"; ${program}`, ...flags);

/** Runs a program. It is killed, and so fails, if it has not ended after a minute. */
function runBare(program: string, ...flags: string[]): Promise<Outcome> {
  const source = `
    import { setImmediate as turn } from "node:timers/promises";
    import { Worker } from "node:worker_threads";
    ${program}`;
  const options = { cwd: join(__dirname, "../.."), timeout: 60_000 * timeoutFactor };
  return new Promise((resolve) => {
    const args = [...flags, "--input-type=module", "--eval", source];
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code ?? error.signal), stdout, stderr });
    });
  });
}

/** Programs that end by themselves, by what they leave open. */
const ending: Record<string, string> = {
  "a store that was never used": `createMemoryKV();`,
  "an open store": `await createMemoryKV().connect();`,
  "the global store": `await initializeKV({ type: "memory" });`,
  "keys that will expire": `await createMemoryKV().set("k", "v", { ex: 1000 });`,
  "keys that are being swept": `
    const kv = createMemoryKV();
    for (let i = 0; i < 100_000; i++) await kv.set("k" + i, "v", { px: 1 });`,
  "a subscription of a store of its own": `
    const kv = createMemoryKV();
    await kv.subscribe("c", () => {});
    await kv.psubscribe("c*", () => {});
    await kv.publish("c", "m");`,
  "listeners of events": `createMemoryKV().on("error", () => {}).on("end", () => {});`,
  "an open shared store": `await createMemoryKV("", { shared: "s" }).set("k", "v", { px: 50 });`,
  "a shared store that has no subscription any more": `
    const kv = createMemoryKV("", { shared: "s" });
    await kv.subscribe("c", () => {});
    await kv.subscribe("d", () => {});
    await kv.unsubscribe("c");
    await kv.unsubscribe("d");`,
  "a shared store that was disconnected with a subscription": `
    const kv = createMemoryKV("", { shared: "s" });
    await kv.subscribe("c", () => {});
    await kv.disconnect();`,
  "many stores": `for (let i = 0; i < 100; i++) await createMemoryKV().set("k", "v", { px: 1 + i });`,
};

for (const [what, program] of Object.entries(ending)) {
  test(`a process ends by itself with ${what}`, async () => {
    const outcome = await run(`${program}\nconsole.log("done");`);
    assert.deepEqual(outcome, { code: 0, stdout: "done\n", stderr: "" });
  });
}

test("a subscription of a shared store keeps the process alive until it leaves, as one of Redis would", async () => {
  const outcome = await run(`
    const kv = createMemoryKV("", { shared: "s" });
    await kv.subscribe("c", () => {});
    let ticks = 0;
    // An unref'd interval runs only while something else keeps the process alive.
    setInterval(() => {
      ticks += 1;
      if (ticks === 20) kv.unsubscribe("c").then(() => console.log("left"));
    }, 1).unref();`);
  assert.deepEqual(outcome, { code: 0, stdout: "left\n", stderr: "" });
});

test("process.exit ends a process in the middle of the work of its stores and threads", async () => {
  const outcome = await run(`
    const kv = createMemoryKV("", { shared: "s" });
    await kv.subscribe("c", () => {});
    const busy = \`
      const { createMemoryKV } = require("covara-kv");
      const kv = createMemoryKV("", { shared: "s" });
      kv.subscribe("c", () => {});
      (async () => { for (;;) { await kv.publish("c", "m"); await kv.set("k", "v", { px: 1 }); } })();\`;
    for (let i = 0; i < 3; i++) new Worker(busy, { eval: true, execArgv: [] });
    while ((await kv.exists("k")) === 0) await turn();
    process.exit(7);`);
  assert.deepEqual(outcome, { code: 7, stdout: "", stderr: "" });
});

test("an uncaught error ends a process, and a KVError shows where it comes from", async () => {
  const { code, stderr } = await run(`
    const kv = createMemoryKV();
    await kv.subscribe("c", () => {});
    async function release() { await kv.incr(5); }
    await release();`);
  assert.equal(code, 1);
  assert.match(stderr, /KVError: incr: key must be a string, got number/);
  assert.match(stderr, /at (async )?release/);
});

test("an error event without a listener neither throws nor prints", async () => {
  const outcome = await run(`
    const kv = createMemoryKV();
    kv.emit("error", new Error("unheard"));
    console.log(await kv.ping());`);
  assert.deepEqual(outcome, { code: 0, stdout: "PONG\n", stderr: "" });
});

/** Stores that are dropped without disconnect. */
const dropped: Record<string, string> = {
  "with keys": `await kv.set("k", "v");`,
  "with keys that will expire": `await kv.set("k", "v", { ex: 1000 });`,
  "with a listener": `kv.on("error", () => {});`,
  "after a transaction and a scan": `await kv.multi().set("k", "v").exec(); await kv.scan("0");`,
  "with a subscription, which nobody can reach any more": `await kv.subscribe("c", () => {});`,
  "after a subscription that was left": `await kv.subscribe("c", () => {}); await kv.unsubscribe("c");`,
};

for (const [how, use] of Object.entries(dropped)) {
  test(`a store that is dropped is collected: ${how}`, async () => {
    const outcome = await run(
      `
      async function drop() {
        const kv = createMemoryKV("p");
        ${use}
        return new WeakRef(kv);
      }
      const store = await drop();
      const deadline = Date.now() + 20_000;
      while (store.deref() !== undefined && Date.now() < deadline) { await turn(); gc(); }
      console.log(store.deref() === undefined ? "collected" : "still there");`,
      "--expose-gc",
    );
    assert.deepEqual(outcome, { code: 0, stdout: "collected\n", stderr: "" });
  });
}

test("what a dropped store held is given back", async () => {
  const outcome = await run(
    `
    const value = "x".repeat(1 << 20);
    for (let i = 0; i < 1_000; i++) {
      await createMemoryKV().set("k", value);
      if (i % 20 === 0) { await turn(); gc(); await turn(); }
    }
    console.log(process.memoryUsage().rss < 500 * 2 ** 20 ? "given back" : "kept");`,
    "--expose-gc",
  );
  assert.deepEqual(outcome, { code: 0, stdout: "given back\n", stderr: "" });
});

test("a shared store goes when its last handle is collected", async () => {
  const outcome = await run(
    `
    const open = () => createMemoryKV("", { shared: "s" });
    await open().set("k", "v");
    const deadline = Date.now() + 20_000;
    let value;
    do {
      await turn();
      gc();
      await turn();
      const kv = open();
      value = await kv.get("k");
      await kv.disconnect();
    } while (value !== null && Date.now() < deadline);
    console.log(value === null ? "gone" : "still there");`,
    "--expose-gc",
  );
  assert.deepEqual(outcome, { code: 0, stdout: "gone\n", stderr: "" });
});

test("a store that is subscribed on a shared store stays, although nothing else holds it", async () => {
  const outcome = await run(
    `
    const kv = createMemoryKV("", { shared: "s" });
    const received = [];
    await (async () => {
      const dropped = createMemoryKV("", { shared: "s" });
      await dropped.subscribe("c", async (message) => {
        received.push(message);
        if (message === "stop") await dropped.disconnect();
      });
    })();
    for (let i = 0; i < 10; i++) { await turn(); gc(); }
    await kv.publish("c", "1");
    await kv.publish("c", "stop");
    console.log(received.join());`,
    "--expose-gc",
  );
  assert.deepEqual(outcome, { code: 0, stdout: "1,stop\n", stderr: "" });
});

// A test runner with worker threads loads the package in threads only. If the allocator takes the first of them for the main thread, a
// later thread ends with a segmentation fault.
test("threads load the package one after the other, in a process whose main thread never does", async () => {
  const outcome = await runBare(`
    const program = 'require("covara-kv").createMemoryKV().set("k", "v".repeat(100_000));';
    for (let round = 0; round < 30; round++) {
      const worker = new Worker(program, { eval: true, execArgv: [] });
      const ended = new Promise((resolve, reject) => worker.on("exit", resolve).on("error", reject));
      if (round % 2 === 0) await new Promise((resolve) => worker.once("online", resolve)).then(() => worker.terminate());
      await ended;
    }`);
  assert.deepEqual(outcome, { code: 0, stdout: "", stderr: "" });
});
