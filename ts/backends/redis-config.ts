import { checkBoolean, invalid, object, text } from "../arguments.js";
import type { RedisConfig, RedisTlsConfig } from "../config.js";
import { KVError } from "../errors.js";
import type { RedisOptions } from "../native.js";

/** An ioredis client, or what looks like one: its options are read, and a connection with the same is opened. */
export interface RedisClientLike {
  /** Where it connects to, and how patiently. */
  readonly options: {
    host?: string | undefined;
    port?: number | undefined;
    username?: string | null | undefined;
    password?: string | null | undefined;
    db?: number | undefined;
    tls?: object | boolean | undefined;
    path?: string | null | undefined;
    connectionName?: string | null | undefined;
    keyPrefix?: string | undefined;
    connectTimeout?: number | undefined;
    commandTimeout?: number | undefined;
  };
}

const METHOD = "RedisKVStore";
const MOST_MILLISECONDS = 2 ** 31 - 1;

/** Bun and Deno have libuv's functions too: one ends the process when they are called, the other does not call back. */
const isNode = process.versions.bun === undefined && process.versions.deno === undefined;

/** The options of a configuration, with its defaults. Throws INVALID_ARGUMENT for a field of a wrong type. */
export function optionsOf(config: RedisConfig): RedisOptions {
  const given = object(config, "redis", METHOD) as RedisConfig;
  if (given.sentinel !== undefined) throw unsupported("sentinel");
  if (given.cluster !== undefined) throw unsupported("cluster");
  return defined({
    url: optional(given.url, "url", nonEmpty),
    host: optional(given.host, "host", nonEmpty),
    port: optional(given.port, "port", integer(1, 65_535)),
    path: optional(given.path, "path", nonEmpty),
    username: optional(given.username, "username", anyText) || undefined,
    password: optional(given.password, "password", anyText) || undefined,
    db: optional(given.db, "db", integer(0, 2 ** 31 - 1)),
    clientName: optional(given.clientName, "clientName", printable),
    ...tlsOf(given.tls),
    maxRetries: optional(given.maxRetries, "maxRetries", integer(0, 2 ** 32 - 1)) ?? 3,
    retryDelay: optional(given.retryDelay, "retryDelay", integer(0, MOST_MILLISECONDS)),
    commandTimeout: optional(given.commandTimeout, "commandTimeout", integer(1, MOST_MILLISECONDS)) ?? 5_000,
    connectTimeout: optional(given.connectTimeout, "connectTimeout", integer(1, MOST_MILLISECONDS)) ?? 3_000,
    isNode,
    maxQueue: optional(given.maxQueue, "maxQueue", integer(0, 2 ** 32 - 1)) ?? 100_000,
  });
}

/** Whether this is a client, and not a configuration. */
export function isClient(value: unknown): value is RedisClientLike {
  return typeof value === "object" && value !== null && "options" in value;
}

/** The configuration that a client's options amount to, and the prefix that it puts before every key. */
export function configOf(client: RedisClientLike): { config: RedisConfig; keyPrefix: string } {
  const options = object(client.options, "client.options", METHOD) as RedisClientLike["options"] & {
    sentinels?: unknown;
  };
  if (options.sentinels != null) throw unsupported("sentinel");
  if ((client as { isCluster?: unknown }).isCluster === true) throw unsupported("cluster");
  const { path, tls, keyPrefix = "" } = options;
  if (keyPrefix !== "" && !keyPrefix.endsWith(":")) {
    throw new KVError(
      "CONFIG",
      "The client's keyPrefix must end with a colon, as every prefix here does: give it as `prefix`",
    );
  }
  const config = defined({
    ...(path == null ? { host: options.host, port: options.port } : { path }),
    username: options.username ?? undefined,
    password: options.password ?? undefined,
    db: options.db,
    tls: typeof tls === "object" && tls !== null ? tlsConfigOf(tls) : tls,
    clientName: options.connectionName ?? undefined,
    connectTimeout: options.connectTimeout,
    commandTimeout: options.commandTimeout,
  });
  return { config, keyPrefix: keyPrefix.slice(0, -1) };
}

/** What node:tls takes has Buffers and lists too. */
function tlsConfigOf(tls: object): RedisTlsConfig {
  const { ca, cert, key, servername, rejectUnauthorized } = tls as Record<string, unknown>;
  const pem = (value: unknown): string | undefined => {
    if (value == null) return undefined;
    if (Array.isArray(value)) return value.map(pem).join("\n");
    return ArrayBuffer.isView(value) ? Buffer.from(value as Uint8Array).toString() : (value as string);
  };
  return defined({
    ca: pem(ca),
    cert: pem(cert),
    key: pem(key),
    servername: servername as string | undefined,
    rejectUnauthorized: rejectUnauthorized as boolean | undefined,
  });
}

function tlsOf(tls: RedisConfig["tls"]): Pick<RedisOptions, "useTls" | "tls"> {
  if (tls === undefined) return {};
  if (typeof tls === "boolean") return { useTls: tls };
  const given = object(tls, "redis.tls", METHOD) as RedisTlsConfig;
  const { rejectUnauthorized } = given;
  return {
    useTls: true,
    tls: defined({
      ca: optional(given.ca, "tls.ca", nonEmpty),
      cert: optional(given.cert, "tls.cert", nonEmpty),
      key: optional(given.key, "tls.key", nonEmpty),
      servername: optional(given.servername, "tls.servername", nonEmpty),
      rejectUnauthorized:
        rejectUnauthorized === undefined
          ? undefined
          : checkBoolean(rejectUnauthorized, "redis.tls.rejectUnauthorized", METHOD),
    }),
  };
}

type Check<T> = (value: unknown, name: string) => T;

function optional<T>(value: unknown, name: string, check: Check<T>): T | undefined {
  return value === undefined ? undefined : check(value, `redis.${name}`);
}

const anyText: Check<string> = (value, name) => text(name).check(value, METHOD);

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

function unsupported(field: string): KVError {
  return new KVError(
    "UNSUPPORTED",
    `redis.${field} is not part of covara-kv yet: give the address of a server`,
  );
}

type Defined<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** Without the fields that are undefined. */
function defined<T extends object>(fields: T): Defined<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Defined<T>;
}
