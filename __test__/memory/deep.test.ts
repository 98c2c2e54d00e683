import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { patience } from "../backends.js";

// With most of a worker's stack used by JavaScript 80 nested `gsub`s ended the process: a segmentation fault in 3 of 3 runs. In a
// process of their own, as nothing else could tell.
test("scripts may call deep where JavaScript has left little stack", {
  timeout: 120_000 * patience,
}, async () => {
  for (const stackSizeMb of ["0.5", "1", "4"]) {
    const program = [join(__dirname, "deep.mjs"), stackSizeMb];
    const { stdout } = await promisify(execFile)(process.execPath, program);
    assert.ok(Number(stdout) > 100, `${stdout} of 400 scripts ran with ${stackSizeMb} MB`);
  }
});
