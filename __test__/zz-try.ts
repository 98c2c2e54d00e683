import { startCluster } from "./redis-cluster.js";
import { createKV } from "../ts/index.js";
async function main() {
  const cluster = await startCluster({});
  try {
    const nodes = cluster.nodes.map(({ host, port }) => ({ host, port }));
    console.log(nodes);
    const kv = await createKV({ type: "redis", redis: { cluster: { nodes: nodes.slice(0, 2) } } });
    await kv.connect();
    console.log("connected", kv.status);
    const keys = Array.from({ length: 1000 }, (_, i) => `k${i}`);
    await Promise.all(keys.map((key) => kv.set(key, key)));
    console.log((await Promise.all(keys.map((key) => kv.get(key)))).every((v, i) => v === keys[i]));
    console.log((await kv.mget(...keys)).every((v, i) => v === keys[i]), (await kv.keys("*")).length, await kv.exists(...keys), await kv.del(...keys.slice(0, 500)));
    await kv.mget("a{x}", "b{x}").then(console.log);
    await kv.multi().set("a", "1").set("b", "2").exec().catch((error) => console.log(error.code, error.message));
    await kv.multi().set("{t}a", "1").set("{t}b", "2").exec().then(console.log);
    console.log(await kv.eval("return redis.call('get', KEYS[1])", ["{t}b"], []));
    console.log(kv.health());
    // planned failover under load
    let stop = false;
    const errors: unknown[] = [];
    let count = 0;
    const work = (async () => {
      while (!stop) {
        await Promise.all(Array.from({ length: 30 }, (_, i) => {
          const n = count++;
          return kv.rpush(`list${n % 7}`, String(n)).catch((e) => errors.push(e));
        }));
      }
    })();
    await new Promise((r) => setTimeout(r, 500));
    const begun = Date.now();
    await cluster.failover(0);
    console.log("failover took", Date.now() - begun);
    await new Promise((r) => setTimeout(r, 1500));
    stop = true;
    await work;
    console.log(count, errors.length, errors[0]);
    for (let i = 0; i < 7; i++) {
      const list = (await kv.lrange(`list${i}`, 0, -1)).map(Number);
      const sorted = list.every((v, j) => j === 0 || v > (list[j - 1] as number));
      console.log(i, list.length, sorted);
    }
    await kv.disconnect();
    console.log("closed");
  } finally {
    await cluster[Symbol.asyncDispose]();
  }
}
main().catch((e) => { console.error(e); process.exit(1); });
