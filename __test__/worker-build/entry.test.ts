// The entry for Workers must need only what Workers have, and export every name that the entry for Node.js exports. Otherwise imports fail
// at deployment.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { createContext, runInContext } from "node:vm";
import * as main from "covara-kv";
import { transformSync } from "esbuild";
import { FakeSqlStorage } from "../durable-object/fake-storage.js";

const root = join(__dirname, "../..");
const source = readFileSync(join(root, "dist/worker.mjs"), "utf8");

/** Loads the entry in a realm with only these globals. */
function load(globals: object): typeof main {
  const { code } = transformSync(source, { format: "cjs" });
  const module = { exports: {} };
  runInContext(`(function (module, exports) { ${code}\n})`, createContext(globals))(module, module.exports);
  return module.exports as typeof main;
}

test("the Durable Object's backend needs only what Workers have", async () => {
  const warnings: unknown[] = [];
  const console = { warn: (...what: unknown[]) => warnings.push(what.join(" ")) };
  const kv = load({
    ...{ TextEncoder, TextDecoder, URL, Request, Response, WebSocket: undefined },
    ...{ setTimeout, clearTimeout, queueMicrotask, console },
  });
  const object = new kv.CovaraKVDurableObject({
    storage: new FakeSqlStorage(),
    acceptWebSocket: () => {},
    getWebSockets: () => [],
  });
  const store = new kv.DurableObjectKVStore({
    fetch: (input, init) => object.fetch(new Request(input, init)),
  });
  await store.set("k", "ä".repeat(10));
  assert.equal(await store.get("k"), "ä".repeat(10));
  await store.zadd("z", Number.NEGATIVE_INFINITY, "m");
  assert.equal(await store.zscore("z", "m"), Number.NEGATIVE_INFINITY);
  assert.equal(await store.hget("k", "f"), null);
  assert.equal(warnings.length, 1);
  assert.match(String(warnings[0]), /COVARA_KV_WRONGTYPE.*HGET/);
});

test("no native module, no loader and nothing of Node's is in it", () => {
  assert.doesNotMatch(source, /\.node["'`]|["'`]node:|\brequire\b|covara-kv-(linux|darwin|win32)|^import\b/m);
});

/** Runs a program that prints JSON, with one condition for resolving the package. */
function run(condition: string, program: string): unknown {
  const args = [`--conditions=${condition}`, "--input-type=module", "--eval", program];
  return JSON.parse(execFileSync(process.execPath, args, { cwd: root, encoding: "utf8" }));
}

test("workerd and worker lead to it, and covara-kv/durable-object always does, with all the names", () => {
  const names = Object.keys(main).sort();
  for (const condition of ["workerd", "worker", "node"]) {
    const specifiers = ["covara-kv/durable-object"];
    if (condition !== "node") specifiers.push("covara-kv", "covara-kv/kv");
    for (const specifier of specifiers) {
      const program = `import * as kv from "${specifier}";
        console.log(JSON.stringify([import.meta.resolve("${specifier}"), Object.keys(kv).sort()]));`;
      const [file, exported] = run(condition, program) as [string, string[]];
      assert.match(file, /\/dist\/worker\.mjs$/, `${condition}: ${specifier}`);
      assert.deepEqual(exported, names, `${condition}: ${specifier}`);
    }
  }
});

test("what needs native code is refused, and says what to use", async () => {
  const program = `
    import * as kv from "covara-kv";
    const told = ({ name, code, message }) => [name, code, message];
    const redis = { url: "redis://127.0.0.1:1" };
    const errors = [
      await kv.createKV({ type: "memory" }).catch(told),
      await kv.initializeKV({ type: "redis", redis }).catch(told),
      await kv.createKV({ type: "redis" }).catch(told),
    ];
    for (const make of [() => new kv.MemoryKVStore(), () => kv.createMemoryKV(), () => new kv.RedisKVStore(redis),
      () => kv.createRedisKV(redis), () => kv.createRedisKVFromConfig(redis)]) {
      try { make(); errors.push("made"); } catch (error) { errors.push(told(error)); }
    }
    console.log(JSON.stringify(errors));`;
  const instead =
    'needs native code, which no Worker runs: use { type: "durable-object", durableObject: { namespace: env.<its binding> } }';
  const memory = ["KVError", "UNSUPPORTED", `The memory store ${instead}`];
  const redis = ["KVError", "UNSUPPORTED", `The Redis store ${instead}`];
  const config = ["KVError", "CONFIG", 'Redis configuration required for type "redis"'];
  assert.deepEqual(run("workerd", program), [memory, redis, config, memory, memory, redis, redis, redis]);
});
