// A bundler that does not leave covara-kv out fails at the packages of the other platforms, and then at the binary.
import assert from "node:assert/strict";
import { cpSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { cjs, esm } from "../installed/programs.js";
import { Machine } from "../installed/run.js";
import { type RedisServer, startRedis } from "../redis-server.js";
import { banner, type Case, cases } from "./cases.js";
import { binary, install, moved, platformPackage } from "./project.js";

const machine = new Machine();
let redis: RedisServer;
let url: string;
let project: string;
/** A folder in which only the package of this platform is installed. */
let besides: string;

before(async () => {
  redis = await startRedis();
  url = `redis://${redis.host}:${redis.port}`;
  const manifest = JSON.stringify({ name: "app", private: true });
  project = machine.folder("project", { "package.json": manifest, "app.mjs": esm, "app.cjs": cjs });
  besides = machine.folder("besides", { "package.json": manifest });
  await Promise.all([install(machine, project), install(machine, besides, [platformPackage])]);
  renameSync(join(project, "node_modules"), away());
});

after(async () => {
  machine.remove();
  await redis?.stop();
});

/** The project's packages are moved here while a bundle runs: webpack writes paths of the build into it, and they must lead nowhere. */
const away = () => join(project, "away");

/** Bundles the program. Resolves to the folder of the output. */
async function bundled({ files = {}, build: [program, ...args] }: Case): Promise<string> {
  rmSync(join(project, "out"), { recursive: true, force: true });
  machine.folder("project", files);
  renameSync(away(), join(project, "node_modules"));
  try {
    await machine.run(project, program, ...args);
  } finally {
    renameSync(join(project, "node_modules"), away());
  }
  return join(project, "out");
}

async function works(directory: string, [program, ...args]: Case["run"]): Promise<void> {
  const file = program.startsWith("./") ? join(directory, program) : program;
  for (const store of [[], [url]])
    assert.equal(await machine.run(directory, file, ...args, ...store), "DONE\n");
}

for (const [name, one] of Object.entries(cases)) {
  describe(name, { skip: one.skip }, () => {
    let output: string;
    before(async () => {
      output = await bundled(one);
    });

    test("where the package of the platform is installed, it works", async () => {
      const directory = join(besides, "out");
      rmSync(directory, { recursive: true, force: true });
      cpSync(output, directory, { recursive: true });
      await works(directory, one.run);
    });

    if (one.copies) {
      test("the output by itself works", async () => {
        await works(moved(machine, output, `${name} alone`), one.run);
      });
      return;
    }

    test("with the binary beside it, it works", async () => {
      const directory = moved(machine, output, `${name} and the binary`);
      cpSync(join(away(), platformPackage, binary), join(directory, binary));
      await works(directory, one.run);
    });

    test("by itself it says what it lacks, and what to do", async () => {
      const directory = moved(machine, output, `${name} alone`);
      const [program, ...args] = one.run;
      const error = await machine.run(directory, program, ...args).catch(String);
      assert.ok(
        error.includes(`there is neither ${binary} in ${directory} nor the package ${platformPackage} in`),
        error,
      );
      assert.match(error, /Copy that file there .* or run npm install .*docs\/bundlers\.md/);
      assert.match(error, /code: 'UNSUPPORTED'/);
    });
  });
}

test("esbuild that copies, ES modules without the banner: it says what is missing", async () => {
  const { build, run } = cases["esbuild that copies, ES modules"] as Case;
  const [program, ...args] = build;
  const without = args.filter((arg) => arg !== banner);
  const output = await bundled({ build: [program, ...without], run });
  const error = await machine.run(output, ...run).catch(String);
  assert.match(error, /covara-kv.* --banner:js=.*createRequire.*docs\/bundlers\.md/);
});

// pnpm keeps the package of the binary out of reach of the bundle's own `require`: only covara-kv can resolve it.
test("pnpm's folders: the bundle finds the binary through covara-kv", async () => {
  const output = await bundled(cases["esbuild, ES modules"] as Case);
  const directory = machine.folder("pnpm");
  const store = join(directory, "node_modules/.pnpm/covara-kv@0.1.0/node_modules");
  cpSync(away(), store, { recursive: true });
  symlinkSync(join(store, "covara-kv"), join(directory, "node_modules/covara-kv"));
  cpSync(output, join(directory, "out"), { recursive: true });
  await works(join(directory, "out"), ["node", "app.mjs"]);
});
