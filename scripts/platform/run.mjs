// Runs what a binary has to pass wherever it is loaded. The tests are compiled before: none of their tools has to run on the platform.
import { spawn } from "node:child_process";
import { closeSync, cpSync, mkdirSync, openSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import * as esbuild from "esbuild";
import { redisServer } from "../redis-server.mjs";
import { Failure, files, step } from "../steps.mjs";
import { serveRedis } from "./redis.mjs";
import { fetchRuntime, native } from "./runtime.mjs";
import { here, systemOf } from "./table.mjs";

/** How long one test file may take, in milliseconds: QEMU is 20 times as slow. */
const TIMEOUT = 15 * 60_000;

/** How many times as long as on a machine of their own the tests may take: one may be emulated, and others run beside. */
const timeoutFactor = "5";

const inMemory = "memory; memory, strict; memory, shared";
const onRedis = "Redis; Redis, RESP 2";
const onMany = "Redis, Sentinel; Redis Cluster; Redis Cluster, no tag";
/** The one of `__test__/redis` that has a server of its own. */
const unloading = "__test__/redis/unloading.test.ts";
const threads = ["__test__/memory/terminated.test.ts", "__test__/redis/threads.test.ts", unloading];

/**
 * The tests of each result: where they are, what of that is another suite's, and what is left out and why. Also on which backends they run,
 * and whether all of them need a Redis.
 */
const suites = {
  "conformance, memory": { of: ["__test__/conformance"], env: { TEST_BACKENDS: inMemory } },
  "conformance, Redis": { of: ["__test__/conformance"], env: { TEST_BACKENDS: onRedis }, redis: true },
  "threads terminated": { of: threads },
  memory: { of: ["__test__/memory"], not: threads },
  Redis: { of: ["__test__/redis"], not: threads, redis: true },
  "Sentinel and Cluster": {
    of: ["__test__/cluster", "__test__/conformance"],
    except: {
      "__test__/cluster/levers.test.ts": "tests the tests' own cluster, and no binary",
      "__test__/cluster/checker.test.ts":
        "starts a program in TypeScript, and expects a thousand calls a second",
    },
    env: { TEST_BACKENDS: onMany },
    redis: true,
  },
};

/** Those that were seen to pass under QEMU and Wine. An emulator takes hours for the others, and was never seen to end them. */
const seenEmulated = ["conformance, memory", "conformance, Redis", "threads terminated"];

/** What of them Windows cannot run, and why. */
const notOnWindows = Object.fromEntries(
  Object.entries({
    "the tests have no openssl there": ["config", "flood", "ioredis", "node-redis", "sentinel-tls", "tls"],
    "the runtime has no unix sockets there": ["connecting", "refusals"],
    "Node.js has no text outside of V8's heap there": ["long-values"],
  }).flatMap(([why, names]) => names.map((name) => [`__test__/redis/${name}.test.ts`, why])),
);

const noRedis = "there is no Redis for Windows";

/** The suite of that name, or all: each with why it is left out, if it is. One that is named runs under an emulator too. */
export function chosen(only, { isEmulated, hasRedis }) {
  return Object.keys(suites)
    .filter((name) => (only ?? name) === name)
    .map((name) => {
      if (suites[name].redis && !hasRedis) return [name, noRedis];
      const isUnseen = isEmulated && only === undefined && !seenEmulated.includes(name);
      return [name, isUnseen ? "was not seen to pass under an emulator; run it by its name" : undefined];
    });
}

/** Runs the suite of that name, or all. Tells `report` after each how many tests passed, what was left out, and what ran them. */
export async function run(platform, binary, only, report) {
  if (only !== undefined && !(only in suites))
    throw new Failure(`There is no suite ${only}: there are ${Object.keys(suites).join("; ")}.`);
  const directory = await stage(platform, binary);
  const load = createRequire(`${directory}/`);
  let runtime = native;
  if (platform !== here())
    await step(`${platform}: Node.js`, async (run) => {
      runtime = await fetchRuntime(run, platform);
    });
  const isWindows = systemOf(platform) === "win32";
  // There is no Redis for Windows; Wine is served by the one of this machine.
  const hasRedis = process.platform !== "win32";
  if (hasRedis) await redisServer();
  const { startRedis, freePort, software } = load("./__test__/redis-server.js");
  const redis = await serveRedis({ startRedis, freePort });
  if (isWindows && runtime !== native)
    cpSync("scripts/platform/redis-client.cjs", `${directory}/__test__/redis-server.js`);
  const ofRedisFolder = files("__test__/redis").filter((file) => file !== unloading);
  const withoutRedis = hasRedis ? [] : ofRedisFolder.map((file) => [file, noRedis]);
  const left = { ...(isWindows && notOnWindows), ...Object.fromEntries(withoutRedis) };
  const ofRedis = {
    COVARA_KV_REDIS: redis.url,
    COVARA_KV_REDIS_SOFTWARE: JSON.stringify(hasRedis && software()),
  };
  const place = { directory, runtime, ofRedis, left };
  try {
    await step(`${platform}: doctor`, (_, log) => doctor(place, hasRedis ? startRedis : undefined, log));
    const by = { on: runtime.name, node: await version(place) };
    for (const [name, why] of chosen(only, { isEmulated: runtime.isEmulated, hasRedis }))
      await step(`${platform}: ${name}`, async (_, log) => {
        if (why) return `left out: ${why}`;
        const { passed, skipped, left } = await runSuite(place, suites[name], log);
        report({ ...by, passed: { [name]: passed }, ...inSuite({ skipped, left }, name) });
        return remark(passed, skipped, left);
      });
  } finally {
    await redis.close();
    runtime.close();
  }
}

/** What is not empty, as that of the suite. */
const inSuite = (found, name) =>
  Object.fromEntries(
    Object.entries(found)
      .filter(([, value]) => Object.keys(value).length > 0)
      .map(([what, value]) => [what, { [name]: value }]),
  );

function remark(passed, skipped, left) {
  const lines = [
    ...Object.entries(skipped).map(([why, count]) => `${count} skipped: ${why}`),
    ...Object.entries(left).map(([file, why]) => `${file} left out: ${why}`),
  ];
  return [`${passed} passed`, ...lines].join("\n    ");
}

/** The package with one binary and the compiled tests, in a folder of its own. */
async function stage(platform, binary) {
  const directory = resolve(`.cache/platforms/stage/${platform}`);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const sources = [...files("ts"), ...files("__test__")];
  await esbuild.build({
    entryPoints: sources.filter((file) => /(?<!\.d)\.ts$/.test(file)),
    outdir: directory,
    outbase: ".",
    format: "cjs",
    platform: "node",
    target: "node18",
    logLevel: "silent",
  });
  for (const file of sources.filter((file) => file.endsWith(".mjs"))) cpSync(file, `${directory}/${file}`);
  for (const path of ["dist", "package.json"]) cpSync(path, `${directory}/${path}`, { recursive: true });
  symlinkSync(resolve("node_modules"), `${directory}/node_modules`, "junction");
  // The loader knows one binary for Windows.
  cpSync(binary, `${directory}/${binary.replace("win32-x64-gnu", "win32-x64-msvc")}`);
  return directory;
}

/** Runs Node.js in the stage, with its output in the log. Gives how it ended. */
function node({ directory, runtime, ofRedis }, args, env, log) {
  const output = openSync(log, "a");
  const child = spawn(runtime.command, args, {
    cwd: directory,
    env: { ...process.env, ...ofRedis, TEST_TIMEOUT_FACTOR: timeoutFactor, ...runtime.env, ...env },
    stdio: ["ignore", output, output],
    timeout: TIMEOUT,
    killSignal: "SIGKILL",
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(code ?? signal));
  }).finally(() => closeSync(output));
}

