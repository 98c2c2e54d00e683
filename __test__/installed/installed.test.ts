// Packages may work in this repository and fail at a user's. They are published to a registry, and installed where there is neither cargo
// nor a compiler.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { platformName } from "../../ts/loader.js";
import { type RedisServer, startRedis } from "../redis-server.js";
import { cjs, compilerOptions, esm, features, typescript } from "./programs.js";
import { publish, type Registry, startRegistry } from "./registry.js";
import { Machine, npm, root, tool, version } from "./run.js";

const machine = new Machine();
let registry: Registry;
let redis: RedisServer;
let url: string;

before(async () => {
  [registry, redis] = await Promise.all([startRegistry(), startRedis()]);
  url = `redis://${redis.host}:${redis.port}`;
  await publish(registry, machine);
});

after(async () => {
  machine.remove();
  await Promise.all([registry?.close(), redis?.stop()]);
});

async function works(directory: string, ...command: [string, ...string[]]): Promise<void> {
  for (const store of [[], [url]]) {
    assert.equal(await machine.run(directory, ...command, ...store), "DONE\n");
  }
}

test("there is no compiler on this PATH", () => {
  for (const tool of ["cargo", "rustc", "cc", "gcc", "g++", "clang", "make"]) {
    const { error } = spawnSync(tool, ["--version"], { env: machine.env });
    assert.equal((error as NodeJS.ErrnoException | undefined)?.code, "ENOENT", tool);
  }
});

test("the packages are small", () => {
  const main = join(root, ".cache/package/covara-kv");
  const files = (readdirSync(main, { recursive: true }) as string[]).map((path) =>
    statSync(join(main, path)),
  );
  const size = files.reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0);
  assert.ok(size < 400_000, `${size} bytes of covara-kv`);
  const binary = statSync(join(root, `covara-kv.${platformName()}.node`)).size;
  // One of 4.5 MB is published. This machine's standard library also prints backtraces, with the line of a panic: 0.24 MB.
  assert.ok(binary < 4_790_000, `${binary} bytes of its binary`);
});

describe("package managers", () => {
  const managers = {
    npm: [npm, "install"],
    pnpm: [tool("pnpm/bin/pnpm.cjs"), "add"],
    yarn: [tool("@yarnpkg/cli-dist/bin/yarn.js"), "add"],
  };
  const yarnSettings = (linker: string) =>
    [
      `npmRegistryServer: "${registry.url}"`,
      'unsafeHttpWhitelist: ["127.0.0.1"]',
      `nodeLinker: ${linker}`,
      "pnpEnableEsmLoader: true",
      "npmMinimalAgeGate: 0",
      "enableTelemetry: false",
    ].join("\n");

  const manifest = JSON.stringify({ name: "app", private: true });
  const files = { "package.json": manifest, "app.mjs": esm, "app.cjs": cjs };

  for (const [name, command] of Object.entries(managers)) {
    test(`${name}: an ES module and CommonJS, and the binary of this platform alone`, async () => {
      const yarn = { "yarn.lock": "", ".yarnrc.yml": yarnSettings("node-modules") };
      const directory = machine.folder(`with-${name}`, name === "yarn" ? { ...files, ...yarn } : files);
      await machine.run(directory, "node", ...command, "covara-kv");

      const paths = readdirSync(join(directory, "node_modules"), { recursive: true }) as string[];
      const binaries = paths.map((path) => /(covara-kv-[\w-]+)\/package\.json$/.exec(path)?.[1]);
      assert.deepEqual([...new Set(binaries)].filter(Boolean), [`covara-kv-${platformName()}`]);
      await works(directory, "node", "app.mjs");
      await works(directory, "node", "app.cjs");
    });
  }

  test("yarn with Plug'n'Play, which has no node_modules", async () => {
    const directory = machine.folder("with-pnp", {
      ...files,
      "yarn.lock": "",
      ".yarnrc.yml": yarnSettings("pnp"),
    });
    await machine.run(directory, "node", ...managers.yarn, "covara-kv");
    assert.ok(!existsSync(join(directory, "node_modules")));
    const pnp = ["node", "--require", "./.pnp.cjs"] as const;
    await works(directory, ...pnp, "app.cjs");
    await works(directory, ...pnp, "--loader", "./.pnp.loader.mjs", "app.mjs");
  });
});

/** An application with the package installed by npm. */
async function application(name: string, files: Record<string, string>, type = "module"): Promise<string> {
  const dependencies = { "covara-kv": version };
  const manifest = JSON.stringify({ name: "app", private: true, type, dependencies });
  const directory = machine.folder(name, { "package.json": manifest, ...files });
  await machine.run(directory, "node", npm, "install", "--no-audit", "--no-fund");
  return directory;
}

