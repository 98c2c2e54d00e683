// npm run bench:redis [-- row …] [-- --json] [-- --strict-bars]
// covara-kv against the other Redis clients, on a redis-server of its own: see README.md.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { clients, install } from "./redis-clients.mjs";
import { redisRows } from "./redis-rows.mjs";
import { startRedis } from "./redis-server.mjs";
import { child, commandLine, digits, finish, machine, mark, median, setting, table } from "./report.mjs";

const { json, strict, names } = commandLine();
const rounds = setting("BENCH_ROUNDS", 3);
/** Messages a second: what every client can keep up with. */
const RATE = setting("BENCH_PUBLISH_RATE", 20_000);
const OURS = "covara-kv";
const here = fileURLToPath(new URL(".", import.meta.url));

/** The bars of benchmark/README.md, over the best of the other clients. */
function barsOf({ callers, callbacks }) {
  if (callbacks !== undefined) return callbacks === 1 ? { js: 0.5 } : {};
  if (callers === 1) return { operations: 1, p99: 1 };
  return callers < 256 ? { operations: 1.5 } : { operations: 2, js: 0.5 };
}

/** One measurement of one client. Messages come from a process of their own. */
async function measureOnce(port, client, { name, callbacks }) {
  if (callbacks === undefined) return child("redis-one.mjs", String(port), client, name);
  const script = `${here}redis-publisher.mjs`;
  const rate = callbacks === 1 ? RATE : RATE / 10;
  const publisher = spawn(process.execPath, [script, String(port), String(rate)]);
  try {
    return await child("redis-one.mjs", String(port), client, name);
  } finally {
    publisher.kill();
  }
}

/** Rounds of all clients in turn, so that what else the machine does meets all. */
async function measure(port, row) {
  const results = Object.fromEntries(Object.keys(clients).map((client) => [client, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const client of Object.keys(clients)) results[client].push(await measureOnce(port, client, row));
  }
  const middle = (list) =>
    Object.fromEntries(
      Object.keys(list[0]).map((figure) => [figure, median(list.map((one) => one[figure]))]),
    );
  /** @type {any} */
  const medians = Object.fromEntries(Object.entries(results).map(([client, list]) => [client, middle(list)]));
  return { name: row.name, medians, verdicts: verdicts(row, medians) };
}

/** For each bar: our figure over the best of the others. */
function verdicts(row, { [OURS]: ours, ...others }) {
  return Object.entries(barsOf(row)).map(([figure, bar]) => {
    const more = figure === "operations";
    const best = (more ? Math.max : Math.min)(...Object.values(others).map((other) => other[figure]));
    const ratio = ours[figure] / best;
    return { figure, bar, ratio, met: more ? ratio >= bar : ratio <= bar };
  });
}

function show({ name, medians, verdicts }) {
  const lines = Object.entries(medians).map(([client, { operations, p50, p99, js, process }]) => [
    `  ${client}`,
    Math.round(operations).toLocaleString("en"),
    p50 === undefined ? "" : digits(p50),
    p99 === undefined ? "" : digits(p99),
    digits(js),
    digits(process),
  ]);
  console.log(table([[name, "a second", "p50 µs", "p99 µs", "JS µs", "process µs"], ...lines]));
  const words = { operations: "operations", p99: "p99", js: "JS thread" };
  for (const { figure, bar, ratio, met } of verdicts) {
    const sign = figure === "operations" ? "≥" : "≤";
    console.log(`  ${mark(met)} ${words[figure]} ${digits(ratio)} of the best other (bar ${sign} ${bar})`);
  }
  console.log();
}

const unknown = names.filter((name) => !redisRows.some((row) => row.name.includes(name)));
if (unknown.length > 0) throw new Error(`No row is called ${unknown.join(", ")}`);
const chosen = redisRows.filter((row) => names.length === 0 || names.some((name) => row.name.includes(name)));

install();
const { port, stop } = await startRedis();
try {
  const results = [];
  if (!json) console.log(`${machine()}, medians of ${rounds} rounds\n`);
  for (const row of chosen) {
    const result = await measure(port, row);
    results.push(result);
    if (!json) show(result);
  }
  if (json) console.log(JSON.stringify({ machine: machine(), rounds, rows: results }, null, 2));
  finish(
    strict,
    results.every(({ verdicts }) => verdicts.every(({ met }) => met)),
  );
} finally {
  stop();
}
