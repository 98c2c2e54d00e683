// If the entries export different names, or two copies of a class, `import` and `require` do not fit together.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import * as main from "covara-kv";
import * as kv from "covara-kv/kv";

const root = join(__dirname, "../..");

/** The names that docs/surface.md promises, and those that this package adds. */
const names = [
  "CovaraKVDurableObject",
  "DurableKVEngine",
  "DurableObjectKVStore",
  "KVError",
  "MemoryKVStore",
  "RedisKVStore",
  "clearGlobalKV",
  "createDurableObjectKV",
  "createKV",
  "createMemoryKV",
  "createRedisKV",
  "createRedisKVFromConfig",
  "getActiveHandlerCount",
  "getAggregateWatcherCount",
  "getFanoutStats",
  "getGlobalKV",
  "guardUnhandledRejections",
  "hasGlobalKV",
  "initializeEventSubscription",
  "initializeKV",
  "notifyAggregateWatchers",
  "publishEvent",
  "registerAggregateWatcher",
  "registerHandler",
  "setGlobalKV",
  "trackSubscription",
  "unregisterHandler",
  "untrackSubscription",
];

/** Runs a program that prints JSON, as a module of either kind. */
function run(kind: "module" | "commonjs", program: string): unknown {
  const args = [`--input-type=${kind}`, "--eval", program];
  return JSON.parse(execFileSync(process.execPath, args, { cwd: root, encoding: "utf8" }));
}

test("covara-kv and covara-kv/kv export the same, to import and to require", () => {
  const shown = "console.log(JSON.stringify(Object.keys(kv).sort()))";
  for (const specifier of ["covara-kv", "covara-kv/kv"]) {
    const required = run("commonjs", `const kv = require("${specifier}"); ${shown}`);
    assert.deepEqual(required, names, `require("${specifier}")`);
    const imported = run("module", `import * as kv from "${specifier}"; ${shown}`);
    assert.deepEqual(imported, names, `import "${specifier}"`);
  }
  assert.equal(main.getGlobalKV, kv.getGlobalKV);
});

// An application may import the package that the framework requires: two instances would have two global stores.
test("the process has one store, and one KVError, however the package is loaded", () => {
  const seen = run(
    "module",
    `
    import { createRequire } from "node:module";
    import { getGlobalKV, initializeKV, KVError } from "covara-kv";
    const required = createRequire(${JSON.stringify(join(root, "index.js"))})("covara-kv/kv");
    const kv = await initializeKV({ type: "memory" });
    const error = await kv.incr(1).catch((error) => error);
    console.log(JSON.stringify([required.getGlobalKV() === kv, error instanceof required.KVError, error instanceof KVError]));`,
  );
  assert.deepEqual(seen, [true, true, true]);
});

test("nothing but the entries can be imported", () => {
  for (const specifier of ["covara-kv/dist/index.js", "covara-kv/dist/worker.mjs"]) {
    assert.throws(() => require(specifier), { code: "ERR_PACKAGE_PATH_NOT_EXPORTED" });
  }
  assert.equal(require("covara-kv/package.json").name, "covara-kv");
});

test("every member of KVStore and KVStoreTransaction has its docs and its page of Redis", () => {
  const types = readFileSync(join(root, "index.d.ts"), "utf8");
  const interfaces = types.matchAll(/^(?:export )?interface (?:KVStore|Queue|\w+Methods)\b[\s\S]*?\n\}/gm);
  const members = [...interfaces].flatMap(([text]) => text.split("\n"));
  const methods = members.filter((line) => /^ {2}\w+\??\(/.test(line));
  assert.ok(methods.length > 55, `${methods.length} methods`);
  for (const [index, line] of members.entries()) {
    if (/^ {2}(?!extends )[\w[]/.test(line))
      assert.match(members[index - 1] ?? "", /\*\/$/, `no docs at ${line}`);
  }
});
