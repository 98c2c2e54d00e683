// The cost of the framework's streams for an instance, with and without the filter, and for a fleet, with one channel and with one for each
// subscription.
import { connect } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { createKV } from "covara-kv";
import { Program } from "./program.mjs";
import { startRedis } from "./redis-server.mjs";
import { digits, mark, median, setting, table } from "./report.mjs";
import { create, namesOf } from "./stream-world.mjs";

const rounds = setting("BENCH_ROUNDS", 3);
const seconds = setting("BENCH_STREAM_SECONDS", 4);
/** Few events are the instance's own, so that V8 takes long to compile the code that they run. */
const WARM_UP_MS = 4_000;
/** The size of the fleet: one of so many events is for the instance that is measured. */
const INSTANCES = 100;
/** `bar` is the CPU time of the process for each event, over that with `fanout: "all"`. */
const ROWS = [
  { name: "8,000/s, one by one", rate: 8_000, how: "one-by-one", bar: 0.4 },
  { name: "100,000/s", rate: 100_000, how: "at-once", bar: 0.1 },
];
const FLEETS = [1, 10, 100, 300];
const FLEET_RATE = 2_000;

/** The CPU time of Redis in µs, and the bytes that it has sent. */
async function workOf(port) {
  const text = await new Promise((resolve, reject) => {
    let reply = "";
    const socket = connect(port, "127.0.0.1", () => socket.write("INFO everything\r\n"));
    socket.on("error", reject);
    socket.on("data", (chunk) => {
      reply += chunk;
      if (!reply.includes("# Keyspace")) return;
      socket.destroy();
      resolve(reply);
    });
  });
  const field = (name) => Number(new RegExp(`^${name}:([\\d.]+)`, "m").exec(text)?.[1]);
  return {
    cpu: (field("used_cpu_user") + field("used_cpu_sys")) * 1e6,
    bytes: field("total_net_output_bytes"),
  };
}

/** Measures a window with an instance, a publisher and, if asked for, other instances that are plain sockets. */
async function measure({ fanout, instances, others, rate, how }) {
  const { port, stop } = await startRedis();
  const programs = [];
  const begin = async (script, ...args) => {
    const program = new Program(script, String(port), ...args.map(String));
    programs.push(program);
    await program.answer();
    return program;
  };
  const kv = await createKV({ type: "redis", redis: { port } });
  try {
    for (let other = 1; other < instances; other += 1)
      await Promise.all(namesOf(other).map((name) => create(kv, name, `handler-${other}`)));
    const instance = await begin("stream-instance.mjs", fanout);
    if (others) await begin("stream-crowd.mjs", instances, fanout);
    const publisher = await begin("stream-publisher.mjs", instances, rate, how);
    await wait(WARM_UP_MS);
    const [takenBefore, workBefore] = [(await publisher.ask("taken")).taken, await workOf(port)];
    const window = await instance.ask({ seconds });
    const [takenAfter, workAfter] = [(await publisher.ask("taken")).taken, await workOf(port)];
    const { sent } = await publisher.ask("stop");
    await wait(500);
    const { written, inOrder } = await instance.ask({});
    const published = takenAfter - takenBefore;
    return {
      published: published / seconds,
      handled: window.handled / seconds,
      cpu: window.process / seconds / 1e3,
      js: window.js / seconds / 1e3,
      // With "all" the events that still wait have cost nothing yet, so only handled ones count.
      each: window.process / (fanout === "all" ? window.handled : published),
      redis: (workAfter.cpu - workBefore.cpu) / published,
      bytes: (workAfter.bytes - workBefore.bytes) / published,
      due: Math.ceil(sent / instances),
      written,
      inOrder: Number(inOrder),
    };
  } finally {
    await kv.disconnect();
    for (const program of programs) program.kill();
    stop();
  }
}

const medians = (list) =>
  Object.fromEntries(Object.keys(list[0]).map((name) => [name, median(list.map((one) => one[name]))]));

const whole = (number) => Math.round(number).toLocaleString("en");

/** The rows that have a bar. */
export async function benchFilter() {
  const rows = [];
  for (const { name, rate, how, bar } of ROWS) {
    const measured = { all: [], targeted: [] };
    for (let round = 0; round < rounds; round += 1)
      for (const fanout of ["all", "targeted"])
        measured[fanout].push(await measure({ fanout, instances: INSTANCES, others: false, rate, how }));
    const [all, ours] = [medians(measured.all), medians(measured.targeted)];
    const isComplete = measured.targeted.every(
      ({ due, written, inOrder }) => written === due && inOrder === 1,
    );
    rows.push({ name, all, ours, ratio: ours.each / all.each, bar, isComplete });
  }
  return rows;
}

export function showFilter(rows) {
  const heads = [
    "",
    "published/s",
    "handled/s",
    "process ms/s",
    "JS ms/s",
    "process µs each",
    "events of its own",
  ];
  const line = (name, one) => [
    name,
    ...[one.published, one.handled].map(whole),
    ...[one.cpu, one.js, one.each].map(digits),
    `${whole(one.written)} of ${whole(one.due)}`,
  ];
  const lines = rows.flatMap(({ name, all, ours }) => [
    line(`${name}, all`, all),
    line(`${name}, filtered`, ours),
  ]);
  console.log(table([heads, ...lines]));
  for (const { name, ratio, bar } of rows)
    console.log(
      `  ${mark(ratio <= bar)} ${name}: ${ratio.toFixed(3)} of the process's CPU time for each (bar ≤ ${bar})`,
    );
}

/** Fleets of several sizes, in which each event is for one instance. */
export async function benchFleets() {
  const rows = [];
  for (const instances of FLEETS)
    for (const fanout of ["all", "filtered", "targeted"]) {
      const how = fanout === "targeted" ? "targeted" : "filtered";
      const one = await measure({ fanout, instances, others: true, rate: FLEET_RATE, how });
      rows.push({ instances, fanout, ...one });
    }
  return rows;
}

export function showFleets(rows) {
  const heads = [
    "instances",
    "fanout",
    "published/s",
    "Redis µs each",
    "bytes out each",
    "instance ms/s",
    "JS ms/s",
  ];
  const lines = rows.map(({ instances, fanout, published, redis, bytes, cpu, js }) => [
    instances,
    fanout,
    whole(published),
    digits(redis),
    whole(bytes),
    digits(cpu),
    digits(js),
  ]);
  console.log(table([heads, ...lines]));
}
