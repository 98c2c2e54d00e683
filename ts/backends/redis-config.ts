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
import { type Field, type Fields, fieldsOf, type Given } from "../fields.js";
import { trustAsNode } from "../native.js";
import { defined, prototypesOf } from "../own.js";
import {
  type AnyFunction,
  type AskFunctions,
  askerOf,
  type Functions,
  functionsOf,
} from "./redis-functions.js";

/** The name in error messages. */
export const METHOD = "RedisKVStore";
const MAX_MILLISECONDS = 2 ** 31 - 1;
const MAX_U32 = 2 ** 32 - 1;

/** Bun and Deno have libuv's functions too, but Bun exits when they are called, and Deno never calls back. */
const isNode = process.versions.bun === undefined && process.versions.deno === undefined;

/** Returns the option for a value of a field. Throws INVALID_ARGUMENT. */
type Check<T> = (value: unknown, name: string) => T;

const anyText: Check<string> = (value, name) => text(name).check(value, METHOD);

/** Takes a function too, which is called before each connection. */
const orFunction =
  <T>(check: Check<T>): Check<T | AnyFunction> =>
  (value, name) =>
    typeof value === "function" ? (value as AnyFunction) : check(value, name);

const textOrFunction = orFunction((value, name) => anyText(value, name) || undefined);

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

const timeout = integer(1, MAX_MILLISECONDS);

const oneOf =
  <T extends string>(...values: T[]): Check<T> =>
  (value, name) => {
    if (values.includes(value as T)) return value as T;
    throw invalid(`${METHOD}: ${name} must be one of ${values.join(", ")}`);
  };

const queueTimeout: Check<number> = (value, name) =>
  value === Infinity ? value : integer(0, MAX_MILLISECONDS)(value, name);

type Constants<T> = ReturnType<typeof defined<{ [K in keyof T]: Exclude<T[K], AnyFunction> }>>;

/** A field: its option, and what other clients call it. */
interface FieldRow<T> extends Field {
  readonly read: (value: unknown, name: string) => T;
}

/** A field that has no default. */
function required<T>(read: Check<T>, ...also: string[]): FieldRow<T> {
  return { also, read };
}

/** A field whose option is undefined by default. */
function optional<T>(check: Check<T>, ...also: string[]): FieldRow<T | undefined> {
  return { also, read: (value, name) => (value === undefined ? undefined : check(value, name)) };
}

/** A field with a default. */
function withDefault<T>(fallback: () => T, check: Check<T>, ...also: string[]): FieldRow<T> {
  return { also, read: (value, name) => (value === undefined ? fallback() : check(value, name)) };
}

const TLS = {
  ca: optional(nonEmpty, "caCert", "caCerts", "caFile"),
  cert: optional(nonEmpty, "certificate", "clientCert"),
  key: optional(nonEmpty, "privateKey", "clientKey"),
  servername: optional(orFunction(nonEmpty), "sni", "host", "hostname", "checkServerIdentity"),
  rejectUnauthorized: optional(
    (value, name) => checkBoolean(value, name, METHOD),
    ...["verify", "insecure", "skipVerify", "insecureSkipVerify"],
  ),
} satisfies Fields<RedisTlsConfig>;

/** Whether TLS is used, and what is said of it. */
interface Security {
  readonly useTls: boolean;
  readonly tls: ReadOf<typeof TLS> | undefined;
}

const security: Check<Security> = (tls, name) => {
  if (typeof tls === "boolean") return { useTls: tls, tls: undefined };
  const given = fieldsOf<RedisTlsConfig>(object(tls, name, METHOD), { fields: TLS, path: name });
  return { useTls: true, tls: read(TLS, given, name) };
};

const NODE = {
  host: { also: ["hostname", "address", "ip"] },
  port: { also: [] },
} satisfies Fields<RedisNode>;

const node: Check<RedisNode> = (value, name) => {
  const given = fieldsOf<RedisNode>(object(value, name, METHOD), { fields: NODE, path: name });
  return { host: nonEmpty(given.host, `${name}.host`), port: integer(1, 65_535)(given.port, `${name}.port`) };
};

const nodes: Check<RedisNode[]> = (value, name) => {
  if (!Array.isArray(value) || value.length === 0) {
    throw invalid(`${METHOD}: ${name} must be an array of { host, port }, one at least`);
  }
  return Array.from(value, (each, index) => node(each, `${name}[${index}]`));
};

const SENTINEL = {
  name: required(nonEmpty, "masterName", "masterSet", "service", "serviceName", "group"),
  nodes: required(nodes, "sentinels", "hosts", "sentinelRootNodes"),
  username: optional(textOrFunction, "sentinelUsername", "user"),
  password: optional(textOrFunction, "sentinelPassword", "pass"),
  tls: optional(security, "sentinelTLS", "ssl"),
} satisfies Fields<RedisSentinelConfig>;

