// Runs in a network namespace of its own. Drops the packets of all servers during commands, and prints the outcome.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createKV, type KVStore } from "covara-kv";
import { eventually } from "../backends.js";
import { startRedis } from "../redis-server.js";
import { Calls, emissions, underLoad } from "./faults.js";

const [caFile = "", certFile = "", keyFile = ""] = process.argv.slice(2);
const TLS_PORT = 40_000;

function iptables(action: "-A" | "-D", ports: readonly number[]): void {
  for (const port of ports) {
    for (const end of ["--sport", "--dport"]) {
      execFileSync("iptables", [action, "INPUT", "-p", "tcp", end, `${port}`, "-j", "DROP"]);
    }
  }
}

async function main(): Promise<void> {
  execFileSync("ip", ["link", "set", "lo", "up"]);
  const server = await startRedis({
    "tls-port": `${TLS_PORT}`,
    "tls-cert-file": certFile,
    "tls-key-file": keyFile,
    "tls-ca-cert-file": caFile,
    "tls-auth-clients": "no",
  });
  const ports = [server.port, TLS_PORT];
  const timeouts = { commandTimeout: 1_000, queueTimeout: 1_000, connectTimeout: 500 };
  const stores: Record<string, KVStore> = {
    plain: await createKV({ type: "redis", redis: { port: server.port, ...timeouts } }),
    tls: await createKV({
      type: "redis",
      redis: { port: TLS_PORT, tls: { ca: readFileSync(caFile, "utf8") }, ...timeouts },
    }),
  };

  const observed = await Promise.all(
    Object.entries(stores).map(async ([name, kv]) => {
      const [reconnecting, gaps] = [emissions(kv, "reconnecting"), emissions(kv, "gap")];
      const heard: string[] = [];
      await kv.subscribe(name, (message) => void heard.push(message));
      return { name, kv, reconnecting, gaps, heard, calls: new Calls(1_000) };
    }),
  );
  iptables("-A", ports);
  const loads = observed.map(({ kv, calls }) =>
    underLoad(4, async () => {
      await calls.try(() => kv.set("k", "v".repeat(100)));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }),
  );
  await eventually(() =>
    observed.every(({ reconnecting }) =>
      ["commands", "subscriptions"].every((role) =>
        reconnecting.some(({ connection }) => connection === role),
      ),
    ),
  );
  for (const load of loads) await load.stop();
  iptables("-D", ports);

  const outcome: Record<string, unknown> = {};
  for (const { name, kv, reconnecting, gaps, heard, calls } of observed) {
    const cause = (role: string) => reconnecting.find(({ connection }) => connection === role)?.cause.message;
    await eventually(() => kv.isConnected() && gaps.length > 0);
    await kv.publish(name, "heard");
    await eventually(() => heard.length > 0);
    outcome[name] = {
      commands: cause("commands"),
      subscriptions: cause("subscriptions"),
      failed: calls.errors.length,
      slowest: calls.slowest,
      after: [(await kv.ping()) === "PONG" ? "OK" : "", heard[0], gaps.length],
    };
    await kv.disconnect();
  }
  await server.stop();
  console.log(JSON.stringify(outcome));
}

main();
