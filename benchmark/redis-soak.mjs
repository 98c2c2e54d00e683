// npm run bench:redis-soak [-- --json] [-- --strict-bars]
// Millions of commands, thousands of openings, thousands of lost connections, and the resident memory meanwhile: see README.md.
import { createKV } from "covara-kv";
import { Redis } from "ioredis";
import { mixOf } from "./mix.mjs";
import { startRedis } from "./redis-server.mjs";
import { commandLine, digits, finish, machine, mark, setting, table } from "./report.mjs";

const MB = 1e6;
const { json, strict } = commandLine();
const commands = setting("BENCH_OPERATIONS", 5_000_000);
const openings = setting("BENCH_OPENINGS", 2_000);
const losses = setting("BENCH_LOSSES", 2_000);
const CALLERS = 64;
const SAMPLES = 10;
/** The most by which the last samples may differ, in bytes. */
const FLAT = 8 * MB;
const COMPARED = 5;

const { port, stop } = await startRedis();
const open = () => createKV({ type: "redis", prefix: "soak", redis: { port, retryDelay: 0 } });
/** A client that watches the server, and ends connections. */
const observer = new Redis({ port });

async function connections() {
  return String(await observer.client("LIST"))
    .trim()
    .split("\n").length;
}

/** Does `work` `times` times, in equal parts, and samples the memory after each part. */
async function soak(title, times, work) {
  const samples = [];
  for (let part = 1; part <= SAMPLES; part += 1) {
    await work(Math.ceil(times / SAMPLES));
    globalThis.gc();
    samples.push({ done: part * Math.ceil(times / SAMPLES), rss: process.memoryUsage.rss() });
  }
  const last = samples.slice(-COMPARED).map(({ rss }) => rss);
  const growth = Math.max(...last) - last[0];
  return { title, samples, growth, flat: growth < FLAT };
}

const results = [];
{
  const kv = await open();
  const { next } = await mixOf(kv);
  results.push(
    await soak("commands", commands, async (count) => {
      let left = count;
      const caller = async () => {
        while (left > 0) {
          left -= 1;
          await next();
        }
      };
      await Promise.all(Array.from({ length: CALLERS }, caller));
    }),
  );
  await kv.disconnect();
}
results.push(
  await soak("openings", openings, async (count) => {
    for (let opened = 0; opened < count; opened += 1) {
      const kv = await open();
      await kv.subscribe("news", () => {});
      await kv.ping();
      await kv.disconnect();
    }
  }),
);
{
  const kv = await open();
  const heard = { gaps: 0 };
  kv.on("gap", () => {
    heard.gaps += 1;
  });
  await kv.subscribe("news", () => {});
  results.push(
    await soak("lost connections", losses, async (count) => {
      for (let lost = 0; lost < count; lost += 1) {
        const gap = heard.gaps;
        await observer.client("KILL", "TYPE", "pubsub");
        while (heard.gaps === gap) await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }),
  );
  await kv.disconnect();
}
const left = await connections();
observer.disconnect();
stop();

const flat = results.every((result) => result.flat);
if (json) console.log(JSON.stringify({ machine: machine(), results, left, flat }, null, 2));
else {
  console.log(`${machine()}\n`);
  for (const { title, samples, growth, flat } of results) {
    const lines = samples.map(({ done, rss }) => [done.toLocaleString("en"), digits(rss / MB)]);
    console.log(table([[title, "resident MB"], ...lines]));
    console.log(
      `growth over the last ${COMPARED}: ${digits(growth / MB)} MB  (< ${FLAT / MB})  ${mark(flat)}\n`,
    );
  }
  console.log(`connections left on the server: ${left} (the observer's)`);
}
finish(strict, flat);
