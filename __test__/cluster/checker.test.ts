// While nodes are killed, frozen, cut off, failed over and resharded, a promise may break or other shards may stop. Runs a store under that
// load.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { OWN_ELECTION } from "./checker/faults.js";
import { violations } from "./checker/judge.js";
import { runChecker } from "./checker/run.js";

const { CHECKER_SECONDS, CHECKER_SEED } = process.env;
const seconds = Number(CHECKER_SECONDS ?? 60);
const seed = Number(CHECKER_SEED ?? (CHECKER_SECONDS === undefined ? 1 : randomInt(1 << 30)));

test(`the promises hold through ${seconds} s of faults`, {
  timeout: (4 * seconds + 120) * 1_000,
}, async (t) => {
  t.diagnostic(`CHECKER_SEED=${seed} CHECKER_SECONDS=${seconds}`);
  const report = await runChecker("covara-kv", seconds, seed);
  const shown = `seed ${seed}: ${JSON.stringify(report, null, 1)}`;
  t.diagnostic(JSON.stringify({ ...report, failovers: report.failovers.length }));
  assert.deepEqual(violations(report.tally, report.failovers), [], shown);
  // A run without faults, or without calls that succeed, would hold every promise.
  const { [OWN_ELECTION]: _, ...caused } = report.faults;
  const least = Math.min(...Object.values(caused));
  assert.ok(least >= Math.floor(seconds / 60), shown);
  assert.ok(report.tally.calls > 1_000 * seconds, shown);
  assert.ok(report.tally.failed < 0.2 * report.tally.calls, shown);
  assert.ok(report.tally.scans > 0, shown);
});