/** Gives how many tests passed, of each reason how many were skipped, and the files that were left out with why. */
async function runSuite(place, { of, not = [], except = {}, env = {} }, log) {
  const reasons = { ...place.left, ...except };
  const tests = of.flatMap(files).filter((file) => file.endsWith(".test.ts") && !not.includes(file));
  const left = Object.fromEntries(
    tests.filter((file) => file in reasons).map((file) => [file, reasons[file]]),
  );
  let passed = 0;
  const skipped = {};
  for (const file of tests.filter((file) => !(file in reasons))) {
    const tap = await runFile(place, file, env, log);
    passed += countIn(tap, "pass");
    for (const reason of skippedIn(tap)) {
      const why = reason === unnamed ? place.runtime.leavesOut : reason;
      skipped[why] = (skipped[why] ?? 0) + 1;
    }
  }
  return { passed, skipped, left };
}

/** What Node.js says of a test that `--test-name-pattern` leaves out. */
const unnamed = "test name does not match pattern";

/** The reasons of the skipped tests. */
export const skippedIn = (tap) =>
  [...tap.matchAll(/^ *ok \d+ .*# SKIP ?(.*)$/gm)].map(([, reason]) => reason || "no reason given");

const countIn = (tap, outcome) => Number(tap.match(RegExp(`^# ${outcome} (\\d+)`, "m"))?.[1] ?? 0);

/** Gives the results of a file whose tests have passed. */
async function runFile(place, file, env, log) {
  const results = "results.tap";
  const path = `${place.directory}/${results}`;
  rmSync(path, { force: true });
  const reporter = ["--test-reporter=tap", `--test-reporter-destination=${results}`];
  const args = [...place.runtime.args, ...reporter];
  const status = await node(place, [...args, file.replace(/\.ts$/, ".js")], env, log);
  const tap = readFileSync(path, "utf8");
  const count = (outcome) => countIn(tap, outcome);
  if (status !== 0 || count("fail") + count("cancelled") > 0 || count("pass") === 0)
    throw new Failure(`${file}: ${status}\n${failuresIn(tap)}\n(the rest: ${log}, ${path})`);
  return tap;
}

const failuresIn = (tap) =>
  tap
    .split(/^(?= *(?:not )?ok )/m)
    .filter((part) => /^ *not ok/.test(part))
    .join("")
    .slice(0, 5_000);

async function doctor(place, startRedis, log) {
  const server = await startRedis?.();
  const targets = server ? ["memory", `redis://${server.host}:${server.port}`] : ["memory"];
  try {
    for (const target of targets) {
      const status = await node(place, ["dist/cli.js", "doctor", target], {}, log);
      if (status !== 0) throw new Failure(`doctor ${target}: ${status}\n${readFileSync(log, "utf8")}`);
    }
  } finally {
    await server?.stop();
  }
}

async function version(place) {
  const log = `${place.directory}/version`;
  await node(place, ["--print", "process.versions.node"], {}, log);
  return readFileSync(log, "utf8").trim();
}
