// One client on one row, in a process of its own. Prints what it measured, as JSON.
import { readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { clients } from "./redis-clients.mjs";
import { redisRows } from "./redis-rows.mjs";

const [port, name, rowName] = process.argv.slice(2);
const row = redisRows.find((row) => row.name === rowName);
const client = await clients[name](Number(port));

/** CPU time of the thread that runs JavaScript, in µs. Linux only. */
const threadCpu = () =>
  Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ")[0]) / 1_000;

function processCpu() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** Runs `work`, which gives how many operations it did, and says what they cost. */
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
