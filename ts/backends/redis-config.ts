import type { RedisOptions } from "../../native.js";
import { checkBoolean, invalid, object, text } from "../arguments.js";
import type {
  RedisClusterConfig,
  RedisConfig,
  RedisNode,
  RedisSentinelConfig,
  RedisTlsConfig,
} from "../config.js";
import { variable } from "../environment.js";
import { KVError } from "../errors.js";
import { defaultFanout, fanoutMode } from "../fanout/mode.js";
import { type Fields, fieldsOf, type Given } from "../fields.js";
import { trustAsNode } from "../native.js";
import { type AskCredentials, askerOf } from "./redis-credentials.js";

/** Who refuses a configuration, as messages name it. */
export const METHOD = "RedisKVStore";
const MOST_MILLISECONDS = 2 ** 31 - 1;

/** Bun and Deno have libuv's functions too: one ends the process when they are called, the other does not call back. */
const isNode = process.versions.bun === undefined && process.versions.deno === undefined;

const FIELDS: Fields<RedisConfig> = {
  url: ["uri", "connectionString", "connectionUrl", "redisUrl", "address"],
  host: ["hostname", "server"],
  port: [],
  path: ["socketPath", "unixSocket", "socket"],
  username: ["user", "login"],
  password: ["pass", "passwd", "auth", "authPass"],
  db: ["database", "dbIndex", "dbNumber"],
  protocol: ["resp", "respVersion"],
  tls: ["ssl", "secure"],
  clientName: ["connectionName", "name"],
  maxRetries: ["maxRetriesPerRequest", "retries", "maxAttempts"],
  retryDelay: ["retryStrategy", "reconnectStrategy", "retryDelayOnFailover"],
  commandTimeout: ["timeout", "requestTimeout", "socketTimeout"],
  queueTimeout: ["offlineQueueTimeout"],
  connectTimeout: ["connectionTimeout"],
  maxQueue: ["commandsQueueMaxLength", "queueSize", "offlineQueueSize"],
  maxReplySize: [],
  fanout: [],
  sentinel: ["sentinels"],
  cluster: ["clusters", "rootNodes"],
};

/** Whether a configuration has a field of this name. */
export const isField = (name: string) => Object.hasOwn(FIELDS, name);

/** What stands beside `redis`, not in it. */
const BESIDE_REDIS = { keyPrefix: "prefix, beside redis", prefix: "prefix, beside redis" };

const SENTINEL_FIELDS: Fields<RedisSentinelConfig> = {
  name: ["masterName", "masterSet", "service", "serviceName", "group"],
  nodes: ["sentinels", "hosts", "sentinelRootNodes"],
  username: ["sentinelUsername", "user"],
  password: ["sentinelPassword", "pass"],
  tls: ["sentinelTLS", "ssl"],
};

const NODE_FIELDS: Fields<RedisNode> = { host: ["hostname", "address"], port: [] };

const TLS_FIELDS: Fields<RedisTlsConfig> = {
  ca: ["caCert", "caCerts", "caFile"],
  cert: ["certificate", "clientCert"],
  key: ["privateKey", "clientKey"],
  servername: ["sni", "host", "hostname", "checkServerIdentity"],
  rejectUnauthorized: ["verify", "insecure", "skipVerify", "insecureSkipVerify"],
};

const CLUSTER_FIELDS: Fields<RedisClusterConfig> = {
  nodes: ["rootNodes", "startupNodes"],
  addressMap: ["natMap", "nodeAddressMap"],
};

/** What a configuration comes to. */
export interface ReadConfig {
  /** With the defaults. */
  readonly options: RedisOptions;
  /** Absent if no credentials are to be asked for. */
  readonly askCredentials: AskCredentials | undefined;
}

