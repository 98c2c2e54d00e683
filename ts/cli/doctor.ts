import { randomUUID } from "node:crypto";
import { statSync } from "node:fs";
import { basename } from "node:path";
import { type ConnectionHealth, type FanoutMode, KVError, type KVStore, RedisKVStore } from "../index.js";
import { libc, platformName } from "../loader.js";
import { type Cluster, clusterRows, clusterText, isWhole, survey } from "./cluster.js";
import { explain } from "./explain.js";
import {
  type CliOptions,
  refusedTargetOf,
  type ShownTarget,
  seedsOf,
  storeOf,
  type Target,
  using,
} from "./store.js";
import { clean, milliseconds, percentile, print, printJson, styled, WrongCall } from "./terminal.js";

/** The number of timed calls, and their longest total time in ms. */
const CALLS = 1_000;
const TIMEOUT = 2_000;
const MESSAGES = 50;

interface Installation {
  version: string;
  platform: string;
  libc: string;
  binary: string;
  binaryBytes: number;
  node: string;
  napi: string;
}

interface Health {
  connectMs: number;
  server?: {
    version: string | undefined;
    resp: number;
    mode: string | undefined;
    role: string | undefined;
    tls: boolean;
  };
  latencyMs: { p50: number; p99: number; calls: number };
  pubsubMs: { p50: number; p99: number; calls: number };
  connections: readonly ConnectionHealth[];
  sentinels?: readonly Sentinel[];
  fanout?: FanoutReport;
  warnings: readonly string[];
}

/** What a Sentinel says, or why it cannot be asked. */
type Sentinel = RedisKVStore["sentinels"][number];

/** How events of the framework's streams travel with this user on this server. */
interface FanoutReport {
  /** The option `redis.fanout`. */
  mode: FanoutMode;
  /** Whether a subscription may have a channel of its own. */
  channels: boolean;
  /** By a script; by two commands where scripts are refused; or only on the channel of the fleet. */
  publishes: "script" | "commands" | "fleet";
}

/** Reports the installation and the state of a store. 1 if something is wrong. */
export async function doctor(target: Target, options: CliOptions): Promise<number> {
  const installation = describeInstallation(options.version);
  let store: KVStore | undefined;
  let shown = refusedTargetOf(target);
  let refusal: unknown;
  try {
    [store, shown] = storeOf(target, options);
  } catch (error) {
    if (error instanceof WrongCall) throw error;
    refusal = error;
  }
  if (!options.json) printInstallation(installation);
  const { name, ...told } = shown;
  try {
    if (store === undefined) throw refusal;
    const health = await examine(store, shown, options);
    const cluster = health.server?.mode === "cluster" ? await surveyOf(target, options) : undefined;
    const ok = cluster === undefined || isWhole(cluster);
    if (options.json) printJson({ ok, ...installation, ...told, ...health, ...(cluster && { cluster }) });
    else printHealth(shown.name, health, cluster);
    return ok ? 0 : 1;
  } catch (error) {
    const { code, message, cause } = explain(error);
    // Why a cluster cannot be used its nodes tell better.
    const cluster = store === undefined ? undefined : await surveyOf(target, options);
    if (options.json) {
      printJson({ ok: false, ...installation, ...told, code, message, cause, ...(cluster && { cluster }) });
    } else {
      print(`\n${styled("red", "✗")} ${styled("bold", name)}\n  ${clean(message)}`);
      if (cause !== "") print(`  ${cause}`);
      if (cluster !== undefined) printCluster(cluster);
    }
    return 1;
  }
}

/** What the nodes of a cluster say. Undefined if none of them tells of one. */
async function surveyOf(target: Target, options: CliOptions): Promise<Cluster | undefined> {
  const [kv] = storeOf(target, options);
  try {
    return kv instanceof RedisKVStore ? await survey(kv, seedsOf(target)) : undefined;
  } finally {
    await kv.disconnect();
  }
}

function describeInstallation(version: string): Installation {
  const binary = Object.keys(require.cache).find((path) => /covara-kv[^/\\]*\.node$/.test(path)) ?? "";
  return {
    version,
    platform: platformName(),
    libc: libc(),
    binary,
    binaryBytes: binary === "" ? 0 : statSync(binary).size,
    node: process.versions.node,
    napi: process.versions.napi ?? "",
  };
}

async function examine(store: KVStore, { url = "" }: ShownTarget, options: CliOptions): Promise<Health> {
  const started = performance.now();
  return using(store, async (kv) => {
    const connectMs = performance.now() - started;
    const server = kv instanceof RedisKVStore ? kv.server : null;
    const latencyMs = await timed(CALLS, () => kv.ping());
    return {
      connectMs,
      ...(server !== null && {
        server: {
          version: server.version,
          resp: server.resp,
          mode: server.mode,
          role: server.role,
          tls:
            options.ca !== undefined ||
            options.insecure === true ||
            /^(rediss|valkeys)(\+sentinel)?:/i.test(url),
        },
      }),
      latencyMs,
      ...(await pubsub(kv)),
      ...sentinelsOf(kv),
      ...(kv instanceof RedisKVStore && { fanout: await fanoutOf(kv) }),
      warnings: warningsOf(server),
    };
  });
}

/** In a cluster the masters are found by way of a replica. */
function warningsOf(server: RedisKVStore["server"]): string[] {
  if (server?.role !== "replica" || server.mode === "cluster") return [];
  return ["this is a replica: writes will be refused"];
}

function sentinelsOf(kv: KVStore): Pick<Health, "sentinels"> {
  const sentinels = kv instanceof RedisKVStore ? kv.sentinels : [];
  return sentinels.length > 0 ? { sentinels } : {};
}

