// What is written about a platform in ts/loader.ts, in package.json and in npm/ has to be the same.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseTriple } from "@napi-rs/cli";

const root = join(__dirname, "../..");
const main = require("covara-kv/package.json");
const platforms: string[] = readdirSync(join(root, "npm"));

test("there is a package for each platform that the package is built for, and the loader knows it", () => {
  const built = main.napi.targets.map((target: string) => parseTriple(target).platformArchABI);
  assert.deepEqual(built.sort(), platforms);
  const loader = readFileSync(join(root, "ts/loader.ts"), "utf8");
  const found = (pattern: RegExp) => [...loader.matchAll(pattern)].map(([, name]) => name).sort();
  assert.deepEqual(found(/require\("covara-kv-([\w-]+)"\)/g), platforms);
  assert.deepEqual(found(/require\("\.\.\/covara-kv\.([\w-]+)\.node"\)/g), platforms);
});

for (const target of main.napi.targets as string[]) {
  const { platformArchABI, platform, arch, abi } = parseTriple(target);
  test(`covara-kv-${platformArchABI} is of the main package's version, and says where it fits`, () => {
    const { description, ...manifest } = require(join(root, "npm", platformArchABI, "package.json"));
    const binary = `covara-kv.${platformArchABI}.node`;
    const libc = platform === "linux" ? { libc: [abi === "musl" ? "musl" : "glibc"] } : {};
    assert.deepEqual(manifest, {
      name: `covara-kv-${platformArchABI}`,
      version: main.version,
      license: main.license,
      repository: { ...main.repository, directory: `npm/${platformArchABI}` },
      main: binary,
      files: [binary],
      os: [platform],
      cpu: [arch],
      ...libc,
      engines: main.engines,
      publishConfig: main.publishConfig,
    });
    const readme = readFileSync(join(root, "npm", platformArchABI, "README.md"), "utf8");
    assert.ok(description.includes(platformArchABI) && readme.includes(target));
  });
}
