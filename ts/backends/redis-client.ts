// Reads the options of a client of ioredis or node-redis, given in place of a configuration, to open a connection with the same options.
import { isIP } from "node:net";
import { object } from "../arguments.js";
import type { RedisConfig, RedisNode, RedisSentinelConfig, RedisTlsConfig } from "../config.js";
import { KVError } from "../errors.js";
import { warnOfField } from "../fields.js";
import { own, prototypesOf } from "../own.js";
import { defined, isField, METHOD, unsupported } from "./redis-config.js";

/**
 * A client of ioredis or node-redis, or a similar object. Its options are read, and a connection with the same options is opened.
 */
export interface RedisClientLike {
  /** The address, the credentials and the timeouts, in the form of ioredis (`host`, …) or node-redis (`socket`, …). */
  readonly options:
    | {
        host?: string | undefined;
        port?: number | undefined;
        username?: string | null | undefined;
        password?: string | null | undefined;
        db?: number | undefined;
        tls?: object | boolean | undefined;
        path?: string | null | undefined;
        connectionName?: string | null | undefined;
        keyPrefix?: string | Uint8Array | undefined;
        connectTimeout?: number | undefined;
        commandTimeout?: number | undefined;
        sentinels?: readonly object[] | null | undefined;
        socket?: object | undefined;
        database?: number | undefined;
        name?: string | null | undefined;
      }
    | undefined;
}

/** The configuration of a client. */
interface Read {
  readonly config: RedisConfig;
  /** The prefix that the client adds to each key. */
  readonly keyPrefix: string;
}

/** The known options, and how each is treated. An unknown option may change the server, or the trust in it. */
interface Options<K extends string> {
  readonly taken: readonly K[];
  /** Options without influence on the server, on the trust in it, or on this store. */
  readonly ignored: readonly string[];
}

const IOREDIS = {
  taken: [
    ...(["host", "port", "path", "family", "tls", "username", "password", "db"] as const),
    ...(["connectionName", "keyPrefix", "connectTimeout", "commandTimeout"] as const),
  ],
  ignored: [
    ...["retryStrategy", "reconnectOnError", "maxRetriesPerRequest", "maxLoadingRetryTime", "lazyConnect"],
    ...["enableOfflineQueue", "enableReadyCheck", "enableAutoPipelining", "autoPipeliningIgnoredCommands"],
    ...["autoResubscribe", "autoResendUnfulfilledCommands", "offlineQueue", "commandQueue", "monitor"],
    ...[
      "socketTimeout",
      "disconnectTimeout",
      "blockingTimeout",
      "blockingTimeoutGrace",
      "keepAlive",
      "noDelay",
    ],
    ...[
      "disableClientInfo",
      "clientInfoTag",
      "stringNumbers",
      "protocol",
      "replyMapping",
      "himportFieldsets",
    ],
    ...["scripts", "showFriendlyErrorStack"],
    // Options for sentinels.
    ...["name", "role", "preferredSlaves", "sentinelUsername", "sentinelPassword", "sentinelTLS"],
    ...[
      "sentinelRetryStrategy",
      "sentinelReconnectStrategy",
      "sentinelCommandTimeout",
      "sentinelMaxConnections",
    ],
    ...["enableTLSForSentinelMode", "updateSentinels", "failoverDetector"],
  ],
  refused: ["Connector", "natMap", "readOnly"],
} as const;

/** Of ioredis with sentinels, where an address of a server counts for nothing. */
const IOREDIS_SENTINEL = {
  taken: [
    ...(["sentinels", "name", "role", "sentinelUsername", "sentinelPassword", "sentinelTLS"] as const),
    ...(["enableTLSForSentinelMode", "family", "tls", "username", "password", "db"] as const),
    ...(["connectionName", "keyPrefix", "connectTimeout", "commandTimeout"] as const),
  ],
  ignored: [...IOREDIS.ignored, "host", "port", "path"],
  refused: IOREDIS.refused,
} as const;

/** The port of a Sentinel for which none is given. */
const SENTINEL_PORT = 26_379;

const NODE_REDIS = {
  taken: ["socket", "username", "password", "database", "name", "keyPrefix", "credentialsProvider"],
  ignored: [
    // The client has parsed it to other options.
    "url",
    ...["modules", "functions", "scripts", "RESP", "unstableResp3", "commandOptions", "legacyMode"],
    ...["commandsQueueMaxLength", "disableOfflineQueue", "pingInterval", "isolationPoolOptions"],
    ...["disableClientInfo", "clientInfoTag", "clientSideCache", "emitInvalidate", "himportRegistry"],
    ...["maintNotifications", "maintEndpointType", "maintRelaxedCommandTimeout", "maintRelaxedSocketTimeout"],
  ],
  refused: ["readonly"],
} as const;

