// `npm run fuzz` has a lock file of its own. A dependency that is added to the package alone breaks the build of the fuzz targets, and no
// other test notices.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

/** The crates with which a lock file builds covara-kv, except `also`. */
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
