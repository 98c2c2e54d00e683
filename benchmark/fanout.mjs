// npm run bench:fanout [-- --json] [-- --strict-bars] [handlers] [filter] [fleets]
// What it costs an instance to hear the events of a whole fleet. A hundredth of them is for its own open streams: see README.md.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { handlerName, handlerOf, SUBSCRIPTIONS, subscriptionNames } from "./fanout-world.mjs";
import { Program } from "./program.mjs";
import { startRedis } from "./redis-server.mjs";
import { commandLine, digits, finish, machine, mark, median, setting, table } from "./report.mjs";
import { benchFilter, benchFleets, showFilter, showFleets } from "./streams.mjs";

const { json, strict, names } = commandLine();
/** Whether a part of the benchmark runs: by default all do. */
const asks = (part) => names.length === 0 || names.includes(part);
const rounds = setting("BENCH_ROUNDS", 3);
const seconds = setting("BENCH_SECONDS", 8);
/** Messages a second of the whole fleet. */
const RATE = setting("BENCH_PUBLISH_RATE", 50_000);
const WARM_UP_MS = 1_500;
/** The CPU time of the JS thread must be at most this share of the framework's. */
const BAR = 0.05;
const OURS = "covara-kv";
const FRAMEWORK = "JSON.parse, store";
const MAP = "JSON.parse, Map";
const here = fileURLToPath(new URL(".", import.meta.url));

/** Writes to Redis to which handler each subscription belongs, of this instance and of the others, as the framework looks it up. */
async function seed(port) {
  if (!existsSync(`${here}peers/node_modules/ioredis`))
    execFileSync("npm", ["ci", "--prefix", `${here}peers`], { stdio: "inherit" });
  const { Redis } = await import(createRequire(`${here}peers/package.json`).resolve("ioredis"));
  const redis = new Redis({ port });
  const names = subscriptionNames(2 * SUBSCRIPTIONS);
  for (let from = 0; from < names.length; from += 1_000) {
    const pipeline = redis.pipeline();
    for (let i = from; i < from + 1_000; i += 1) {
      const handler = handlerName(handlerOf(i));
      pipeline.hset("subscriptions", names[i], handler);
      pipeline.sadd(`handler:${handler}:subscriptions`, names[i]);
    }
    await pipeline.exec();
  }
  await redis.quit();
}

/** Measures one window of one way. */
async function measure(port, way) {
  const instance = new Program("fanout-one.mjs", String(port), way);
  let publisher;
  try {
    await instance.answer();
    publisher = new Program("fanout-publisher.mjs", String(port), String(RATE));
    await publisher.answer();
    await wait(WARM_UP_MS);
    const window = await instance.ask({ seconds });
    const { sent, samples } = await publisher.ask("stop");
    const checked = await instance.ask({ sent });
    const publishedBy = (time) => samples.findLast(([at]) => at <= time)[1];
    const published = publishedBy(window.to) - publishedBy(window.from);
    const elapsed = (window.to - window.from) / 1_000;
    return {
      published: published / elapsed,
      handled: window.handled / elapsed,
      backlog: Math.max(0, publishedBy(window.to) - window.handledUpTo),
      js: window.js / elapsed,
      coreless: window.coreless / elapsed,
      jsEach: (window.js * 1_000) / window.handled,
      process: window.process / elapsed,
      processEach: (window.process * 1_000) / window.handled,
      p50: window.p50,
      p99: window.p99,
      max: window.max,
      ...checked,
    };
  } finally {
    instance.kill();
    publisher?.kill();
  }
}

/** Medians; for figures that must be zero or complete, the sums. */
function summary(list) {
  const sums = ["due", "inTime", "wrong", "cutOff"];
  const figures = Object.keys(list[0]).map((figure) => {
    const values = list.map((one) => one[figure]);
    return [figure, sums.includes(figure) ? values.reduce((sum, value) => sum + value, 0) : median(values)];
  });
  return Object.fromEntries(figures);
}