/** The options of node:tls. */
const TLS = {
  taken: ["ca", "cert", "key", "servername", "rejectUnauthorized", "minVersion", "maxVersion"],
  ignored: [
    ...[
      "keepAlive",
      "keepAliveInitialDelay",
      "noDelay",
      "timeout",
      "highWaterMark",
      "enableTrace",
      "session",
    ],
    ...["autoSelectFamily", "autoSelectFamilyAttemptTimeout"],
  ],
} as const;

/** The options of a socket of node-redis, beside those of node:tls and node:net. */
const SOCKET = {
  taken: ["host", "port", "path", "family", "tls", "connectTimeout"],
  ignored: ["reconnectStrategy", "socketTimeout"],
} as const;

/** What to use in place of a refused option. */
const INSTEAD: Readonly<Record<string, string>> = {
  checkServerIdentity: "give a configuration whose tls.servername is the name that the certificate has",
  secureContext: "give a configuration with tls.ca, tls.cert and tls.key",
  credentialsProvider: "give a configuration whose username and password are functions",
  family: "give an address in place of the host's name",
  role: "give the address of that replica",
};

/** Whether this is a client, and not a configuration. Throws CONFIG for anything else. */
export function isClient(value: unknown): value is RedisClientLike {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const isConfig = Object.keys(value).some(isField);
  if (!has(value, "options")) {
    const prototypes = prototypesOf(value);
    // `readConfig` reports an inherited field by its name.
    const isInherited = prototypes.some((prototype) => Object.getOwnPropertyNames(prototype).some(isField));
    if (prototypes.length > 0 && !isConfig && !isInherited) throw neither();
    return false;
  }
  if (isConfig) throw neither();
  return true;
}

/** The configuration with the options of a client. Throws CONFIG for an option that cannot be taken over. */
export function configOf(client: RedisClientLike): Read {
  // ioredis's Cluster, the only client of a cluster that has options.
  if ((client as { isCluster?: unknown }).isCluster === true) throw unsupported("redis.cluster");
  const isOfNodeRedis = has(client, "isOpen");
  const given = client.options;
  const options = object(given === undefined && isOfNodeRedis ? {} : given, "client.options", METHOD);
  const says = (...names: string[]) => names.some((name) => Object.hasOwn(options, name));
  if (isOfNodeRedis || says("socket", "database", "modules", "RESP")) return ofNodeRedis(options);
  if (says("host", "port", "path", "sentinels", "Connector")) return ofIoredis(options);
  throw neither();
}

function ofIoredis(options: object): Read {
  const { sentinels } = own(options, ["sentinels"], inherited);
  if (sentinels != null) return ofIoredisWithSentinels(options);
  const { path, tls, keyPrefix, connectionName, host, port, family, ...rest } = taken(options, "", IOREDIS);
  if (!path) checkFamily(family, host, "");
  const config = {
    ...rest,
    ...(path ? { path } : { host, port }),
    username: rest.username ?? undefined,
    password: rest.password ?? undefined,
    tls: typeof tls === "object" && tls !== null ? tlsConfigOf(tls, "tls.") : tls,
    clientName: connectionName ?? undefined,
  };
  return { config: defined(config) as RedisConfig, keyPrefix: prefixOf(keyPrefix) };
}

function ofIoredisWithSentinels(options: object): Read {
  const given = taken(options, "", IOREDIS_SENTINEL);
  const { sentinels, name, role, sentinelUsername, sentinelPassword, sentinelTLS, ...others } = given;
  const { enableTLSForSentinelMode, family, tls, keyPrefix, connectionName, ...rest } = others;
  if (role && role !== "master") throw refused("role");
  const secured = (given: unknown, path: string) =>
    typeof given === "object" && given !== null ? tlsConfigOf(given, path) : Boolean(given);
  const config = {
    ...rest,
    username: rest.username ?? undefined,
    password: rest.password ?? undefined,
    // It has TLS with the master only if it is told so twice.
    tls: enableTLSForSentinelMode ? secured(tls, "tls.") : false,
    clientName: connectionName ?? undefined,
    sentinel: defined({
      name,
      nodes: Array.isArray(sentinels) ? sentinels.map((node) => sentinelOf(node, family)) : sentinels,
      username: sentinelUsername || undefined,
      password: sentinelPassword || undefined,
      tls: secured(sentinelTLS, "sentinelTLS."),
    } as { [K in keyof RedisSentinelConfig]: unknown }),
  };
  return { config: defined(config) as RedisConfig, keyPrefix: prefixOf(keyPrefix) };
}

function sentinelOf(node: unknown, ofAll: unknown): RedisNode {
  const given = object(node, "client.options.sentinels[]", METHOD);
  const { host, port, family } = own(given, ["host", "port", "family"], inherited);
  checkFamily(family || ofAll, host, "sentinels[].");
  return { host: host ?? "localhost", port: Number(port || SENTINEL_PORT) } as RedisNode;
}