const sentinel: Check<ReadOf<typeof SENTINEL>> = (value, name) => {
  const given = fieldsOf<RedisSentinelConfig>(object(value, name, METHOD), { fields: SENTINEL, path: name });
  return read(SENTINEL, given, name);
};

/** Each address that nodes tell, and where it leads. */
const addressMap: Check<RedisNode[]> = (value, name) => {
  const map = object(value, name, METHOD);
  // A Map has no entries of its own, and would do nothing.
  if (prototypesOf(map).length > 0) throw invalid(`${METHOD}: ${name} must be a plain object or a function`);
  return Object.entries(map).flatMap(([told, to]) => {
    const [, host, port] = /^\[?(.+?)\]?:(\d+)$/.exec(told) ?? [];
    if (host === undefined) throw invalid(`${METHOD}: ${name} must have keys like "10.0.0.1:6379"`);
    const from = { host, port: Number(port) };
    return [node(from, `${name}: ${told}`), node(to, `${name}["${told}"]`)];
  });
};

const CLUSTER = {
  nodes: required(nodes, "rootNodes", "startupNodes"),
  addressMap: optional(orFunction(addressMap), "natMap", "nodeAddressMap"),
  servername: optional(orFunction(nonEmpty), "sni"),
  crossSlot: optional(oneOf("split")),
} satisfies Fields<RedisClusterConfig>;

const cluster: Check<ReadOf<typeof CLUSTER>> = (value, name) => {
  const given = fieldsOf<RedisClusterConfig>(object(value, name, METHOD), { fields: CLUSTER, path: name });
  return read(CLUSTER, given, name);
};

/** All fields. The names of their options in native code are the same. */
const FIELDS = {
  sentinel: optional(sentinel, "sentinels"),
  cluster: optional(cluster, "clusters", "nodes", "rootNodes", "startupNodes"),
  url: optional(nonEmpty, "uri", "connectionString", "connectionUrl", "redisUrl", "address"),
  host: optional(nonEmpty, "hostname", "server"),
  port: optional(integer(1, 65_535)),
  path: optional(nonEmpty, "socketPath", "unixSocket", "socket"),
  username: optional(textOrFunction, "user", "login"),
  password: optional(textOrFunction, "pass", "passwd", "auth", "authPass"),
  db: optional(integer(0, 2 ** 31 - 1), "database", "dbIndex", "dbNumber"),
  protocol: optional(version, "resp", "respVersion"),
  tls: optional(security, "ssl", "secure"),
  clientName: optional(printable, "connectionName", "name"),
  maxRetries: optional(integer(0, MAX_U32), "maxRetriesPerRequest", "retries", "maxAttempts"),
  retryDelay: optional(
    integer(0, MAX_MILLISECONDS),
    ...["retryStrategy", "reconnectStrategy", "retryDelayOnFailover"],
  ),
  commandTimeout: withDefault(() => 5_000, timeout, "timeout", "requestTimeout", "socketTimeout"),
  queueTimeout: withDefault(() => 10_000, queueTimeout, "offlineQueueTimeout"),
  connectTimeout: withDefault(() => 3_000, timeout, "connectionTimeout"),
  maxQueue: withDefault(
    () => 100_000,
    integer(0, MAX_U32),
    ...["commandsQueueMaxLength", "queueSize", "offlineQueueSize"],
  ),
  maxReplySize: withDefault(() => 2 ** 30, integer(1, MAX_U32)),
  readFrom: optional(
    oneOf("primary", "replica", "prefer-replica"),
    ...["scaleReads", "useReplicas", "readPreference", "readOnly"],
  ),
  fanout: withDefault(defaultFanout, (value, name) => fanoutMode(value, `${METHOD}: ${name}`)),
} satisfies Fields<RedisConfig>;

/** Whether a configuration has a field of this name. */
export const isField = (name: string) => Object.hasOwn(FIELDS, name);

/** Fields that belong beside `redis`, not in it. */
const BESIDE_REDIS = { keyPrefix: "prefix, beside redis", prefix: "prefix, beside redis" };

/** A configuration that was checked. */
export interface ReadConfig {
  /** With the defaults. */
  readonly options: RedisOptions;
  /** Undefined if no field is a function. */
  readonly askFunctions: AskFunctions | undefined;
}

/** Throws INVALID_ARGUMENT for a field of a wrong type. */
export function readConfig(config: RedisConfig): ReadConfig {
  const given = fieldsOf<RedisConfig>(object(config, "redis", METHOD), {
    fields: FIELDS,
    path: "redis",
    elsewhere: BESIDE_REDIS,
  });
  checkWhere(config, given);
  const fields = read(FIELDS, given, "redis");
  checkServername(fields);
  checkTls(fields);
  const functions = functionsOf(fields);
  const { own, ofSentinels } = functions;
  const { tls, sentinel, cluster, ...others } = fields;
  const options = constants({
    ...others,
    ...(tls && securityOptions(tls, cluster?.servername)),
    ...asks(own),
    sentinel: sentinel && sentinelOptions(sentinel, ofSentinels),
    cluster: cluster && clusterOptions(cluster, own),
    isNode,
  });
  trustAuthorities(options);
  return { options, askFunctions: askerOf(functions) };
}

