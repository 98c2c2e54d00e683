// How many acknowledged writes each client loses in a planned failover by Sentinel: the old master takes writes for up to ten seconds after it.
//   node --import tsx benchmark/sentinel.ts [covara-kv] [ioredis] [ioredis-detector] [node-redis]
import { setTimeout as wait } from "node:timers/promises";
import { createKV } from "covara-kv";
import { Redis } from "ioredis";
import { createSentinel } from "redis";
import { type SentinelSet, startSentinels } from "../__test__/sentinel.js";

const LIST = "written";
/** Long enough for the old master to learn that it is a replica, in ms. */
const AFTERWARDS = 15_000;

interface Client {
  push(value: string): Promise<unknown>;
  end(): unknown;
}

function ioredis({ sentinel: { name, nodes } }: SentinelSet, failoverDetector: boolean): Client {
  const client = new Redis({ sentinels: nodes, name, failoverDetector });
  client.on("error", () => {});
  return { push: (value) => client.lpush(LIST, value), end: () => client.disconnect() };
}

const clients: Record<string, (set: SentinelSet) => Promise<Client> | Client> = {
  async "covara-kv"({ sentinel }) {
    const kv = await createKV({ type: "redis", redis: { sentinel } });
    return { push: (value) => kv.lpush(LIST, value), end: () => kv.disconnect() };
  },
  ioredis: (set) => ioredis(set, false),
  "ioredis-detector": (set) => ioredis(set, true),
  async "node-redis"({ sentinel: { name, nodes } }) {
    const client = createSentinel({ name, sentinelRootNodes: nodes });
    client.on("error", () => {});
    await client.connect();
    return { push: (value) => client.lPush(LIST, value), end: () => client.destroy() };
  },
};

async function measure(name: string, make: (set: SentinelSet) => Promise<Client> | Client): Promise<void> {
  await using set = await startSentinels();
  const client = await make(set);
  const acknowledged = new Set<number>();
  let [failed, slowest, isStopped] = [0, 0, false];
  const push = async (number: number) => {
    const called = performance.now();
    await client.push(String(number)).then(
      () => acknowledged.add(number),
      () => failed++,
    );
    slowest = Math.max(slowest, performance.now() - called);
  };
  const calls: Promise<void>[] = [];
  const written = (async () => {
    for (let number = 0; !isStopped; number++) {
      calls.push(push(number));
      await wait(1);
    }
  })();
  await wait(1_000);
  await set.failover();
  await wait(AFTERWARDS);
  isStopped = true;
  await written;
  await Promise.race([Promise.all(calls), wait(AFTERWARDS)]);
  const list = (await set.admin(await set.master()).lrange(LIST, 0, -1)).map(Number).reverse();
  const present = new Set(list);
  const lost = [...acknowledged].filter((number) => !present.has(number)).length;
  const disordered = list.filter((number, index) => index > 0 && number < Number(list[index - 1])).length;
  const twice = list.length - present.size;
  const slow = `${Math.round(slowest)} ms`;
  console.log(
    JSON.stringify({ name, acknowledged: acknowledged.size, lost, failed, twice, disordered, slow }),
  );
  await client.end();
}

async function main(): Promise<void> {
  const chosen = process.argv.slice(2);
  for (const [name, make] of Object.entries(clients)) {
    if (chosen.length === 0 || chosen.includes(name)) await measure(name, make);
  }
  process.exit();
}

void main();
