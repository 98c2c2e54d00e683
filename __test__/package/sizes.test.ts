// A file that is longer than 400 lines has more than one subject. Clippy counts the lines of Rust's functions: clippy.toml.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { root } from "../installed/run.js";

const MOST = 400;

test("no file of sources, tests or scripts is longer than 400 lines", () => {
  const long: string[] = [];
  let count = 0;
  for (const folder of ["src", "ts", "__test__", "benchmark", "examples", "scripts", "fuzz/fuzz_targets"]) {
    for (const path of readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })) {
      if (path.includes("node_modules") || !/\.([cm]?[jt]s|rs)$/.test(path)) continue;
      count += 1;
      const lines = readFileSync(join(root, folder, path), "utf8").split("\n").length - 1;
      if (lines > MOST) long.push(`${folder}/${path}: ${lines}`);
    }
  }
  assert.ok(count > 300, `${count} files`);
  assert.deepEqual(long, []);
});
