// Deep recursion in a script may overflow the stack that JavaScript has left, which ends the process.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { timeoutFactor } from "../backends.js";

// When JavaScript uses most of a worker's stack, 80 nested `gsub`s end the process with a segmentation fault. The scripts run in a process
// of their own, as only its parent can see such an end.
test("scripts may call deep where JavaScript has left little stack", {
  timeout: 120_000 * timeoutFactor,
}, async () => {
  for (const stackSizeMb of ["0.5", "1", "4"]) {
    const program = [join(__dirname, "deep.mjs"), stackSizeMb];
    const { stdout } = await promisify(execFile)(process.execPath, program);
    assert.ok(Number(stdout) > 100, `${stdout} of 400 scripts ran with ${stackSizeMb} MB`);
  }
});