function show(results) {
  const whole = (number) => Math.round(number).toLocaleString("en");
  const heads = ["", "published/s", "handled/s", "JS ms/s", "no core", "µs each", "process ms/s", "µs each"];
  heads.push("loop p50 ms", "p99", "max", "events in time");
  const lines = Object.entries(results).map(([way, one]) => [
    way,
    ...[one.published, one.handled].map(whole),
    ...[one.js, one.coreless, one.jsEach, one.process, one.processEach, one.p50, one.p99, one.max].map(
      digits,
    ),
    `${whole(one.inTime)} of ${whole(one.due)}`,
  ]);
  console.log(table([heads, ...lines]));
}

/** The CPU time of our JS thread over that of another way: in the same time, and for each handled message. */
function ratios(ours, other) {
  const [inAll, each] = [ours.js / other.js, ours.jsEach / other.jsEach];
  return { inAll, each };
}

async function benchHandlers() {
  const { port, stop } = await startRedis();
  try {
    await seed(port);
    if (!json) console.log(`${machine()}, medians of ${rounds} rounds of ${seconds} s\n`);
    const ways = [OURS, FRAMEWORK, MAP];
    const measured = Object.fromEntries(ways.map((way) => [way, []]));
    for (let round = 0; round < rounds; round += 1)
      for (const way of ways) measured[way].push(await measure(port, way));

    /** @type {any} */
    const results = Object.fromEntries(ways.map((way) => [way, summary(measured[way])]));
    const ours = results[OURS];
    const over = { [FRAMEWORK]: ratios(ours, results[FRAMEWORK]), [MAP]: ratios(ours, results[MAP]) };
    const met = over[FRAMEWORK].inAll <= BAR && over[FRAMEWORK].each <= BAR;
    if (!json) {
      show(results);
      console.log();
      for (const [way, { inAll, each }] of Object.entries(over)) {
        const bar = way === FRAMEWORK ? ` (bar ≤ ${BAR})` : "";
        const figures = `JS thread ${inAll.toFixed(3)} of "${way}" in the same time, ${each.toFixed(3)} for each message`;
        console.log(`  ${bar ? mark(met) : " "} ${figures}${bar}`);
      }
      for (const way of ways.filter((way) => results[way].handled < 0.99 * results[way].published)) {
        const { handled, published, backlog, cutOff } = results[way];
        const share = `it handled ${((100 * handled) / published).toFixed(0)} % of the messages`;
        const left = `${Math.round(backlog).toLocaleString("en")} were waiting or lost at the end of the window`;
        console.log(`    "${way}" fell behind: ${share}, ${left}; Redis cut it off ${cutOff} times in all`);
      }
    }
    finish(strict, met);

    // Wrong or missing events fail the run in any case, as speed without them means nothing.
    const wrong = ways.filter((way) => results[way].wrong > 0);
    const lost = ours.due - ours.inTime;
    if (wrong.length > 0 || lost !== 0) {
      console.error(`Wrong events: ${wrong.join(", ") || "none"}; of ${OURS}'s, ${lost} are missing`);
      process.exitCode = 1;
    }
    return { rounds, seconds, results, ratios: over, met };
  } finally {
    stop();
  }
}

/** @type {any} */
const report = { machine: machine() };
if (asks("handlers")) Object.assign(report, await benchHandlers());
if (asks("filter")) {
  report.filter = await benchFilter();
  if (!json) {
    console.log("\nThe framework's own subscription, 10 streams of its own, 1 % of the events\n");
    showFilter(report.filter);
  }
  finish(
    strict,
    report.filter.every(({ ratio, bar }) => ratio <= bar),
  );
  if (!report.filter.every(({ isComplete }) => isComplete)) {
    console.error("Events of its own streams are missing, or out of order");
    process.exitCode = 1;
  }
}
if (asks("fleets")) {
  report.fleets = await benchFleets();
  if (!json) {
    console.log("\nFleets, in which each event is for one instance\n");
    showFleets(report.fleets);
  }
}
if (json) console.log(JSON.stringify(report, null, 2));