/** Throws INVALID_ARGUMENT for a field of a wrong type. */
export function readConfig(config: RedisConfig): ReadConfig {
  const given = fieldsOf<RedisConfig>(object(config, "redis", METHOD), {
    fields: FIELDS,
    path: "redis",
    elsewhere: BESIDE_REDIS,
  });
  checkWhere(config, given);
  const options = defined({
    url: optional(given.url, "url", nonEmpty),
    host: optional(given.host, "host", nonEmpty),
    port: optional(given.port, "port", integer(1, 65_535)),
    path: optional(given.path, "path", nonEmpty),
    username: optional(given.username, "username", textOrFunction) || undefined,
    password: optional(given.password, "password", textOrFunction) || undefined,
    asksUsername: typeof given.username === "function",
    asksPassword: typeof given.password === "function",
    db: optional(given.db, "db", integer(0, 2 ** 31 - 1)),
    protocol: optional(given.protocol, "protocol", version),
    clientName: optional(given.clientName, "clientName", printable),
    ...tlsOf(given.tls, "tls"),
    sentinel: sentinelOf(given.sentinel),
    cluster: optional(given.cluster, "cluster", clusterOf),
    maxRetries: optional(given.maxRetries, "maxRetries", integer(0, 2 ** 32 - 1)),
    retryDelay: optional(given.retryDelay, "retryDelay", integer(0, MOST_MILLISECONDS)),
    commandTimeout: optional(given.commandTimeout, "commandTimeout", integer(1, MOST_MILLISECONDS)) ?? 5_000,
    queueTimeout: optional(given.queueTimeout, "queueTimeout", queueTimeout) ?? 10_000,
    connectTimeout: optional(given.connectTimeout, "connectTimeout", integer(1, MOST_MILLISECONDS)) ?? 3_000,
    isNode,
    maxQueue: optional(given.maxQueue, "maxQueue", integer(0, 2 ** 32 - 1)) ?? 100_000,
    maxReplySize: optional(given.maxReplySize, "maxReplySize", integer(1, 2 ** 32 - 1)) ?? 2 ** 30,
    fanout:
      optional(given.fanout, "fanout", (value, name) => fanoutMode(value, `${METHOD}: ${name}`)) ??
      defaultFanout(),
    forStreams: false,
  });
  trustAuthorities(options);
  return { options, askCredentials: askerOf({ redis: given, "redis.sentinel": given.sentinel ?? {} }) };
}

/** An environment variable that is not set must not lead to another server than the one that is meant. */
function checkWhere(config: RedisConfig, given: Given<RedisConfig>): void {
  if ((given.url ?? given.host ?? given.path) !== undefined) return;
  const unset = (["url", "host", "path", "port"] as const).find(
    (name) => given[name] === undefined && Object.hasOwn(config, name),
  );
  if (unset === undefined) return;
  const hint = "is an environment variable not set? Leave the field out for the default";
  throw new KVError("CONFIG", `redis.${unset} is given, but undefined: ${hint}`, { reason: "address" });
}

type TlsOptions = NonNullable<RedisOptions["tls"]>;

/** Has the authorities count that Node.js trusts, where the system's are asked: before the first connection with TLS. */
function trustAuthorities({ url, useTls, tls, sentinel }: RedisOptions): void {
  const byUrl = /^(rediss|valkeys)(\+sentinel)?:/i.test(url ?? "");
  const asksSystem = (isWanted: boolean | undefined, { ca, rejectUnauthorized }: TlsOptions = {}) =>
    isWanted && ca === undefined && rejectUnauthorized !== false;
  if (!asksSystem(useTls ?? byUrl, tls) && !asksSystem(sentinel?.useTls, sentinel?.tls)) return;
  // Only now: it takes a while, and a Node.js without OpenSSL has none.
  const { rootCertificates } = require("node:tls") as typeof import("node:tls");
  trustAsNode(rootCertificates.join("\n"), variable("NODE_EXTRA_CA_CERTS"));
}

function sentinelOf(sentinel: RedisConfig["sentinel"]): RedisOptions["sentinel"] {
  if (sentinel === undefined) return undefined;
  const given = fieldsOf<RedisSentinelConfig>(object(sentinel, "redis.sentinel", METHOD), {
    fields: SENTINEL_FIELDS,
    path: "redis.sentinel",
  });
  const { username, password, nodes } = given;
  return defined({
    name: nonEmpty(given.name, "redis.sentinel.name"),
    nodes: nodesOf(nodes, "redis.sentinel.nodes"),
    username: optional(username, "sentinel.username", textOrFunction) || undefined,
    password: optional(password, "sentinel.password", textOrFunction) || undefined,
    asksUsername: typeof username === "function",
    asksPassword: typeof password === "function",
    ...tlsOf(given.tls, "sentinel.tls"),
  });
}

function nodesOf(nodes: unknown, name: string): RedisNode[] {
  if (!Array.isArray(nodes) || nodes.length === 0) {
    throw invalid(`${METHOD}: ${name} must be an array of { host, port }, one at least`);
  }
  return Array.from(nodes, (node, index) => nodeOf(node, `${name}[${index}]`));
}