function ofNodeRedis(options: object): Read {
  const { socket, username, password, credentialsProvider, ...rest } = taken(options, "", NODE_REDIS);
  // node-redis makes a provider of a user and a password.
  const isOwn =
    (credentialsProvider as { type?: unknown } | undefined)?.type === "async-credentials-provider";
  if (credentialsProvider && !(isOwn && (username || password))) throw refused("credentialsProvider");
  const given = object(socket ?? {}, "client.options.socket", METHOD);
  const ignored = [...SOCKET.ignored, ...TLS.taken, ...TLS.ignored];
  const { tls, host, port, path, family, connectTimeout } = taken(given, "socket.", { ...SOCKET, ignored });
  if (!path) checkFamily(family, host, "socket.");
  const config = {
    ...(path ? { path } : { host: host ?? "localhost", port }),
    username: username || undefined,
    password: password || undefined,
    db: rest.database,
    tls: tls === true ? tlsConfigOf(given, "socket.", [...SOCKET.taken, ...SOCKET.ignored]) : tls,
    clientName: rest.name ?? undefined,
    connectTimeout: connectTimeout || undefined,
  };
  return { config: defined(config) as RedisConfig, keyPrefix: prefixOf(rest.keyPrefix) };
}

/** Options of node:tls may also be Buffers and arrays. */
function tlsConfigOf(tls: object, path: string, others: readonly string[] = []): RedisTlsConfig {
  const ignored = [...TLS.ignored, ...others];
  const { minVersion, maxVersion, ca, cert, key, ...rest } = taken(tls, path, { ...TLS, ignored });
  // This store supports TLS 1.2 and 1.3.
  if (minVersion != null && !["TLSv1", "TLSv1.1", "TLSv1.2"].includes(minVersion as string)) {
    throw refused(`${path}minVersion`);
  }
  if (maxVersion != null && maxVersion !== "TLSv1.3") throw refused(`${path}maxVersion`);
  const pem = (value: unknown): unknown => {
    if (value == null) return undefined;
    if (Array.isArray(value)) return value.map(pem).join("\n");
    return ArrayBuffer.isView(value) ? Buffer.from(value as Uint8Array).toString() : value;
  };
  return defined({ ...rest, ca: pem(ca), cert: pem(cert), key: pem(key) }) as RedisTlsConfig;
}

/** The options that are taken over. Any other one that is set and not ignorable is refused, or leads to a warning. */
function taken<K extends string>(
  options: object,
  path: string,
  { taken, ignored, refused: known }: Options<K> & { readonly refused?: readonly string[] },
): Record<K, unknown> {
  for (const [name, value] of Object.entries(options)) {
    if (!value || (taken as readonly string[]).includes(name) || ignored.includes(name)) continue;
    // If all dangerous options are known, the client itself ignores the rest.
    if (known === undefined || known.includes(name)) throw refused(path + name);
    warnOfField(`client.options.${name} is not known to covara-kv and changes nothing`);
  }
  return own(options, taken, inherited);
}

/** Refuses `family` for a host name. For an IP address it has no effect. */
function checkFamily(family: unknown, host: unknown, path: string): void {
  if (family && isIP(String(host)) === 0) throw refused(`${path}family`);
}

function prefixOf(keyPrefix: unknown): string {
  const prefix = ArrayBuffer.isView(keyPrefix)
    ? Buffer.from(keyPrefix as Uint8Array).toString()
    : (keyPrefix ?? "");
  if (prefix === "") return "";
  if (typeof prefix === "string" && prefix.endsWith(":")) return prefix.slice(0, -1);
  const message =
    "The client's keyPrefix must end with a colon, as every prefix here does: give it as `prefix`";
  throw new KVError("CONFIG", message, { reason: "client" });
}

/** Whether an object or its class has a property. */
function has(value: object, name: string): boolean {
  return [value, ...prototypesOf(value)].some((holder) => Object.hasOwn(holder, name));
}

function refused(name: string): KVError {
  const instead =
    INSTEAD[name.slice(name.lastIndexOf(".") + 1)] ?? "give a configuration in place of the client";
  const why = "may change which server is meant or who is trusted, and cannot be taken over";
  return new KVError("CONFIG", `client.options.${name} ${why}: ${instead}`, { reason: "client" });
}

function inherited(name: string): KVError {
  return new KVError("CONFIG", `client.options: ${name} must not be inherited`, { reason: "client" });
}

function neither(): KVError {
  const what = "a configuration (url, host, …) nor a client of ioredis or node-redis with its options";
  return new KVError("CONFIG", `${METHOD}: this is neither ${what}`, { reason: "client" });
}
