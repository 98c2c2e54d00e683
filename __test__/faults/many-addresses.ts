// Runs in a network namespace of its own, in which eight.test has eight addresses. Prints how many connections are opened to a server that
// listens on all of them.
import { execFileSync } from "node:child_process";
import { lookup } from "node:dns/promises";
import { createKV, type KVStore } from "covara-kv";
import { Redis } from "ioredis";
import { startRedis } from "../redis-server.js";

async function main(): Promise<void> {
  execFileSync("ip", ["link", "set", "lo", "up"]);
  const addresses = (await lookup("eight.test", { all: true })).map(({ address }) => address);
  const server = await startRedis({ bind: addresses.join(" ") });
  const admin = new Redis({ host: addresses.at(-1) as string, port: server.port });
  const received = async () =>
    Number(/total_connections_received:(\d+)/.exec(String(await admin.info("stats")))?.[1]);

  const opened = async () => {
    const [before, start] = [await received(), performance.now()];
    const kv: KVStore = await createKV({ type: "redis", redis: { host: "eight.test", port: server.port } });
    const time = performance.now() - start;
    await kv.ping();
    await kv.disconnect();
    return { connections: (await received()) - before, time };
  };
  const all = await opened();
  for (const address of addresses.slice(0, 2)) {
    const to = ["-d", address, "-p", "tcp", "--dport", `${server.port}`];
    execFileSync("iptables", ["-A", "INPUT", ...to, "-j", "DROP"]);
  }
  const twoSilent = await opened();
  for (const address of addresses.slice(2, 5)) {
    const to = ["-d", address, "-p", "tcp", "--dport", `${server.port}`];
    execFileSync("iptables", ["-A", "INPUT", ...to, "-j", "REJECT", "--reject-with", "tcp-reset"]);
  }
  const threeRefuse = await opened();
  console.log(JSON.stringify({ addresses: addresses.length, all, twoSilent, threeRefuse }));
  admin.disconnect();
  await server.stop();
}

void main();
