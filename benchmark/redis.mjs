// npm run bench:redis [-- row …] [-- --json] [-- --strict-bars]
// covara-kv against the other Redis clients, on a redis-server of its own: see README.md.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { clients, install } from "./redis-clients.mjs";
import { measure, show } from "./redis-report.mjs";
import { redisRows } from "./redis-rows.mjs";
import { startRedis } from "./redis-server.mjs";
import { child, commandLine, finish, machine, setting } from "./report.mjs";

const { json, strict, names } = commandLine();
const rounds = setting("BENCH_ROUNDS", 3);
/** Messages a second: a rate at which no client falls behind. */
const RATE = setting("BENCH_PUBLISH_RATE", 20_000);
const here = fileURLToPath(new URL(".", import.meta.url));

/**
 * One measurement of one client. Messages come from a process of their own.
 * @param {any} row
 */
async function measureOnce(port, client, row) {
  const { name, callbacks } = row;
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

const unknown = names.filter((name) => !redisRows.some((row) => row.name.includes(name)));
if (unknown.length > 0) throw new Error(`No row is called ${unknown.join(", ")}`);
const chosen = redisRows.filter((row) => names.length === 0 || names.some((name) => row.name.includes(name)));

install();
const { port, stop } = await startRedis();
try {
  const results = [];
  if (!json) console.log(`${machine()}, medians of ${rounds} rounds\n`);
  for (const row of chosen) {
    const result = await measure(row, Object.keys(clients), rounds, (client) =>
      measureOnce(port, client, row),
    );
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
