// A platform that one list names and another does not is built and not published. ts/platforms.ts, ts/binaries.ts, package.json, npm/ and
// scripts/platform/table.mjs must agree.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

const root = join(__dirname, "../..");
const main = require("covara-kv/package.json");
/** The names of platforms, by the compiler's name. */
const names: Record<string, string> = {
  "x86_64-unknown-linux-gnu": "linux-x64-gnu",
  "x86_64-unknown-linux-musl": "linux-x64-musl",
  "aarch64-unknown-linux-gnu": "linux-arm64-gnu",
  "aarch64-unknown-linux-musl": "linux-arm64-musl",
  "armv7-unknown-linux-gnueabihf": "linux-arm-gnueabihf",
  "x86_64-apple-darwin": "darwin-x64",
  "aarch64-apple-darwin": "darwin-arm64",
  "x86_64-pc-windows-msvc": "win32-x64-msvc",
  "aarch64-pc-windows-msvc": "win32-arm64-msvc",
};
const platforms: string[] = readdirSync(join(root, "npm"));

test("there is a package for each platform that the package is built for, and the loader knows it", () => {
  assert.deepEqual(main.napi.targets, Object.keys(names));
  assert.deepEqual(Object.values(names).sort(), platforms);
  const loader = readFileSync(join(root, "ts/binaries.ts"), "utf8");
  const found = (pattern: RegExp) => [...loader.matchAll(pattern)].map(([, name]) => name).sort();
  const known = readFileSync(join(root, "ts/platforms.ts"), "utf8");
  assert.deepEqual([...known.matchAll(/^ {2}"([\w-]+)",$/gm)].map(([, name]) => name).sort(), platforms);
  assert.deepEqual(found(/require\("covara-kv-([\w-]+)"\)/g), platforms);
  assert.deepEqual(found(/require\("\.\.\/covara-kv\.([\w-]+)\.node"\)/g), platforms);
});

test("the scripts build it for the same", () => {
  const table = readFileSync(join(root, "scripts/platform/table.mjs"), "utf8");
  for (const [target, platform] of Object.entries(names))
    assert.match(table, new RegExp(`"${platform}": \\{\\s*target: "${target}"`));
});

/** The tools of a build take a newer Node.js than the package does. */
const tooOld = Number.parseInt(process.versions.node, 10) < 20 && "@napi-rs/cli needs Node.js 20.17";

// For musl `napi build` sets RUSTFLAGS, and cargo then ignores .cargo/config.toml: the binary is 0.3 MB larger.
test("a build for musl has the compiler's flags of .cargo/config.toml, and those of napi build", {
  skip: tooOld,
}, async () => {
  const { setFlags } = await import(join(root, "scripts/platform/build.mjs"));
  const directory = mkdtempSync(join(tmpdir(), "covara-kv-flags-"));
  const set = join(directory, "set");
  // In cargo's place: all that matters is what it would get.
  const cargo = join(directory, "cargo");
  writeFileSync(cargo, `#!/bin/sh\nprintf %s "$RUSTFLAGS" > '${set}'\nexit 1\n`, { mode: 0o755 });
  const before = process.env.RUSTFLAGS;
  delete process.env.RUSTFLAGS;
  try {
    // The stable compiler has none of ours.
    setFlags("linux-x64-musl", []);
    const napi = join(root, "node_modules/@napi-rs/cli/dist/cli.js");
    const target = ["--target", "x86_64-unknown-linux-musl", "--output-dir", directory];
    const args = [napi, "build", "--platform", "--release", "--no-js", "--no-dts-cache", ...target];
    spawnSync(process.execPath, args, { cwd: root, env: { ...process.env, CARGO: cargo } });
    const configured = readFileSync(join(root, ".cargo/config.toml"), "utf8");
    const flags = JSON.parse(/^rustflags = (.*)$/m.exec(configured)?.[1] ?? "");
    assert.equal(readFileSync(set, "utf8"), [...flags, "-C target-feature=-crt-static"].join(" "));
  } finally {
    delete process.env.RUSTFLAGS;
    if (before !== undefined) process.env.RUSTFLAGS = before;
    rmSync(directory, { recursive: true });
  }
});

// The README must not promise a platform that is not tested.
test("README.md says of each platform what was built and run, as docs/platforms.json has it", async () => {
  const { tableOf } = await import(join(root, "scripts/platform/results.mjs"));
  const table = tableOf(readFileSync(join(root, "docs/platforms.json"), "utf8"));
  const readme = readFileSync(join(root, "README.md"), "utf8");
  assert.ok(readme.includes(table), `README.md is to have this table:\n${table}`);
});

test("CHANGELOG.md has an entry for the version", () => {
  const changelog = readFileSync(join(root, "CHANGELOG.md"), "utf8");
  const entries = [
    ...changelog.matchAll(/^## \[(\d+\.\d+\.\d+(?:-[\w.-]+)?)\] – (unreleased|\d{4}-\d\d-\d\d)$/gm),
  ];
  assert.equal(entries.length, changelog.match(/^## /gm)?.length, "each is a version and its day");
  assert.equal(entries[0]?.[1], main.version);
  const unreleased = entries.slice(1).filter(([, , day]) => day === "unreleased");
  assert.deepEqual(unreleased, []);
});

test("the compiler that builds here is the oldest that is promised", () => {
  const promised = /^rust-version = "(.*)"$/m.exec(readFileSync(join(root, "Cargo.toml"), "utf8"))?.[1];
  const used = /^channel = "(.*)"$/m.exec(readFileSync(join(root, "rust-toolchain.toml"), "utf8"))?.[1];
  assert.equal(used, `${promised}.0`);
});

test("the crate is of the package's version", () => {
  const crate = readFileSync(join(root, "Cargo.toml"), "utf8");
  assert.equal(/^version = "(.*)"$/m.exec(crate)?.[1], main.version);
});

for (const [target, platform] of Object.entries(names)) {
  const [os, cpu, abi] = platform.split("-");
  test(`covara-kv-${platform} is of the main package's version, and says where it fits`, () => {
    const { description, ...manifest } = require(join(root, "npm", platform, "package.json"));
    const binary = `covara-kv.${platform}.node`;
    const libc = os === "linux" ? { libc: [abi === "musl" ? "musl" : "glibc"] } : {};
    assert.deepEqual(manifest, {
      name: `covara-kv-${platform}`,
      version: main.version,
      license: main.license,
      repository: { ...main.repository, directory: `npm/${platform}` },
      main: binary,
      files: [binary, "covara-kv.cdx.json"],
      os: [os],
      cpu: [cpu],
      ...libc,
      engines: main.engines,
      publishConfig: main.publishConfig,
    });
    const readme = readFileSync(join(root, "npm", platform, "README.md"), "utf8");
    assert.ok(description.includes(platform) && readme.includes(target));
  });
}