/** `servername` is the name in the certificates of a cluster's nodes, if it is given there. */
function securityOptions({ useTls, tls }: Security, servername?: string | AnyFunction) {
  if (servername === undefined) return { useTls, tls: tls && constants(tls) };
  return { useTls, tls: constants({ ...tls, servername }) };
}

function sentinelOptions({ tls, ...others }: ReadOf<typeof SENTINEL>, functions: Functions) {
  return constants({ ...others, ...(tls && securityOptions(tls)), ...asks(functions) });
}

function clusterOptions(
  { nodes, addressMap = [], crossSlot }: ReadOf<typeof CLUSTER>,
  functions: Functions,
): NonNullable<RedisOptions["cluster"]> {
  return {
    nodes,
    addresses: typeof addressMap === "function" ? [] : addressMap,
    asksAddress: functions.addressMap !== undefined,
    splits: crossSlot === "split",
  };
}

const asks = ({ username, password, servername }: Functions) => ({
  asksUsername: username !== undefined,
  asksPassword: password !== undefined,
  asksServername: servername !== undefined,
});

/** What was read of fields. */
type ReadOf<Rows extends Record<string, FieldRow<unknown>>> = {
  [Name in keyof Rows]: ReturnType<Rows[Name]["read"]>;
};

function read<Rows extends Record<string, FieldRow<unknown>>>(
  rows: Rows,
  given: { readonly [Name in keyof Rows]?: unknown },
  path: string,
): ReadOf<Rows> {
  const values = Object.entries(rows).map(([name, row]) => [name, row.read(given[name], `${path}.${name}`)]);
  return Object.fromEntries(values);
}

/** Refuses an address that is undefined or empty: a missing environment variable must not lead to the default server. */
function checkWhere(config: RedisConfig, given: Given<RedisConfig>): void {
  const isUnset = (name: keyof RedisConfig) => given[name] === undefined || given[name] === "";
  const addresses = ["url", "host", "path", "sentinel", "cluster"] as const;
  if (!addresses.every(isUnset)) return;
  const unset = [...addresses, "port" as const].find((name) => isUnset(name) && Object.hasOwn(config, name));
  if (unset === undefined) return;
  const what = given[unset] === undefined ? "undefined" : "empty";
  const hint = "is an environment variable not set? Leave the field out for the default";
  throw new KVError("CONFIG", `redis.${unset} is given, but ${what}: ${hint}`, { reason: "address" });
}

/** The certificates of a cluster's nodes have one setting for their name. */
function checkServername({ cluster, tls }: ReadOf<typeof FIELDS>): void {
  if (cluster?.servername === undefined) return;
  const fault = (text: string) => invalid(`${METHOD}: redis.cluster.servername ${text}`);
  if (!tls?.useTls) throw fault("is a name for TLS: give redis.tls too");
  if (tls.tls?.servername !== undefined) throw fault("and redis.tls.servername are one setting: give either");
}

const isOverTls = (url = "") => /^(rediss|valkeys)(\+sentinel)?:/i.test(url);

/** Neither wins: the password would be sent in plain text to a server that is to be reached over TLS. */
function checkTls({ url, tls }: ReadOf<typeof FIELDS>): void {
  if (tls === undefined || tls.useTls || !isOverTls(url)) return;
  const text = "redis.tls is false, and the protocol of redis.url has TLS: give either";
  throw new KVError("CONFIG", text, { reason: "address" });
}

/** A copy without functions, and as `defined`: native code asks for what functions give. */
function constants<T extends object>(fields: T): Constants<T> {
  const entries = Object.entries(fields).filter(([, value]) => typeof value !== "function");
  return defined(Object.fromEntries(entries)) as Constants<T>;
}

/** Trusts the certificate authorities of Node.js beside the system's. Must run before the first connection with TLS. */
function trustAuthorities({ url, useTls, tls, sentinel }: RedisOptions): void {
  const asksSystem = (isWanted: boolean | undefined, tls: RedisOptions["tls"]) =>
    isWanted && tls?.ca === undefined && tls?.rejectUnauthorized !== false;
  if (!asksSystem(useTls ?? isOverTls(url), tls) && !asksSystem(sentinel?.useTls, sentinel?.tls)) return;
  // Loaded late: it takes a while, and a Node.js without OpenSSL lacks it.
  const { rootCertificates } = require("node:tls") as typeof import("node:tls");
  trustAsNode(rootCertificates.join("\n"), variable("NODE_EXTRA_CA_CERTS"));
}
