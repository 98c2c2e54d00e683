// Each read works at a replica, and each write is refused: whoever gave its address as the master's finds out in production.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { Redis } from "ioredis";
import { eventually } from "../eventually.js";
import { startRedis } from "../redis-server.js";

const CLI = join(__dirname, "../../dist/cli.js");

async function doctor(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [CLI, "doctor", ...args]);
  return stdout;
}

test("doctor says that a URL leads to a replica", async () => {
  const [master, replica] = [await startRedis(), await startRedis()];
  const admin = new Redis({ host: replica.host, port: replica.port });
  try {
    await admin.replicaof(master.host, master.port);
    await eventually(async () => (await admin.info("replication")).includes("master_link_status:up"));
    const url = `redis://${replica.host}:${replica.port}`;
    assert.match(await doctor(url), /^ {2}! this is a replica: writes will be refused$/m);
    const { ok, warnings } = JSON.parse(await doctor(url, "--json"));
    assert.deepEqual([ok, warnings], [true, ["this is a replica: writes will be refused"]]);
    assert.doesNotMatch(await doctor(`redis://${master.host}:${master.port}`), / ! /);
  } finally {
    admin.disconnect();
    await Promise.all([master.stop(), replica.stop()]);
  }
});