function nodeOf(node: unknown, path: string): RedisNode {
  const given = fieldsOf<RedisNode>(object(node, path, METHOD), { fields: NODE_FIELDS, path });
  return { host: nonEmpty(given.host, `${path}.host`), port: integer(1, 65_535)(given.port, `${path}.port`) };
}

function tlsOf(tls: RedisConfig["tls"], name: string): Pick<RedisOptions, "useTls" | "tls"> {
  if (tls === undefined) return {};
  if (typeof tls === "boolean") return { useTls: tls };
  const given = fieldsOf<RedisTlsConfig>(object(tls, `redis.${name}`, METHOD), {
    fields: TLS_FIELDS,
    path: `redis.${name}`,
  });
  const { rejectUnauthorized } = given;
  return {
    useTls: true,
    tls: defined({
      ca: optional(given.ca, `${name}.ca`, nonEmpty),
      cert: optional(given.cert, `${name}.cert`, nonEmpty),
      key: optional(given.key, `${name}.key`, nonEmpty),
      servername: optional(given.servername, `${name}.servername`, nonEmpty),
      rejectUnauthorized:
        rejectUnauthorized === undefined
          ? undefined
          : checkBoolean(rejectUnauthorized, `redis.${name}.rejectUnauthorized`, METHOD),
    }),
  };
}

/** Some nodes of a cluster. */
const clusterOf: Check<NonNullable<RedisOptions["cluster"]>> = (value, name) => {
  const { nodes, addressMap } = fieldsOf<RedisClusterConfig>(object(value, name, METHOD), {
    fields: CLUSTER_FIELDS,
    path: name,
  });
  return {
    nodes: nodesOf(nodes, `${name}.nodes`),
    addresses: addressMap === undefined ? [] : addressesOf(addressMap, `${name}.addressMap`),
  };
};

const addressesOf: Check<RedisNode[]> = (value, name) =>
  Object.entries(object(value, name, METHOD)).flatMap(([told, node]) => {
    const [, host, port] = /^\[?(.+?)\]?:(\d+)$/.exec(told) ?? [];
    if (host === undefined) throw invalid(`${METHOD}: ${name} must have keys like "10.0.0.1:6379"`);
    return [{ host, port: integer(1, 65_535)(Number(port), `${name}: the port`) }, nodeOf(node, `${name}["${told}"]`)];
  });

type Check<T> = (value: unknown, name: string) => T;

function optional<T>(value: unknown, name: string, check: Check<T>): T | undefined {
  return value === undefined ? undefined : check(value, `redis.${name}`);
}

const anyText: Check<string> = (value, name) => text(name).check(value, METHOD);

/** Nothing for a function: it is asked later. */
const textOrFunction: Check<string | undefined> = (value, name) =>
  typeof value === "function" ? undefined : anyText(value, name);

const version: Check<number> = (value, name) => {
  if (value === 2 || value === 3) return value;
  throw invalid(`${METHOD}: ${name} must be 2 or 3`);
};

const nonEmpty: Check<string> = (value, name) => {
  const given = anyText(value, name);
  if (given === "" || given.includes("\0")) throw invalid(`${METHOD}: ${name} must have text, and no NUL`);
  return given;
};

/** Redis refuses any other name for a connection. */
const printable: Check<string> = (value, name) => {
  const given = anyText(value, name);
  if (!/^[!-~]+$/.test(given)) throw invalid(`${METHOD}: ${name} must be printable ASCII without spaces`);
  return given;
};

const integer =
  (least: number, most: number): Check<number> =>
  (value, name) => {
    if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most) return value;
    const got = typeof value === "number" ? value : typeof value;
    throw invalid(`${METHOD}: ${name} must be an integer from ${least} to ${most}, got ${got}`);
  };

const queueTimeout: Check<number> = (value, name) =>
  value === Infinity ? value : integer(0, MOST_MILLISECONDS)(value, name);

export function unsupported(field: string): KVError {
  return new KVError(
    "UNSUPPORTED",
    `redis.${field} is not part of covara-kv yet: give the address of a server`,
    { reason: "topology" },
  );
}

type Defined<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** Without the fields that are undefined, and without a prototype to answer for them. */
export function defined<T extends object>(fields: T): Defined<T> {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.assign(Object.create(null), Object.fromEntries(entries));
}
