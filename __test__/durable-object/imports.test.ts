// The backend where there is nothing but what Workers have: no native module, no `process`, no `Buffer`, nothing of Node's.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { test } from "node:test";
import { createContext, runInContext } from "node:vm";
import type * as Kv from "covara-kv";
import { FakeSqlStorage } from "./fake-storage.js";

const ENTRY = resolve(__dirname, "../../dist/backends/durable-object/index.js");

type Module = { exports: object };

/** Loads the backend, and gives the files that came with it. */
function load(globals: object): { kv: typeof Kv; files: string[] } {
  const context = createContext(globals);
  const modules = new Map<string, Module>();
  const load = (file: string): object => {
    const known = modules.get(file);
    if (known !== undefined) return known.exports;
    const module: Module = { exports: {} };
    modules.set(file, module);
    const require = (name: string) => {
      assert.match(name, /^\.\.?\/.*\.js$/, `${file} requires ${name}`);
      return load(resolve(dirname(file), name));
    };
    const source = `(function (exports, require, module) { ${readFileSync(file, "utf8")}\n})`;
    runInContext(source, context, { filename: file })(module.exports, require, module);
    return module.exports;
  };
  return { kv: load(ENTRY) as typeof Kv, files: [...modules.keys()] };
}

test("the Durable Object's backend needs only what Workers have", async () => {
  const warnings: unknown[] = [];
  const console = { warn: (...what: unknown[]) => warnings.push(what.join(" ")) };
  const { kv, files } = load({
    ...{ TextEncoder, TextDecoder, URL, Request, Response, WebSocket: undefined },
    ...{ setTimeout, clearTimeout, queueMicrotask, console },
  });
  assert.ok(files.length > 20);
  assert.ok(!files.some((file) => /native\.js$|memory\.js$|redis/.test(file)), files.join("\n"));

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
