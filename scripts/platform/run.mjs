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
const PATIENCE = 15 * 60_000;

/** How many times as long as on a machine of their own the tests may take: one may be emulated, and others run beside. */
const patience = "5";

const inMemory = "memory; memory, strict; memory, shared";
const onRedis = "Redis; Redis, RESP 2";
const onMany = "Redis, Sentinel; Redis Cluster; Redis Cluster, no tag";
const threads = ["__test__/memory/terminated.test.ts", "__test__/redis/threads.test.ts"];

/** The tests of each result: where they are, on which backends they run, and whether all of them need a Redis. */
const suites = {
  "conformance, memory": { of: ["__test__/conformance"], env: { TEST_BACKENDS: inMemory } },
  "conformance, Redis": { of: ["__test__/conformance"], env: { TEST_BACKENDS: onRedis }, redis: true },
  "threads terminated": { of: threads },
  memory: { of: ["__test__/memory"], except: threads },
  Redis: { of: ["__test__/redis"], except: threads, redis: true },
  "Sentinel and Cluster": {
    of: ["__test__/cluster", "__test__/conformance"],
    // One tests the tests' own cluster, and no binary; the other starts a program in TypeScript, and wants a thousand calls a second.
    except: ["__test__/cluster/levers.test.ts", "__test__/cluster/checker.test.ts"],
    env: { TEST_BACKENDS: onMany },
    redis: true,
  },
};

/** What of them Windows cannot run: its tests have no openssl, its runtime no unix sockets, its Node.js no text outside of V8's heap. */
const notOnWindows = [
  "config",
  "connecting",
  "flood",
  "ioredis",
  "long-values",
  "node-redis",
  "refusals",
  "sentinel-tls",
  "tls",
].map((name) => `__test__/redis/${name}.test.ts`);

/** Runs the suite of that name, or all. Tells `report` after each how many tests passed, and what ran them. */
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
  // There is no Redis for Windows; Wine is served by the one of this machine.
  const hasRedis = process.platform !== "win32";
  if (hasRedis) await redisServer();
  const { startRedis, freePort, software } = load("./__test__/redis-server.js");
  const redis = await serveRedis({ startRedis, freePort });
  if (systemOf(platform) === "win32" && runtime !== native)
    cpSync("scripts/platform/redis-client.cjs", `${directory}/__test__/redis-server.js`);
  const left = [
    ...(systemOf(platform) === "win32" ? notOnWindows : []),
    ...(hasRedis ? [] : files("__test__/redis")),
  ];
  const ofRedis = {
    COVARA_KV_REDIS: redis.url,
    COVARA_KV_REDIS_SOFTWARE: JSON.stringify(hasRedis && software()),
  };
  const place = { directory, runtime, ofRedis, left };
  try {
    await step(`${platform}: doctor`, (_, log) => doctor(place, hasRedis && startRedis, log));
    const by = { on: runtime.name, node: await version(place) };
    for (const [name, suite] of Object.entries(suites)) {
      if ((suite.redis && !hasRedis) || (only ?? name) !== name) continue;
      await step(`${platform}: ${name}`, async (_, log) => {
        const passed = await runSuite(place, suite, log);
        report({ ...by, passed: { [name]: passed } });
        return `${passed} passed`;
      });
    }
  } finally {
    await redis.close();
    runtime.close();
  }
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
    env: { ...process.env, ...ofRedis, TEST_PATIENCE: patience, ...runtime.env, ...env },
    stdio: ["ignore", output, output],
    timeout: PATIENCE,
    killSignal: "SIGKILL",
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(code ?? signal));
  }).finally(() => closeSync(output));
}

/** Gives how many tests passed. */
async function runSuite(place, { of, except = [], env = {} }, log) {
  const left = [...place.left, ...except];
  const tests = of.flatMap(files).filter((file) => file.endsWith(".test.ts") && !left.includes(file));
  let passed = 0;
  for (const file of tests) passed += await runFile(place, file, env, log);
  return passed;
}

/** Gives how many tests of the file passed. */
async function runFile(place, file, env, log) {
  const results = "results.tap";
  const path = `${place.directory}/${results}`;
  rmSync(path, { force: true });
  const reporter = ["--test-reporter=tap", `--test-reporter-destination=${results}`];
  const args = [...place.runtime.args, ...reporter];
  const status = await node(place, [...args, file.replace(/\.ts$/, ".js")], env, log);
  const tap = readFileSync(path, "utf8");
  const count = (outcome) => Number(tap.match(RegExp(`^# ${outcome} (\\d+)`, "m"))?.[1] ?? 0);
  if (status !== 0 || count("fail") + count("cancelled") > 0 || count("pass") === 0)
    throw new Failure(`${file}: ${status}\n${failuresIn(tap)}\n(the rest: ${log}, ${path})`);
  return count("pass");
}

const failuresIn = (tap) =>
  tap
    .split(/^(?= *(?:not )?ok )/m)
    .filter((part) => /^ *not ok/.test(part))
    .join("")
    .slice(0, 5_000);

async function doctor(place, startRedis, log) {
  const server = startRedis && (await startRedis());
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
