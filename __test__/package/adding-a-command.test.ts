// A guide that misses a file leads to a command that compiles and answers wrongly on a Durable Object. So its code blocks are applied to a
// copy of the sources, which is built and tested on every backend.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { backends } from "../backends.js";
import { root } from "../installed/run.js";
import { copyWith, hunksIn } from "./guide.js";

/** Always the same folder, so that Cargo builds only what has changed. Its dependencies are those of `cargo test`. */
const copy = join(root, ".cache/adding-a-command");

function run(command: string, args: string[], env: NodeJS.ProcessEnv = {}): string {
  const options = {
    cwd: copy,
    env: { ...process.env, ...env },
    encoding: "utf8",
    maxBuffer: 1 << 28,
  } as const;
  try {
    return execFileSync(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${command} ${args.join(" ")}:\n${stdout.slice(-8_000)}\n${stderr.slice(-8_000)}`);
  }
}

const node = (...args: string[]) => run(process.execPath, args, { NODE_TEST_CONTEXT: undefined });

before(() => copyWith(copy, hunksIn(readFileSync(join(root, "docs/adding-a-command.md"), "utf8"))));

/** The path of the addon that this process has loaded. */
const addon = () => Object.keys(require.cache).find((path) => path.endsWith(".node"));

test("the Rust part compiles", () => {
  const target = join(root, "target");
  const messages = run("cargo", ["build", "--lib", "--locked", "--message-format=json"], {
    CARGO_TARGET_DIR: target,
  });
  const library = messages
    .split("\n")
    .filter((line) => line.includes('"compiler-artifact"'))
    .flatMap((line) => (JSON.parse(line) as { filenames: string[] }).filenames)
    .filter((file) => /covara_kv\.(so|dylib|dll)$/.test(file))
    .at(-1);
  assert.ok(library !== undefined, messages.slice(-2_000));
  const name = /[^/\\]+$/.exec(addon() ?? "")?.[0] ?? assert.fail("no addon is loaded");
  copyFileSync(library, join(copy, name));
});

test("the TypeScript part compiles, and the tests that it asks for", () => {
  node("scripts/build-ts.mjs", "--types");
  node(join(root, "node_modules/typescript-7/bin/tsc"), "-p", "tsconfig.test.json");
});

test("the commands answer on every backend, also in a transaction", () => {
  const files = ["keys-and-expiry", "sorted-sets"].map((name) => `__test__/conformance/${name}.test.ts`);
  const pattern = "--test-name-pattern=^(renamenx renames|rename renames|zmscore gives) ";
  const tap = node("--import", "tsx", "--test", "--test-reporter=tap", pattern, ...files);
  for (const name of ["renamenx renames", "rename renames", "zmscore gives"]) {
    const passed = tap.match(RegExp(`^ *ok \\d+ - ${name} (?!.*# SKIP)`, "gm")) ?? [];
    // On a cluster two keys without a tag have different slots, so one backend refuses.
    const refusing = name.startsWith("rename") ? 1 : 0;
    assert.equal(passed.length, backends.length - refusing, `${name}\n${tap}`);
  }
});

test("what the guide adds is documented as the package is", () => {
  const files = ["examples", "surface-doc"].map((name) => `__test__/package/${name}.test.ts`);
  node("--import", "tsx", "--test", ...files);
});
