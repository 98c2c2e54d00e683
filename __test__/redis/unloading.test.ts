// Node.js unloads an addon with the last thread that has it. The I/O thread outlives that, and crashes if its code is unloaded. The server is
// the test's own: so it also runs on Windows, for which there is no Redis.
import assert from "node:assert/strict";
import { test } from "node:test";
import { OK, startFake } from "../fake-server.js";
import { run } from "./processes.js";

// On Linux a linker flag keeps the binary loaded (build.rs), on macOS and Windows napi does so.
test("the binary stays loaded after the only thread that has used it", async () => {
  await using server = await startFake({ answer: () => OK });
  const outcome = await run(
    { host: server.host, port: server.port },
    `const { once } = await import("node:events");
     const { Worker } = await import("node:worker_threads");
     const loaded = () => process.report.getReport().sharedObjects.filter((path) => path.endsWith(".node")).length;
     const before = loaded();
     const worker = new URL("__test__/redis/worker.mjs", "file://" + process.cwd() + "/");
     const signal = new Int32Array(new SharedArrayBuffer(4));
     await once(new Worker(worker, { workerData: { job: "useAndLeave", redis, signal }, execArgv: [] }), "exit");
     console.log(before, loaded());`,
    { imports: "" },
  );
  assert.deepEqual(outcome, { code: 0, stdout: "0 1\n", stderr: "" });
  assert.equal(server.count("SET"), 1);
});
