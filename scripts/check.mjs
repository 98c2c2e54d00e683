// The whole check, the same here and in CI: `npm test`. `npm test -- lists scan` runs only the Node tests with such a name.
import { existsSync, readFileSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { dependenciesAreAllowed } from "./dependencies.mjs";
import { pack } from "./package.mjs";
import { redisServer } from "./redis-server.mjs";
import { setup } from "./setup.mjs";
import { Failure, files, main, step, visibly } from "./steps.mjs";
import { tools } from "./tools.mjs";

/** The same cases each time: a change is to fail for what it does. Longer runs with new cases: CONTRIBUTING.md. */
process.env.PROPTEST_RNG_SEED ??= "1";

async function check() {
  await step("rustfmt", (run) => run("cargo", "fmt", "--check"));
  await step("clippy", (run) => run("cargo", "clippy", "--locked", "--all-targets", "--", "-D", "warnings"));
  await step("rustdoc", (run) => {
    process.env.RUSTDOCFLAGS = "-D warnings";
    return run("cargo", "doc", "--locked", "--no-deps", "--document-private-items");
  });
  await dependenciesAreAllowed();
  await step("biome", (run) => run("biome", "ci", "--colors=off", "."));
  await step("types", async (run) => {
    await run("tsc", "-p", "tsconfig.test.json");
    await run("tsc", "-p", "tsconfig.scripts.json");
  });
  await step("index.d.ts", (run) => run("node", "scripts/build-ts.mjs", "--check"));
  await pack();
  await step("package's entries and types", packed);
  await step("Rust tests", async (run, log) => {
    await run("cargo", "test", "--locked");
    const passed = [...readFileSync(log, "utf8").matchAll(/^test result: ok\. (\d+) passed/gm)];
    return `${passed.reduce((sum, [, count]) => sum + Number(count), 0)} passed`;
  });
  await tools();
  await nodeTests();
}

/** The package as it is published, read as each kind of consumer resolves it. */
async function packed(run) {
  const { name, version } = JSON.parse(readFileSync("package.json", "utf8"));
  const tarball = `.cache/package/${name}-${version}.tgz`;
  await run("publint", "run", tarball, "--strict");
  // covara-kv/durable-object is an ES module alone: what it is bundled into is one as well.
  await run("attw", tarball, "--ignore-rules", "cjs-resolves-to-esm");
}

/** The Node tests; the closing line counts them. */
async function nodeTests() {
  const results = ".cache/node-tests.tap";
  rmSync(results, { force: true });
  const reporters = ["--test-reporter=spec", "--test-reporter-destination=stdout"];
  reporters.push("--test-reporter=tap", `--test-reporter-destination=${results}`);
  const failure = await step("Node tests", (run) =>
    run("node", "--import", "tsx", "--test", ...reporters, ...testFiles()),
  ).catch((error) => error);

  const tap = existsSync(results) ? readFileSync(results, "utf8") : "";
  const count = (outcome) => Number(tap.match(RegExp(`^# ${outcome} (\\d+)$`, "m"))?.[1] ?? 0);
  const skipped = count("skipped") ? `, ${count("skipped")} skipped` : "";
  const closing = `${count("pass")} passed, ${count("fail") + count("cancelled")} failed${skipped}`;
  if (failure) throw new Failure(`${failure.message}\n${closing}`);
  console.log(closing);
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
  await setup();
  await redisServer();
  const names = process.argv.slice(2);
  if (names.length === 0) return check();
  const tests = testFiles(names);
  const are = (...folders) => tests.some((file) => folders.includes(dirname(file)));
  if (are("__test__/installed")) await pack();
  if (are("__test__/installed", "__test__/workerd", "__test__/conformance", "__test__/runners"))
    await tools();
  await visibly("node", "--import", "tsx", "--test", "--test-reporter=spec", ...tests);
});
