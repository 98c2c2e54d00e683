// npm run bench:cluster [-- row …] [-- --json] [-- --strict-bars]
// covara-kv against the cluster clients of the others, on a Redis Cluster of its own: see README.md.
import { createRequire } from "node:module";
import { clusterClients } from "./cluster-clients.mjs";
import { install } from "./redis-clients.mjs";
import { measure, show } from "./redis-report.mjs";
import { redisRows } from "./redis-rows.mjs";
import { child, commandLine, finish, machine, setting } from "./report.mjs";

// The tests are CommonJS.
const { startCluster } = createRequire(import.meta.url)("../__test__/redis-cluster.ts");

const { json, strict, names } = commandLine();
const rounds = setting("BENCH_ROUNDS", 3);
/** All, or those of these names separated by semicolons. */
const { BENCH_CLIENTS } = process.env;
const clients = Object.keys(clusterClients).filter(
  (client) => BENCH_CLIENTS?.split("; ").includes(client) ?? true,
);

const rows = redisRows.filter(({ name }) => name.includes("64 B"));
const unknown = names.filter((name) => !rows.some((row) => row.name.includes(name)));
if (unknown.length > 0) throw new Error(`No row is called ${unknown.join(", ")}`);
const chosen = rows.filter((row) => names.length === 0 || names.some((name) => row.name.includes(name)));

install();
// Replicas would take time of the same processors, and no client asks them.
const cluster = await startCluster({ replicasEach: 0 });
try {
  const results = [];
  if (!json) console.log(`${machine()}, medians of ${rounds} rounds\n`);
  const addresses = JSON.stringify(cluster.addresses);
  for (const row of chosen) {
    const result = await measure(row, clients, rounds, (client) =>
      child("redis-one.mjs", addresses, client, row.name),
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
  await cluster.stop();
}
