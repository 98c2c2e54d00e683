// Reads the options of a client of ioredis or node-redis, given in place of a configuration, to open a connection with the same options.
import { object, text } from "../arguments.js";
import type { RedisConfig, RedisNode, RedisSentinelConfig } from "../config.js";
import { KVError } from "../errors.js";
import { defined, own, prototypesOf } from "../own.js";
import {
  checkFamily,
  IOREDIS,
  inherited,
  prefixOf,
  type Read,
  refused,
  TLS,
  taken,
  tlsConfigOf,
} from "./client-options.js";
import { ofIoredisCluster } from "./ioredis-cluster.js";
import { isField, METHOD, readConfig } from "./redis-config.js";

/**
 * A client of ioredis or node-redis, or a similar object. Its options are read, and a connection with the same options is opened.
 */
export interface RedisClientLike {
  /** The address, the credentials and the timeouts, in the form of ioredis (`host`, …), its Cluster (`redisOptions`, …) or node-redis (`socket`, …). */
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
        redisOptions?: object | undefined;
      }
    | undefined;
}

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

/** The options of a socket of node-redis, beside those of node:tls and node:net. */
const SOCKET = {
  taken: ["host", "port", "path", "family", "tls", "connectTimeout"],
  ignored: ["reconnectStrategy", "socketTimeout"],
} as const;

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
  const isOfNodeRedis = has(client, "isOpen");
  const given = client.options;
  const options = object(given === undefined && isOfNodeRedis ? {} : given, "client.options", METHOD);
  // ioredis's Cluster, the only client of a cluster that has options.
  if ((client as { isCluster?: unknown }).isCluster === true) return ofIoredisCluster(client, options);
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

/** Whether an object or its class has a property. */
function has(value: object, name: string): boolean {
  return [value, ...prototypesOf(value)].some((holder) => Object.hasOwn(holder, name));
}

function neither(): KVError {
  const what = "a configuration (url, host, …) nor a client of ioredis or node-redis with its options";
  return new KVError("CONFIG", `${METHOD}: this is neither ${what}`, { reason: "client" });
}

/** The options of a configuration, or of a client, and the whole prefix. */
export function read(
  client: RedisClientLike | RedisConfig,
  prefix: string,
): ReturnType<typeof readConfig> & { fullPrefix: string } {
  const given = text("prefix").check(prefix, "RedisKVStore");
  if (!isClient(client)) return { ...readConfig(client), fullPrefix: given };
  const { config, keyPrefix } = configOf(client);
  const fullPrefix = [keyPrefix, given].filter((part) => part !== "").join(":");
  return { ...readConfig(config), fullPrefix };
}