// The list of crates stays where the release is made: who audits an installation cannot read them from the binary.
test("the package of the binary has the list of the crates in it", async () => {
  const directory = await application("sbom", {});
  const path = join(directory, "node_modules", `covara-kv-${platformName()}`, "covara-kv.cdx.json");
  const { bomFormat, components } = JSON.parse(readFileSync(path, "utf8"));
  assert.equal(bomFormat, "CycloneDX");
  assert.ok(components.some(({ name }: { name: string }) => name === "rustls"));
});

describe("TypeScript", () => {
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  for (const [name, options] of Object.entries(compilerOptions)) {
    test(name, async () => {
      const strict = { strict: true, noUncheckedIndexedAccess: true, exactOptionalPropertyTypes: true };
      // The package's types are checked; to check TypeScript's own takes longer than all else.
      const own = { types: [], target: "es2022", skipDefaultLibCheck: true };
      const settings = { compilerOptions: { ...options, ...strict, ...own } };
      const files = { "app.ts": typescript, "tsconfig.json": JSON.stringify(settings) };
      const kind = name.endsWith("CommonJS") ? "commonjs" : "module";
      const directory = await application(`typescript-${name}`, files, kind);
      await machine.run(directory, "node", tsc, "--noEmitOnError");
      await works(directory, "node", "app.js");
    });
  }
});

describe("bundlers, with the external that docs/bundlers.md gives", () => {
  let directory: string;
  before(async () => {
    directory = await application("bundlers", { "app.mjs": esm, "app.cjs": cjs });
  });

  for (const format of ["esm", "cjs"]) {
    test(`esbuild, ${format}`, async () => {
      const output = `esbuild.${format === "esm" ? "mjs" : "cjs"}`;
      await require(tool("esbuild")).build({
        absWorkingDir: directory,
        entryPoints: [format === "esm" ? "app.mjs" : "app.cjs"],
        bundle: true,
        platform: "node",
        format,
        external: ["covara-kv"],
        outfile: output,
      });
      await works(directory, "node", output);
    });
  }

  for (const entry of ["app.mjs", "app.cjs"]) {
    test(`webpack, from ${entry}`, async () => {
      const output = { path: directory, filename: `webpack-${entry}.cjs` };
      const external = { externals: /^covara-kv/, externalsType: "commonjs" };
      const settings = {
        context: directory,
        mode: "production",
        target: "node",
        entry: `./${entry}`,
        output,
        ...external,
      };
      await new Promise<void>((resolve, reject) => {
        require(tool("webpack"))(settings, (error: Error | null, stats: { hasErrors(): boolean }) => {
          if (error !== null || stats.hasErrors()) reject(error ?? new Error(String(stats)));
          else resolve();
        });
      });
      await works(directory, "node", output.filename);
    });
  }
});

/** The runtimes' binaries are those of this platform. The result holds for other platforms too. */
const elsewhere = platformName() !== "linux-x64-gnu" && "the runtimes are tested on linux-x64-gnu";
test("the README's table says what works on which runtime", { skip: elsewhere }, async () => {
  const { optionalDependencies } = JSON.parse(readFileSync(join(__dirname, "tools/package.json"), "utf8"));
  const minor = (name: string) => /\d+\.\d+/.exec(optionalDependencies[name])?.[0];
  const [bun, deno] = ["@oven/bun-linux-x64", "@deno/linux-x64-glibc"];
  const runtimes: Record<string, string[]> = {
    "Node.js 18": [tool("node18/bin/node")],
    "Node.js 20": [tool("node20/bin/node")],
    "Node.js 22": [tool("node22/bin/node")],
    "Node.js 24": [tool("node24/bin/node")],
    "Node.js 26": [tool("node26/bin/node")],
    [`Bun ${minor(bun)}`]: [tool(`${bun}/bin/bun`)],
    [`Deno ${minor(deno)}`]: [tool(`${deno}/deno`), "run", "--allow-ffi", "--allow-sys", "--allow-read"],
  };
  const files = Object.assign({}, ...Object.values(features).map((feature) => feature.files));
  const directory = await application("runtimes", files);

  const works = async (command: string[]) => {
    const [program = "", ...args] = command;
    const output = await machine.run(directory, program, ...args).catch(String);
    return output === "DONE\n" ? "yes" : "no";
  };
  const rows = [
    ["", ...Object.keys(runtimes)],
    ["---", ...Object.keys(runtimes).map(() => "---")],
  ];
  for (const [name, { run }] of Object.entries(features)) {
    const args = run.map((arg) => (arg === "URL" ? url : arg));
    const row = [name];
    for (const command of Object.values(runtimes)) row.push(await works([...command, ...args]));
    rows.push(row);
  }
  const table = rows.map((row) => `| ${row.join(" | ")} |`).join("\n");
  const readme = readFileSync(join(root, "README.md"), "utf8");
  assert.ok(readme.includes(table), `README.md is to have this table:\n${table}`);
});
