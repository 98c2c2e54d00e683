// In a planned failover, the most usual event of a managed cluster, other clients ran 6 to 219 writes of one key in another order than they were called;
// they resent writes that had run, lost messages without a word, and stood still on all shards while one failed over. Nothing of that may happen
// here, whatever is done to the cluster: kill -9, SIGSTOP, failovers, resharding, lost connections, dropped bus packets, partitions.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
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
  const least = Math.min(...Object.values(report.faults));
  assert.ok(least >= Math.floor(seconds / 60), shown);
  assert.ok(report.tally.calls > 1_000 * seconds, shown);
  assert.ok(report.tally.failed < 0.2 * report.tally.calls, shown);
});
