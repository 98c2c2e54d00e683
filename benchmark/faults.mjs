// npm run bench:faults [-- client …] [-- --json] [-- --strict-bars]
// The checker of __test__/cluster on each client in turn: what is lost, doubled, out of order and untold under faults. See README.md.
import { createRequire } from "node:module";
import { install } from "./redis-clients.mjs";
import { commandLine, digits, finish, machine, mark, setting, table } from "./report.mjs";

// The tests are CommonJS.
const checker = createRequire(new URL("../__test__/cluster/checker/", import.meta.url));
const { clients: checked } = checker("./clients.ts");
const { middle } = checker("./failovers.ts");
const { violations } = checker("./judge.ts");
const { runChecker } = checker("./run.ts");

const { json, strict, names } = commandLine();
const seconds = setting("CHECKER_SECONDS", 60);
const seed = setting("CHECKER_SEED", 1);
const OURS = "covara-kv";

const unknown = names.filter((name) => !(name in checked));
if (unknown.length > 0) throw new Error(`No client is called ${unknown.join(", ")}`);
const chosen = names.length > 0 ? names : Object.keys(checked);

const count = (number) => number.toLocaleString("en");
const percent = (part) => `${digits(100 * part)} %`;
const changesOf = (failovers) => failovers.flatMap(({ changes }) => changes);
const most = (numbers) => Math.max(0, ...numbers);

/** The columns: what each has of a report. */
const columns = {
  calls: ({ tally }) => count(tally.calls),
  failed: ({ tally }) => percent(tally.failed / tally.calls),
  "failed, nothing broken": ({ tally }) => count(tally.failedNeedlessly),
  "lost writes": ({ tally }) => count(tally.lost),
  doubled: ({ tally }) => count(tally.doubled + tally.messagesDoubled),
  "out of order": ({ tally }) => count(tally.outOfOrder),
  "stale reads": ({ tally }) => count(tally.stale),
  "messages out of order": ({ tally }) => count(tally.messagesOutOfOrder),
  "missed messages": ({ tally }) => count(tally.missed),
  "untold gaps": ({ tally }) => count(tally.untoldGaps),
  "other shards": ({ failovers }) => percent(middle(failovers.map(({ others }) => others))),
  "at worst": ({ failovers }) => percent(Math.min(...failovers.map(({ others }) => others))),
  "CLUSTER SLOTS": ({ failovers }) => count(most(changesOf(failovers).map(({ slotsCalls }) => slotsCalls))),
  connections: ({ failovers }) => count(most(changesOf(failovers).map(({ connections }) => connections))),
  "slowest ms": ({ slowest }) => count(slowest),
};

install();
const reports = {};
for (const name of chosen) {
  reports[name] = await runChecker(name, seconds, seed);
  if (json) continue;
  const { tally, failovers, faults, errors, examples } = reports[name];
  console.log(`${name}: ${JSON.stringify(faults)}`);
  for (const [error, times] of Object.entries(errors)) console.log(`  ${count(times)} × ${error}`);
  for (const words of violations(tally, failovers)) console.log(`  ${mark(false)} ${words}`);
  for (const example of examples) console.log(`    ${example}`);
}
if (json) console.log(JSON.stringify({ machine: machine(), seconds, seed, reports }, null, 2));
else {
  const lines = Object.entries(reports).map(([name, report]) => [
    name,
    ...Object.values(columns).map((column) => column(report)),
  ]);
  console.log(`\n${machine()}, ${seconds} s each, seed ${seed}\n`);
  console.log(table([["client", ...Object.keys(columns)], ...lines]));
}
const ours = reports[OURS];
finish(strict, ours === undefined || violations(ours.tally, ours.failovers).length === 0);
