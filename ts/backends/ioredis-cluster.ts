// Reads the options of a Cluster of ioredis.
import { lookup } from "node:dns";
import { isIP } from "node:net";
import { object } from "../arguments.js";
import type { RedisConfig, RedisNode } from "../config.js";
import { defined, own } from "../own.js";
import {
  checkFamily,
  IOREDIS,
  inherited,
  prefixOf,
  type Read,
  refused,
  taken,
  tlsConfigOf,
} from "./client-options.js";
import { METHOD } from "./redis-config.js";

const CLUSTER = {
  taken: ["redisOptions", "keyPrefix", "natMap", "dnsLookup", "scaleReads", "useSRVRecords"],
  ignored: [
    ...["clusterRetryStrategy", "clusterNodeRetryStrategy", "maxRedirections", "retryDelayOnMoved"],
    ...["retryDelayOnFailover", "retryDelayOnClusterDown", "retryDelayOnTryAgain", "slotsRefreshTimeout"],
    // Used for SRV records alone.
    ...["slotsRefreshInterval", "shardedSubscribers", "resolveSrv"],
    ...["enableOfflineQueue", "enableReadyCheck", "lazyConnect", "enableAutoPipelining"],
    ...["autoPipeliningIgnoredCommands", "scripts", "showFriendlyErrorStack"],
  ],
  refused: [],
} as const;

/** Its `redisOptions`, which count for all nodes. */
const NODES = {
  taken: [
    ...(["family", "tls", "username", "password", "db"] as const),
    ...(["connectionName", "connectTimeout", "commandTimeout"] as const),
  ],
  // The Cluster says of each node by itself where it is, and whether it is for reading.
  ignored: [...IOREDIS.ignored, "keyPrefix", "host", "port", "path", "natMap", "readOnly"],
  refused: ["Connector", "sentinels"],
} as const;

/** A node that is given to begin with may have options of its own. */
const STARTUP_NODE = ["host", "port", "family", "username", "password", "tls"] as const;

type StartupNode = { readonly [K in (typeof STARTUP_NODE)[number]]?: unknown };

/** The default port of ioredis. */
const PORT = 6379;

/** The configuration with the options of a Cluster. Throws CONFIG for an option that cannot be taken over. */
export function ofIoredisCluster(client: object, options: object): Read {
  const { startupNodes } = own(client, ["startupNodes"], inherited);
  const { redisOptions, keyPrefix, natMap, dnsLookup, scaleReads, useSRVRecords } = taken(
    options,
    "",
    CLUSTER,
  );
  if (useSRVRecords) throw refused("useSRVRecords");
  if (typeof scaleReads === "function") throw refused("scaleReads");
  const nodes = Array.from(Array.isArray(startupNodes) ? startupNodes : [], startupNodeOf);
  const ofNodes = taken(
    object(redisOptions ?? {}, "client.options.redisOptions", METHOD),
    "redisOptions.",
    NODES,
  );
  const { family, connectionName, ...rest } = { ...ofNodes, ...ofAll(nodes, ofNodes) };
  for (const { host, family: own } of nodes) checkFamily(own || family, host, "redisOptions.");
  checkLookup(dnsLookup, nodes);
  const config = {
    ...rest,
    username: rest.username ?? undefined,
    password: rest.password ?? undefined,
    tls:
      typeof rest.tls === "object" && rest.tls !== null
        ? tlsConfigOf(rest.tls, "redisOptions.tls.")
        : rest.tls,
    clientName: connectionName ?? undefined,
    // It reads at the master too where there is no replica.
    readFrom: scaleReads && scaleReads !== "master" ? "prefer-replica" : undefined,
    cluster: defined({
      nodes: nodes.map(({ host, port }) => ({ host, port })),
      addressMap: typeof natMap === "function" ? addressMapOf(natMap as NatMap) : (natMap ?? undefined),
    }),
  };
  return { config: defined(config) as RedisConfig, keyPrefix: prefixOf(keyPrefix) };
}

/** A node as ioredis understands it: an object, a URL, `host:port` or a port. */
function startupNodeOf(node: unknown): StartupNode {
  if (typeof node === "number") return { host: "127.0.0.1", port: node };
  if (typeof node === "string") return ofUrl(node);
  const given = object(node, "client.startupNodes[]", METHOD);
  const { host, port, ...more } = own(given, STARTUP_NODE, inherited);
  return { ...more, host: host || "127.0.0.1", port: Number(port || PORT) };
}

function ofUrl(text: string): StartupNode {
  if (/^\d+$/.test(text)) return { host: "127.0.0.1", port: Number(text) };
  let url: URL;
  try {
    url = new URL(text.includes("://") ? text : `redis://${text}`);
  } catch {
    throw refused("startupNodes[]");
  }
  // ioredis reads options out of it.
  if (url.search !== "") throw refused("startupNodes[]");
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, "$1") || "127.0.0.1",
    port: Number(url.port || PORT),
    ...(url.username !== "" && { username: decodeURIComponent(url.username) }),
    ...(url.password !== "" && { password: decodeURIComponent(url.password) }),
    ...(url.protocol === "rediss:" && { tls: {} }),
  };
}

/** What all nodes have of their own, and `redisOptions` has not. Refuses what only some nodes have: others are found by them. */
function ofAll(nodes: readonly StartupNode[], ofNodes: Readonly<Record<string, unknown>>): StartupNode {
  const shared: { -readonly [K in keyof StartupNode]: StartupNode[K] } = {};
  for (const name of ["username", "password", "tls"] as const) {
    const values = new Set(nodes.map((node) => JSON.stringify(node[name] || ofNodes[name] || undefined)));
    if (values.size > 1) throw refused(`startupNodes[].${name}`);
    const [first] = nodes;
    if (first?.[name]) shared[name] = first[name];
  }
  return shared;
}

/** Refuses a lookup that is neither the system's, nor one that leaves names as they are, as providers advise for TLS. */
function checkLookup(dnsLookup: unknown, nodes: readonly StartupNode[]): void {
  const names = nodes.map(({ host }) => host).filter((host) => isIP(String(host)) === 0);
  if (typeof dnsLookup !== "function" || dnsLookup === lookup || names.length === 0) return;
  for (const name of names) {
    let isSame = false;
    dnsLookup(name, (error: unknown, address: unknown) => {
      isSame = !error && address === name;
    });
    if (!isSame) throw refused("dnsLookup");
  }
}

type NatMap = (key: string) => RedisNode | null | undefined;

function addressMapOf(natMap: NatMap) {
  return ({ host, port }: RedisNode) => natMap(`${host}:${port}`) ?? undefined;
}
