// An example that does not run misleads everyone who starts from it.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

const root = join(__dirname, "../..");

test("examples/live-feed runs as a user runs it: each step is checked, and it ends by itself", async () => {
  const { REDIS_URL: _, ...env } = process.env; // The example starts a Redis of its own, so that it may restart it.
  // Rejects unless the exit code is 0.
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ["examples/live-feed/run.mjs"], {
    cwd: root,
    env,
    timeout: 60_000,
  });
  const steps = [...stdout.matchAll(/^✓ (\w+)/gm)].map(([, step]) => step);
  assert.deepEqual(steps, ["publish", "restart", "gap", "publish"]);
  assert.equal(stderr, "");
});
