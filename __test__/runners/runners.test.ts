// In most test runners the tests are in another realm than the addon, and fake timers. A package that relies on either breaks there.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { root, tool } from "../installed/run.js";
import { bundle, folder } from "./bundle.js";

before(bundle);

/** Runs Node.js. Resolves to its output, also when it failed. */
function node(...args: string[]): Promise<string> {
  // Node.js would otherwise run it as a part of this test run.
  const { NODE_TEST_CONTEXT: _, ...own } = process.env;
  const env = { ...own, TEST_BACKENDS: "memory, strict; Redis" };
  const options = { cwd: folder, env, timeout: 300_000, maxBuffer: 1 << 28 };
  return new Promise((resolve) => {
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      resolve(`${stdout}\n${stderr}\n${error?.message ?? ""}`);
    });
  });
}

/** The fields used of the report that Jest and Vitest write. */
interface Report {
  readonly success: boolean;
  readonly numPassedTests: number;
}

/** The least number of tests in one environment. */
const TESTS = 500;

async function passes(environments: number, report: string, ...command: string[]): Promise<void> {
  const output = await node(...command);
  assert.ok(existsSync(join(folder, report)), output);
  const { success, numPassedTests } = JSON.parse(readFileSync(join(folder, report), "utf8")) as Report;
  assert.ok(success, output);
  assert.ok(numPassedTests >= environments * TESTS, `${numPassedTests} tests`);
}

for (const jest of ["jest29", "jest30"]) {
  test(`${jest}, in node and in jsdom`, async () => {
    const project = { rootDir: folder, testMatch: ["<rootDir>/tests.cjs"], transform: {} };
    const projects = [
      { ...project, displayName: "node" },
      { ...project, displayName: "jsdom", testEnvironment: tool(`${jest}-environment-jsdom`) },
    ];
    const [config, report] = [`${jest}.json`, `${jest}-report.json`];
    writeFileSync(join(folder, config), JSON.stringify({ projects }));
    const options = ["--ci", "--maxWorkers=2", "--json", `--outputFile=${report}`, `--config=${config}`];
    await passes(2, report, tool(`${jest}/bin/jest.js`), ...options);
  });
}

test("Vitest, in all pools that run code", async () => {
  const pools = ["threads", "forks", "vmThreads", "vmForks"].map((pool) => ({ name: pool, pool }));
  const environments = [...pools, { name: "vmThreads, jsdom", pool: "vmThreads", environment: "jsdom" }];
  const shared = { globals: true, include: ["tests.mjs"], testTimeout: 60_000 };
  const projects = environments.map((environment) => ({ test: { ...shared, ...environment } }));
  const [config, report] = ["vitest.config.mjs", "vitest-report.json"];
  writeFileSync(join(folder, config), `export default ${JSON.stringify({ test: { projects } })};\n`);
  const options = ["--maxWorkers=2", "--minWorkers=1", "--reporter=json", `--outputFile=${report}`];
  await passes(environments.length, report, tool("vitest/vitest.mjs"), "run", ...options);
});

test("node:vm, with intrinsics of its own", async () => {
  const runner = join(root, "__test__/runners/vm.ts");
  const tsx = require.resolve("tsx");
  const output = await node("--import", tsx, "--test-reporter=tap", runner, join(folder, "tests.cjs"));
  assert.match(output, /^# fail 0$/m, output);
  const passed = Number(/^# pass (\d+)$/m.exec(output)?.[1]);
  assert.ok(passed >= TESTS, `${passed} tests`);
});
