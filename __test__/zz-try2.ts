import { startCluster } from "./redis-cluster.js";
import { createKV } from "../ts/index.js";
const sleep = (ms: number) => new Promise((r) => setTimeout(r, ms));
async function main() {
  const cluster = await startCluster({ nodeTimeout: 1000 });
  try {
    const [first] = cluster.nodes;
    const kv = await createKV({ type: "redis", redis: { url: `redis://${first!.host}:${first!.port}` } });
    console.log("plain url:", await kv.set("hello", "x"), await kv.get("hello"), kv.status);
    kv.on("reconnecting", (e: any) => console.log("  reconnecting", e.attempt, e.cause.message.slice(0, 90)));
    let stop = false;
    const errors: any[] = [];
    let count = 0;
    const acked = new Set<number>();
    let paused = false;
    const work = (async () => {
      while (!stop) {
        await Promise.all(Array.from({ length: 30 }, async () => {
          const n = count++;
          const pair = new Promise<void>((r) => setImmediate(r));
          await kv.rpush(`list${n % 50}`, String(n)).then(() => acked.add(n), (e) => errors.push(e));
          await pair;
        }));
      }
    })();
    const report = async (what: string) => {
      console.log(what, count, "errors", errors.length, [...new Set(errors.map((e) => e.code + " " + e.message.slice(0, 150)))].slice(0, 3));
      errors.length = 0;
    };
    await sleep(300);
    // migration of one slot key by key under load
    const { slotOf } = await import("./redis-cluster.js");
    const slot = slotOf("list7");
    const owner = await cluster.masterOf(slot);
    const other = (await cluster.masters()).map((m) => m.node).find((n) => n !== owner)!;
    const migration = await cluster.migrate(slot, other);
    await sleep(200);
    await migration.move();
    await sleep(200);
    await migration.finish();
    await sleep(300);
    await report("migration");
    const master = await cluster.masterOf("list3");
    await master.kill();
    const t = Date.now();
    await cluster.replaced(master, slotOf("list3"));
    console.log("replaced after", Date.now() - t);
    await sleep(2500);
    await report("kill -9");
    await master.recover();
    await sleep(1000);
    await report("recovered");
    const frozen = await cluster.masterOf("list4");
    frozen.pause();
    await sleep(4000);
    await report("frozen");
    frozen.resume();
    await sleep(2000);
    await report("woken");
    stop = true;
    await work;
    let inversions = 0, doubles = 0;
    const found = new Set<number>();
    for (let i = 0; i < 50; i++) {
      const list = (await kv.lrange(`list${i}`, 0, -1)).map(Number);
      list.forEach((v, j) => { if (j > 0 && v <= (list[j - 1] as number)) inversions++; if (found.has(v)) doubles++; found.add(v); });
    }
    console.log({ inversions, doubles, lost: [...acked].filter((n) => !found.has(n)).length, acked: acked.size, health: (await kv.health()).connections.map((c: any) => c.state) });
    await kv.disconnect();
    console.log("closed");
  } finally {
    await cluster[Symbol.asyncDispose]();
  }
}
main().catch((e) => { console.error(e); process.exit(1); });
