// npm run bench:soak [-- --json] [-- --strict-bars]
// Ten million operations of all kinds on a bounded number of keys, and the resident memory meanwhile: see README.md.
import { setImmediate as turn } from "node:timers/promises";
import { createMemoryKV } from "covara-kv";
import { mixOf } from "./mix.mjs";
import { commandLine, digits, finish, machine, mark, setting, table } from "./report.mjs";

const MB = 1e6;
const { json, strict } = commandLine();
const operations = setting("BENCH_OPERATIONS", 10_000_000);
const SAMPLES = 10;
/** The most by which the last samples may differ, in bytes. */
const FLAT = 8 * MB;
const COMPARED = 5;
/** Operations between two turns of the event loop. Expired keys are swept in a turn. */
const BETWEEN_TURNS = 1_000;

const kv = createMemoryKV("soak");
const { next, kinds, received } = await mixOf(kv);

const samples = [];
const started = performance.now();
for (let done = 1; done <= operations; done += 1) {
  await next();
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
if (received() === 0) throw new Error("No message was received.");

if (json) console.log(JSON.stringify({ machine: machine(), samples, growth, flat }, null, 2));
else {
  const line = ({ operations, rss, heap, seconds }) => [
    operations.toLocaleString("en"),
    digits(rss / MB),
    digits(heap / MB),
    digits(seconds),
  ];
  console.log(`${machine()}; ${kinds} kinds of operations, ${received().toLocaleString("en")} messages\n`);
  console.log(table([["operations", "resident MB", "V8 heap MB", "s"], ...samples.map(line)]));
  console.log(
    `\ngrowth over the last ${last.length} samples: ${digits(growth / MB)} MB  (< ${FLAT / MB})  ${mark(flat)}`,
  );
}
finish(strict, flat);
