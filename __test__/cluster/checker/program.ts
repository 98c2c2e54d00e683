// Checks one client in a process of its own: `program.ts CLIENT SECONDS SEED`. Writes the report as JSON to file descriptor 3.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { check } from "./check.js";
import { clients } from "./clients.js";

const [name = "", seconds, seed] = process.argv.slice(2);

async function main(): Promise<void> {
  const kind = clients[name];
  if (kind === undefined) throw new Error(`The clients are ${Object.keys(clients).join(", ")}: not ${name}`);
  const partitions = process.env.CHECKER_NAMESPACE !== undefined;
  if (partitions) execFileSync("ip", ["link", "set", "lo", "up"]);
  const report = await check(kind, { seconds: Number(seconds), seed: Number(seed), partitions });
  writeFileSync(3, JSON.stringify(report));
}

main().then(
  () => process.exit(),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
