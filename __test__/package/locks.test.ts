// A dependency was added, and `npm run fuzz`, which has a lock file of its own, could not be built: nothing had looked.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

/** The crates that covara-kv is built with, by a lock file, but for those of its tests. */
function dependenciesIn(lock: string, also: readonly string[]): string[] {
  const text = readFileSync(join(__dirname, "../..", lock), "utf8");
  const list = /name = "covara-kv"\nversion = "[^"]+"\ndependencies = \[\n([^\]]*)\]/.exec(text)?.[1] ?? "";
  const names = [...list.matchAll(/"([^" ]+)[^"]*"/g)].map(([, name]) => name as string);
  return names.filter((name) => !also.includes(name));
}

test("the fuzz targets' lock file has the crates that the package's has", () => {
  const inFuzz = dependenciesIn("fuzz/Cargo.lock", []);
  assert.ok(inFuzz.length > 10);
  assert.deepEqual(inFuzz, dependenciesIn("Cargo.lock", ["proptest"]));
});