/** Tries it, with a subscription that there is not. */
async function fanoutOf(kv: RedisKVStore): Promise<FanoutReport> {
  const { mode } = kv.fanout;
  const none: FanoutReport = { mode, channels: false, publishes: "fleet" };
  if (mode !== "targeted") return none;
  const subscriptionId = `${randomUUID()}:covara-kv-doctor`;
  try {
    const subscription = await kv.listen([`covara:events:${subscriptionId}`], () => {});
    try {
      await kv.publishEvent(`{"type":"invalidate","subscriptionId":"${subscriptionId}","event":{}}`);
      return { mode, channels: true, publishes: kv.fanout.publishes };
    } finally {
      await subscription.close();
    }
  } catch (error) {
    if (error instanceof KVError && error.code === "NOPERM") return none;
    throw error;
  }
}

function fanoutText({ mode, channels, publishes }: FanoutReport): string {
  if (mode !== "targeted") return `${mode}, by the channel of the fleet`;
  if (!channels) return `${mode}, but by the channel of the fleet: this user may not use covara:events:*`;
  if (publishes === "fleet")
    return `${mode}, but published on the channel of the fleet: EVAL, PUBSUB, or a key or channel covara:events:* is refused`;
  const how = publishes === "script" ? "by a script" : "by two commands, as EVAL or PUBSUB is refused";
  return `${mode}: a channel for each subscription, ${how}`;
}

/** Times sequential calls. */
async function timed(calls: number, call: () => Promise<unknown>): Promise<Health["latencyMs"]> {
  const times: number[] = [];
  const end = performance.now() + TIMEOUT;
  while (times.length < calls && performance.now() < end) {
    const started = performance.now();
    await call();
    times.push(performance.now() - started);
  }
  times.sort((a, b) => a - b);
  return { p50: percentile(times, 0.5), p99: percentile(times, 0.99), calls: times.length };
}

/** The time from publish to callback, and the state of the connections during a subscription. */
async function pubsub(kv: KVStore): Promise<Pick<Health, "pubsubMs" | "connections">> {
  const channel = `covara-kv-doctor:${randomUUID()}`;
  let heard = () => {};
  const subscription = await kv.listen([channel], () => heard());
  try {
    const pubsubMs = await timed(MESSAGES, async () => {
      const message = new Promise<void>((resolve, reject) => {
        const late = setTimeout(
          () =>
            reject(
              new KVError("TIMEOUT", "A message did not arrive within 2,000 ms", { reason: "no-message" }),
            ),
          TIMEOUT,
        );
        heard = () => {
          clearTimeout(late);
          resolve();
        };
      });
      await Promise.all([message, kv.publish(channel, "")]);
    });
    return { pubsubMs, connections: (await kv.health()).connections };
  } finally {
    await subscription.close();
  }
}

function printInstallation({ version, platform, libc, binary, binaryBytes, node, napi }: Installation): void {
  print(styled("bold", `covara-kv ${version}`));
  line("platform", libc === "" ? platform : `${platform}, ${libc}`);
  line("binary", `${basename(binary)}, ${(binaryBytes / 1e6).toFixed(1)} MB`);
  line("Node.js", `${node}, Node-API ${napi}`);
}

function printCluster(cluster: Cluster): void {
  line("cluster", clusterText(cluster));
  printTable(clusterRows(cluster));
  printWarnings(cluster.warnings);
}

function printWarnings(warnings: readonly string[]): void {
  for (const warning of warnings) print(`  ${styled("red", "!")} ${clean(warning)}`);
}

function printHealth(shown: string, health: Health, cluster: Cluster | undefined): void {
  const { connectMs, server, latencyMs, pubsubMs, connections, sentinels, fanout } = health;
  const mark = cluster === undefined || isWhole(cluster) ? styled("green", "✓") : styled("red", "✗");
  print(`\n${mark} ${styled("bold", shown)}`);
  line("connected", `in ${milliseconds(connectMs)}`);
  if (server !== undefined) {
    line("server", server.version === undefined ? "before Redis 6" : `Redis ${server.version}`);
    line("kind", [server.mode ?? "standalone", server.role].filter(Boolean).join(", "));
    line("protocol", `RESP ${server.resp}, ${server.tls ? "TLS" : "no TLS"}`);
  }
  const times = ({ p50, p99, calls }: Health["latencyMs"]) =>
    `p50 ${milliseconds(p50)}, p99 ${milliseconds(p99)}, of ${calls}`;
  line("latency", times(latencyMs));
  line("pub/sub", times(pubsubMs));
  if (sentinels !== undefined) printTable(sentinelRows(sentinels));
  if (cluster !== undefined) printCluster(cluster);
  if (fanout !== undefined) line("fan-out", fanoutText(fanout));
  for (const { connection, state, inFlight, waiting } of connections) {
    line(connection, `${state}, ${inFlight} in flight, ${waiting} waiting`);
  }
  printWarnings(health.warnings);
}

/** A row for each Sentinel: its address, the master that it names, and its latency; or why it cannot be asked. */
function sentinelRows(sentinels: readonly Sentinel[]): string[][] {
  const rows = sentinels.map(({ node, master, latency, message }) => [
    node,
    master ?? message ?? "knows none of this name",
    message === undefined && latency !== undefined ? milliseconds(latency) : "",
  ]);
  return [["Sentinel", "master", "latency"], ...rows];
}

function printTable(rows: readonly string[][]): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  for (const [index, row] of rows.entries()) {
    const text = row
      .map((cell, column) => clean(cell).padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
    print(`  ${index === 0 ? styled("dim", text) : text}`);
  }
}

function line(name: string, text: string): void {
  print(`  ${styled("dim", name.padEnd(13))} ${clean(text)}`);
}
