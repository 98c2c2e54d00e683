// npm run bench:soak [-- --json] [-- --strict-bars]
// Ten million operations of all kinds on a bounded number of keys, and the resident memory meanwhile: see README.md.
import { setImmediate as turn } from "node:timers/promises";
import { createMemoryKV } from "covara-kv";
import { commandLine, digits, finish, machine, mark, setting, table } from "./report.mjs";

const MB = 1e6;
const { json, strict } = commandLine();
const operations = setting("BENCH_OPERATIONS", 10_000_000);
const SAMPLES = 10;
/** How much the last samples may differ, in bytes. */
const FLAT = 8 * MB;
const COMPARED = 5;
/** Operations between two turns of the event loop, in which expired keys are swept. */
const BETWEEN_TURNS = 1_000;

const kv = createMemoryKV("soak");
const upTo = (end) => Math.floor(Math.random() * end);
const name = (kind, count = 2_000) => `${kind}:${upTo(count)}`;
/** Of very different lengths, so that the allocator has to find places of all sizes. */
const value = () => "x".repeat(1 + 2 ** (upTo(100) / 10));

let received = 0;
const receive = () => {
  received += 1;
};
await kv.subscribe("news", receive);
await kv.psubscribe("new?", receive);

/** One operation each, and each as likely as the others. Whatever adds has something that takes away. @type {(() => Promise<unknown>)[]} */
const mix = [
  () => kv.set(name("string"), value()),
  () => kv.get(name("string")),
  () => kv.del(name("string")),
  () => kv.incr(name("counter")),
  () => kv.set(name("session", 20_000), value(), { px: 1 + upTo(2_000) }),
  () => kv.setnx(name("lock"), "mine", { px: 1 + upTo(50) }),
  () => kv.getdel(name("session", 20_000)),
  () => kv.expire(name("string"), upTo(3)),
  () => kv.hset(name("hash"), `field:${upTo(50)}`, value()),
  () => kv.hdel(name("hash"), `field:${upTo(50)}`),
  () => kv.hgetall(name("hash")),
  () => kv.sadd(name("set"), `member:${upTo(50)}`, `member:${upTo(50)}`),
  () => kv.srem(name("set"), `member:${upTo(50)}`),
  () => kv.rpush(name("list"), value()),
  () => kv.lpush(name("list"), value()),
  () => kv.lpop(name("list")),
  () => kv.ltrim(name("list"), 0, 20),
  () => kv.zadd(name("zset", 200), upTo(1_000), `member:${upTo(500)}`),
  () => kv.zrem(name("zset", 200), `member:${upTo(500)}`),
  () => kv.zrangebyscore(name("zset", 200), upTo(500), "+inf", { limit: { offset: 0, count: 10 } }),
  () => kv.scan(String(upTo(10_000)), { match: "s*", count: 10 }),
  () => kv.publish("news", value()),
  async () => (await kv.listen([`channel:${upTo(100)}`], receive)).close(),
  () => kv.multi().incr(name("counter")).set(name("string"), value()).expire(name("hash"), 1).exec(),
  // An error is a way out of its own.
  () => kv.incr("no number").catch(() => {}),
];
await kv.set("no number", "none");

const script = "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('INCR', KEYS[2])";
try {
  await kv.eval("return 1", [], []);
  mix.push(() => kv.eval(script, [name("string"), name("counter")], [value()]));
} catch (error) {
  if (error.code !== "UNSUPPORTED") throw error;
}

const samples = [];
const started = performance.now();
for (let done = 1; done <= operations; done += 1) {
  await mix[upTo(mix.length)]();
  if (done % BETWEEN_TURNS === 0) await turn();
  if (done % Math.ceil(operations / SAMPLES) !== 0 && done !== operations) continue;
  globalThis.gc();
  const { rss, heapUsed } = process.memoryUsage();
  samples.push({ operations: done, rss, heap: heapUsed, seconds: (performance.now() - started) / 1_000 });
}
await kv.disconnect();

const last = samples.slice(-COMPARED).map(({ rss }) => rss);
const growth = Math.max(...last) - last[0];
const flat = growth < FLAT;
if (received === 0) throw new Error("No message was received.");

if (json) console.log(JSON.stringify({ machine: machine(), samples, growth, flat }, null, 2));
else {
  const line = ({ operations, rss, heap, seconds }) => [
    operations.toLocaleString("en"),
    digits(rss / MB),
    digits(heap / MB),
    digits(seconds),
  ];
  console.log(`${machine()}; ${mix.length} kinds of operations, ${received.toLocaleString("en")} messages\n`);
  console.log(table([["operations", "resident MB", "V8 heap MB", "s"], ...samples.map(line)]));
  console.log(
    `\ngrowth over the last ${last.length} samples: ${digits(growth / MB)} MB  (< ${FLAT / MB})  ${mark(flat)}`,
  );
}
finish(strict, flat);
