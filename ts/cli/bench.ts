import { randomUUID } from "node:crypto";
import type { KVStore } from "../index.js";
import { type CliOptions, storeOf, type Target, using } from "./store.js";
import { milliseconds, percentile, print, printJson, progress, styled, table } from "./terminal.js";

const SECONDS = 0.5;
const KEYS = 1_000;
const VALUE = "x".repeat(64);

interface BenchRow {
  command: string;
  callers: number;
  opsPerSecond: number;
  p50Ms: number;
  p99Ms: number;
}

type Operation = (kv: KVStore, key: string) => Promise<unknown>;

const OPERATIONS: Record<string, Operation> = {
  SET: (kv, key) => kv.set(key, VALUE, { ex: 60 }),
  GET: (kv, key) => kv.get(key),
  INCR: (kv) => kv.incr("counter"),
  HSET: (kv, key) => kv.hset("hash", key, VALUE),
  ZADD: (kv, key) => kv.zadd("scores", Number(key), key),
  "MULTI of 3": (kv, key) => kv.multi().incr("counter").set(key, VALUE).get(key).exec(),
};

/** A short benchmark: each command with one caller and with many callers, each of which awaits its calls. */
export async function bench(target: Target, options: CliOptions): Promise<number> {
  const prefix = `${options.prefix ?? "covara-kv-bench"}:${randomUUID()}`;
  const [store, { name, ...shown }] = storeOf(target, { ...options, prefix });
  const rows = await using(store, async (kv) => {
    try {
      return await measureAll(kv);
    } finally {
      const keys = await kv.keys("*");
      await kv.del(...keys);
    }
  });
  if (options.json) {
    printJson({ ...shown, rows });
    return 0;
  }
  print(styled("bold", name));
  const lines = rows.map(({ command, callers, opsPerSecond, p50Ms, p99Ms }) => [
    command,
    String(callers),
    Math.round(opsPerSecond).toLocaleString("en"),
    milliseconds(p50Ms),
    milliseconds(p99Ms),
  ]);
  print(table([["command", "callers", "calls/s", "p50", "p99"], ...lines]));
  return 0;
}

async function measureAll(kv: KVStore): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  const plan = Object.entries(OPERATIONS).flatMap(([command, call]) =>
    [1, 256].map((callers) => ({ command, call, callers })),
  );
  for (const { command, call, callers } of plan) {
    progress(rows.length, plan.length, command);
    rows.push({ command, callers, ...(await measure(kv, call, callers)) });
  }
  progress(1, 1, "");
  return rows;
}

async function measure(kv: KVStore, call: Operation, callers: number) {
  const times: number[] = [];
  const started = performance.now();
  const end = started + SECONDS * 1_000;
  let next = 0;
  const caller = async () => {
    for (;;) {
      const before = performance.now();
      if (before >= end) return;
      await call(kv, String(next++ % KEYS));
      times.push(performance.now() - before);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  const seconds = (performance.now() - started) / 1_000;
  times.sort((a, b) => a - b);
  return {
    opsPerSecond: times.length / seconds,
    p50Ms: percentile(times, 0.5),
    p99Ms: percentile(times, 0.99),
  };
}
