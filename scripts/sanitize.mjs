// The addon under AddressSanitizer: `npm run check:sanitize`. Linux on x64, with gcc, whose runtime the addon finds in Node.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { redisServer } from "./redis-server.mjs";
import { setup } from "./setup.mjs";
import { Failure, main, step } from "./steps.mjs";

const target = "x86_64-unknown-linux-gnu";
const cargo = ["--locked", "--features", "sanitize", "--target", target, "--target-dir", "target/sanitize"];

/** Where the package lies with this build in place of the usual one. */
const staged = ".cache/sanitize";

/** Worker threads that are terminated, hostile arguments and scripts, and stores of many threads, on memory and on Redis. */
const ofThreads = ["threads", "unloading"].map((name) => `__test__/redis/${name}.test.ts`);
const tests = ["__test__/memory", "__test__/fuzz", ...ofThreads];
/** What measures memory. The sanitizer keeps what was freed. */
const measuring = ["__test__/memory/process.test.ts"];

/** Node itself leaks at its end, and its own memory is none of ours. */
const ASAN_OPTIONS = "detect_leaks=0";

function runtime() {
  const { stdout } = spawnSync("gcc", ["-print-file-name=libasan.so"], { encoding: "utf8" });
  const found = stdout?.trim();
  if (!found || !existsSync(found)) throw new Failure("AddressSanitizer's runtime is missing: install gcc.");
  return resolve(found);
}

function stage() {
  rmSync(staged, { recursive: true, force: true });
  mkdirSync(staged, { recursive: true });
  for (const part of ["dist", "ts", "__test__", "package.json", "tsconfig.json", "tsconfig.test.json"])
    cpSync(part, `${staged}/${part}`, { recursive: true });
  symlinkSync(resolve("node_modules"), `${staged}/node_modules`);
  cpSync(`target/sanitize/${target}/debug/libcovara_kv.so`, `${staged}/covara-kv.linux-x64-gnu.node`);
}

/** A run of Node in the staged package, with the sanitizer. */
function node(args) {
  const env = { ...process.env, ASAN_OPTIONS, LD_PRELOAD: runtime() };
  return spawnSync(process.execPath, args, { cwd: staged, env, encoding: "utf8", maxBuffer: 1 << 30 });
}

function seededErrorIsFound() {
  const { status, stderr } = node(["-e", "require('./covara-kv.linux-x64-gnu.node').readAfterFree()"]);
  if (status === 0 || !stderr.includes("heap-use-after-free"))
    throw new Failure(`An error on purpose was not found:\n${stderr}`);
}

function nodeTests(log) {
  const files = tests.flatMap((path) => {
    const names = path.endsWith(".ts") ? [path] : readdirSync(path).map((name) => `${path}/${name}`);
    return names.filter((name) => name.endsWith(".test.ts") && !measuring.includes(name));
  });
  const { status, stdout, stderr } = node(["--import", "tsx", "--test", "--test-reporter=spec", ...files]);
  const output = stdout + stderr;
  writeFileSync(log, output);
  if (status !== 0 || output.includes("AddressSanitizer"))
    throw new Failure(`${output.split("\n").slice(-80).join("\n")}\n(all of it: ${log})`);
  return `${output.match(/^ℹ pass (\d+)/m)?.[1]} passed`;
}

await main(import.meta.url, async () => {
  if (process.platform !== "linux" || process.arch !== "x64")
    throw new Failure("check:sanitize runs on Linux on x64.");
  await setup();
  await redisServer();
  // The stable toolchain has the sanitizer, and only does not show it. Lua is written in C.
  process.env.RUSTC_BOOTSTRAP = "1";
  // Not the stack: Lua's errors leave frames without an end, and on a stack of its own (`stacker`) the sanitizer takes what they leave
  // for an error. It watches the heap, and all that Lua itself calls its stack lies there.
  process.env.RUSTFLAGS = "-Zsanitizer=address -Cllvm-args=-asan-stack=0";
  process.env.CFLAGS_x86_64_unknown_linux_gnu =
    "-fsanitize=address --param asan-stack=0 -fno-omit-frame-pointer";
  process.env.CARGO_PROFILE_DEV_OPT_LEVEL = "1";
  process.env.ASAN_OPTIONS = ASAN_OPTIONS;
  await step("addon with AddressSanitizer", async (run) => {
    await run("cargo", "build", ...cargo);
    stage();
  });
  await step("an error on purpose is found", seededErrorIsFound);
  await step("Rust tests with AddressSanitizer", (run) => run("cargo", "test", "--lib", ...cargo));
  await step("Node tests with AddressSanitizer", (_, log) => nodeTests(log));
});
