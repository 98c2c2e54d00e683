// The framework can use this package in three ways. A change of a name or a signature breaks it there, so a stand-in has the framework's
// shape.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { application, type Files, root } from "./application.js";

/** The files of the framework, whose modules import its key-value module by relative paths. */
function framework(kind: "module" | "commonjs", kv: Files, exports: object = kvExports): Files {
  const inner =
    kind === "module"
      ? {
          "index.js": `export * from "./kv/index.js"; export * from "./server/sessions.js";`,
          "server/sessions.js": `
            import { getGlobalKV } from "../kv/index.js";
            import { MemoryKVStore } from "../kv/memory.js";
            import "../kv/types.js"; import "../kv/redis.js";
            export const save = (id) => getGlobalKV().set(id, "saved");
            export const isMemory = () => getGlobalKV() instanceof MemoryKVStore;`,
        }
      : {
          "index.js": `module.exports = { ...require("./kv/index.js"), ...require("./server/sessions.js") };`,
          "server/sessions.js": `
            const { getGlobalKV } = require("../kv/index.js");
            const { MemoryKVStore } = require("../kv/memory.js");
            require("../kv/types.js"); require("../kv/redis.js");
            exports.save = (id) => getGlobalKV().set(id, "saved");
            exports.isMemory = () => getGlobalKV() instanceof MemoryKVStore;`,
        };
  const manifest = { name: "covara", version: "1.2.3", type: kind, exports };
  return Object.fromEntries([
    ["node_modules/covara/package.json", JSON.stringify(manifest)],
    ...Object.entries({ ...inner, ...kv }).map(([name, text]) => [`node_modules/covara/dist/${name}`, text]),
  ]);
}

const kvExports = {
  ".": "./dist/index.js",
  "./kv": { types: "./dist/kv/index.d.ts", default: "./dist/kv/index.js" },
};
/** The framework's own stores, which must not be loaded. */
const own: Files = Object.fromEntries(
  ["index", "memory", "redis", "types"].map((name) => [
    `kv/${name}.js`,
    `throw new Error("the framework's own ${name}");`,
  ]),
);

const esm = `
  import { initializeKV, getGlobalKV } from "covara/kv";
  import * as covara from "covara";
  import * as kv from "covara-kv";
  await initializeKV({ type: "memory" });
  await covara.save("a");
  console.log(await getGlobalKV().get("a"), covara.isMemory(), covara.getGlobalKV === kv.getGlobalKV);`;
const cjs = `
  const { initializeKV, getGlobalKV } = require("covara/kv");
  const covara = require("covara");
  const kv = require("covara-kv");
  initializeKV({ type: "memory" }).then(() => covara.save("a")).then(async () => {
    console.log(await getGlobalKV().get("a"), covara.isMemory(), covara.getGlobalKV === kv.getGlobalKV);
  });`;

function node(directory: string, ...args: string[]) {
  return spawnSync(process.execPath, args, { cwd: directory, encoding: "utf8", timeout: 60_000 });
}

function prints(directory: string, args: string[], expected: string): void {
  const { stdout, stderr } = node(directory, ...args);
  assert.equal(stdout, expected, stderr);
}

describe("1: node --import covara-kv/register", () => {
  for (const flag of ["--import", "--require"]) {
    test(`${flag}, a framework of ES modules`, () => {
      const directory = application({ "app.mjs": esm, ...framework("module", own) });
      prints(directory, [flag, "covara-kv/register", "app.mjs"], "saved true true\n");
    });

    test(`${flag}, a framework of CommonJS, imported and required`, () => {
      const directory = application({ "app.mjs": esm, "app.cjs": cjs, ...framework("commonjs", own) });
      prints(directory, [flag, "covara-kv/register", "app.cjs"], "saved true true\n");
      prints(directory, [flag, "covara-kv/register", "app.mjs"], "saved true true\n");
    });
  }

  test("a second load is harmless", () => {
    const directory = application({
      "app.mjs": `import "covara-kv/register"; ${esm}`,
      ...framework("module", own),
    });
    const twice = ["--import", "covara-kv/register", "--require", "covara-kv/register"];
    prints(directory, [...twice, "app.mjs"], "saved true true\n");
  });

  test("a framework without ./kv is a clear error, also where it is only imported whole", () => {
    for (const app of [`import "covara/kv";`, `import "covara";`]) {
      const files = framework("module", own, { ".": "./dist/index.js" });
      const directory = application({ "app.mjs": app, ...files });
      const { status, stderr } = node(directory, "--import", "covara-kv/register", "app.mjs");
      assert.equal(status, 1);
      assert.match(stderr, /covara-kv\/register: .*covara.* has no "\.\/kv" that could be replaced/);
    }
  });

  test("without the framework covara/kv is this package", () => {
    const app = `import { createKV } from "covara/kv"; console.log(await (await createKV({ type: "memory" })).ping());`;
    prints(application({ "app.mjs": app }), ["--import", "covara-kv/register", "app.mjs"], "PONG\n");
  });

  test("other modules, and other packages' kv folders, are left alone", () => {
    const directory = application({
      "app.mjs": `import { own } from "other/kv"; import { mine } from "./kv/index.js"; import fs from "node:fs";
        try { await import("missing") } catch ({ code }) { console.log(own, mine, typeof fs, code) }`,
      "kv/index.js": "exports.mine = 1;",
      "node_modules/other/package.json": JSON.stringify({
        name: "other",
        exports: { "./kv": "./kv/index.js" },
      }),
      "node_modules/other/kv/index.js": "exports.own = 2;",
    });
    prints(directory, ["--import", "covara-kv/register", "app.mjs"], "2 1 object ERR_MODULE_NOT_FOUND\n");
  });
});

test("2: the framework's own setGlobalKV takes a store of this package", () => {
  const store = `
    let global;
    export const setGlobalKV = (kv) => { global = kv; };
    export const getGlobalKV = () => global;`;
  const kv = {
    "kv/index.js": store,
    "kv/memory.js": "export class MemoryKVStore {}",
    "kv/redis.js": "",
    "kv/types.js": "",
  };
  const app = `
    import { save, setGlobalKV, getGlobalKV } from "covara";
    import { createKV } from "covara-kv";
    setGlobalKV(await createKV({ type: "memory" }));
    await save("a");
    console.log(await getGlobalKV().get("a"));`;
  prints(application({ "app.mjs": app, ...framework("module", kv) }), ["app.mjs"], "saved\n");
});

test("3: an npm alias", () => {
  const directory = application({
    "app.mjs": `
      import { initializeKV } from "covara/kv";
      import { getGlobalKV } from "covara";
      await initializeKV({ type: "memory" });
      console.log(await getGlobalKV().ping());`,
    "app.cjs": `require("covara").createKV({ type: "memory" }).then((kv) => kv.ping()).then(console.log);`,
  });
  symlinkSync(root, join(directory, "node_modules/covara"), "dir");
  prints(directory, ["app.mjs"], "PONG\n");
  prints(directory, ["app.cjs"], "PONG\n");
});
