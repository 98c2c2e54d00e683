// One client on one row, in a process of its own: `redis-one.mjs PORT CLIENT ROW`, or the addresses of a cluster as JSON in place of the port.
// Prints what it measured, as JSON.
import { readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { clusterClients } from "./cluster-clients.mjs";
import { clients } from "./redis-clients.mjs";
import { redisRows } from "./redis-rows.mjs";

const [target, name, rowName] = process.argv.slice(2);
const row = redisRows.find((row) => row.name === rowName);
const where = JSON.parse(target);
const client = await (typeof where === "number" ? clients : clusterClients)[name](where);

/** CPU time of the thread that runs JavaScript, in µs. Linux only. */
const threadCpu = () =>
  Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ")[0]) / 1_000;

function processCpu() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** Runs `work`, which resolves to its number of operations. Resolves to operations a second, and CPU time for each in µs. */
async function measured(work) {
  const [start, thread, whole] = [performance.now(), threadCpu(), processCpu()];
  const operations = await work();
  const seconds = (performance.now() - start) / 1_000;
  return {
    operations: operations / seconds,
    js: (threadCpu() - thread) / operations,
    process: (processCpu() - whole) / operations,
  };
}

console.log(JSON.stringify(await row.run(client, { measured, wait })));
await client.close();
process.exit();
