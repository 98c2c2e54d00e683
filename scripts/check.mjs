// The whole check, the same here and in CI: `npm test`. `npm test -- lists scan` runs only the Node tests with such a name.
import { existsSync, readFileSync, rmSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { dependenciesAreAllowed } from "./dependencies.mjs";
import { pack } from "./package.mjs";
import { redisServer } from "./redis-server.mjs";
import { chosenServers, everyTime, system } from "./servers.mjs";
import { compiler, dependencies, native, setup, typescript } from "./setup.mjs";
import { Failure, files, main, step, TSC, together, visibly } from "./steps.mjs";
import { tools } from "./tools.mjs";

/** The same cases each time: a change is to fail for what it does. Longer runs with new cases: CONTRIBUTING.md. */
process.env.PROPTEST_RNG_SEED ??= "1";

async function check() {
  await compiler();
  let servers = [];
  // The linker and the network leave a processor idle, so these do not wait for each other.
  await together(
    async () => {
      await dependencies();
      await together(addon, javascript, tools);
    },
    crate,
    redisServer,
    async () => {
      servers = await chosenServers(everyTime);
    },
  );
  await pack();
  await step("package's entries and types", packed);
  await nodeTests(servers);
}

/** What is seen of the Rust crate without optimizing it: cargo has other files for that than for the addon. */
async function crate() {
  await step("rustfmt", (run) => run("cargo", "fmt", "--check"));
  await step("clippy", (run) => run("cargo", "clippy", "--locked", "--all-targets", "--", "-D", "warnings"));
  await step("rustdoc", (run) => {
    process.env.RUSTDOCFLAGS = "-D warnings";
    return run("cargo", "doc", "--locked", "--no-deps", "--document-private-items");
  });
  await dependenciesAreAllowed();
  await step("Rust tests", async (run, log) => {
    await run("cargo", "test", "--locked");
    const passed = [...readFileSync(log, "utf8").matchAll(/^test result: ok\. (\d+) passed/gm)];
    return `${passed.reduce((sum, [, count]) => sum + Number(count), 0)} passed`;
  });
}

/** Builds the addon, which writes native.d.ts: its types are to be those that are committed. */
async function addon() {
  const committed = readFileSync("native.d.ts", "utf8");
  await native();
  await step("native.d.ts", () => {
    if (readFileSync("native.d.ts", "utf8") === committed) return;
    throw new Failure("native.d.ts was not what src/addon gives. The build has corrected it: commit it.");
  });
}

async function javascript() {
  await typescript();
  await step("biome", (run) => run("biome", "ci", "--colors=off", "."));
  await step("types", async (run) => {
    await run("node", TSC, "-p", "tsconfig.test.json");
    await run("node", TSC, "-p", "tsconfig.scripts.json");
  });
  await step("index.d.ts", (run) => run("node", "scripts/build-ts.mjs", "--check"));
}

/** The package as it is published, read as each kind of consumer resolves it. */
async function packed(run) {
  const { name, version } = JSON.parse(readFileSync("package.json", "utf8"));
  const tarball = `.cache/package/${name}-${version}.tgz`;
  await run("publint", "run", tarball, "--strict");
  // covara-kv/durable-object is an ES module alone: what it is bundled into is one as well.
  await run("attw", tarball, "--ignore-rules", "cjs-resolves-to-esm");
}

/** One more than the two processors of a small machine: most test files wait more than they compute. */
const AT_A_TIME = 3;

/** Tests that fail at a delay of less than the seconds for which a busy machine may run nothing: no other file runs beside them. */
const alone = [
  "cluster/checker",
  "faults/network",
  "faults/sentinel",
  "redis/flood",
  "redis/sentinel.test",
].map((name) => `__test__/${name}`);

/** What runs on other servers too: on one it is to be cheap. */
const onServers = [
  "conformance/",
  ...(process.env.SERVERS === undefined
    ? []
    : ["differential/", "cluster/", "faults/refused-writes", "faults/sentinel"]),
].map((name) => `__test__/${name}`);

/**
 * The tests in groups, each with how many of its files run at a time.
 * @param {string[]} tests
 */
export const groupsOf = (tests) => {
  const isTimed = (file) => alone.some((name) => file.includes(name));
  return [
    { name: "three at a time", atATime: AT_A_TIME, tests: tests.filter((file) => !isTimed(file)) },
    { name: "one at a time", atATime: 1, tests: tests.filter(isTimed) },
  ].filter(({ tests }) => tests.length > 0);
};

/** The Node tests; the closing line counts them. */
async function nodeTests(servers) {
  const counts = [];
  const run = async (prefix, files) => {
    for (const { name, atATime, tests } of groupsOf(files))
      counts.push(await nodeTest(`${prefix}${name}`, atATime, tests));
  };
  await run("", testFiles());
  for (const { name, env, runs } of servers) {
    if (name === system) continue;
    Object.assign(process.env, env);
    await run(`${name}, `, testFiles(onServers).filter(runs));
  }
  const [passed, skipped] = ["pass", "skipped"].map((outcome) => sum(counts, outcome));
  console.log(`${passed} passed, 0 failed${skipped ? `, ${skipped} skipped` : ""}`);
}

const sum = (counts, outcome) => counts.reduce((sum, count) => sum + count(outcome), 0);

/** Runs the files in a step, so many at a time. Gives how many tests had an outcome: `pass`, `fail`, `cancelled` or `skipped`. */
async function nodeTest(name, concurrency, tests) {
  const results = `.cache/node-tests-${name.replaceAll(/[^\w.]+/g, "-")}.tap`;
  rmSync(results, { force: true });
  const reporters = ["--test-reporter=spec", "--test-reporter-destination=stdout"];
  reporters.push("--test-reporter=tap", `--test-reporter-destination=${results}`);
  const preloaded = ["--require", resolve("__test__/without-promise-hook.cjs"), "--import", "tsx"];
  const options = [...preloaded, "--test", `--test-concurrency=${concurrency}`, ...reporters];
  const count = (outcome) => {
    const tap = existsSync(results) ? readFileSync(results, "utf8") : "";
    return Number(tap.match(RegExp(`^# ${outcome} (\\d+)$`, "m"))?.[1] ?? 0);
  };
  await step(`Node tests, ${name}`, async (run) => {
    await run("node", ...options, ...tests);
    return `${count("pass")} passed`;
  }).catch((error) => {
    const skipped = count("skipped") ? `, ${count("skipped")} skipped` : "";
    const closing = `${count("pass")} passed, ${count("fail") + count("cancelled")} failed${skipped}`;
    throw new Failure(`${error.message}\n${closing}`);
  });
  return count;
}

/** The test files whose path holds one of the names, or all. */
function testFiles(names = [""]) {
  const found = files("__test__").filter(
    (file) => /\.test\.(ts|mjs|cjs)$/.test(file) && names.some((name) => file.includes(name)),
  );
  if (found.length === 0)
    throw new Failure(`There is no test file in __test__ named ${names.join(" or ") || "*.test.ts"}.`);
  return found;
}

await main(import.meta.url, async () => {
  const names = process.argv.slice(2);
  if (names.length === 0) return check();
  await setup();
  await redisServer();
  const tests = testFiles(names);
  const are = (...folders) => tests.some((file) => folders.includes(dirname(file)));
  const asPublished = ["__test__/installed", "__test__/bundlers"];
  if (are(...asPublished)) await pack();
  if (are(...asPublished, "__test__/workerd", "__test__/conformance", "__test__/runners")) await tools();
  for (const { name, env, runs } of await chosenServers()) {
    if (process.env.SERVERS) console.log(name);
    Object.assign(process.env, env);
    for (const { atATime, tests: group } of groupsOf(tests.filter(runs))) {
      const options = [`--test-concurrency=${atATime}`, "--test-reporter=spec"];
      await visibly("node", "--import", "tsx", "--test", ...options, ...group);
    }
  }
});
