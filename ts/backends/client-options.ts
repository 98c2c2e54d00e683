// How the options of another client are read: which are taken over, and which are refused, as they may change the server or the trust in it.
import { isIP } from "node:net";
import type { RedisConfig, RedisTlsConfig } from "../config.js";
import { KVError } from "../errors.js";
import { warnOfField } from "../fields.js";
import { defined, own } from "../own.js";

/** The configuration of a client. */
export interface Read {
  readonly config: RedisConfig;
  /** The prefix that the client adds to each key. */
  readonly keyPrefix: string;
}

/** The known options, and how each is treated. An unknown option may change the server, or the trust in it. */
export interface ClientOptions<K extends string> {
  readonly taken: readonly K[];
  /** Options without influence on the server, on the trust in it, or on this store. */
  readonly ignored: readonly string[];
}

/** Of ioredis. */
export const IOREDIS = {
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

/** The options of node:tls. */
export const TLS = {
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

/** What to use in place of a refused option. */
const INSTEAD: Readonly<Record<string, string>> = {
  checkServerIdentity: "give a configuration whose tls.servername is the name that the certificate has",
  secureContext: "give a configuration with tls.ca, tls.cert and tls.key",
  credentialsProvider: "give a configuration whose username and password are functions",
  family: "give an address in place of the host's name",
  role: "give the address of that replica",
  dnsLookup: "give a configuration whose cluster.nodes have the addresses",
  useSRVRecords: "give a configuration whose cluster.nodes have the addresses",
  scaleReads: "give a configuration with readFrom",
};

/** Options of node:tls may also be Buffers and arrays. */
export function tlsConfigOf(tls: object, path: string, others: readonly string[] = []): RedisTlsConfig {
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
export function taken<K extends string>(
  options: object,
  path: string,
  { taken, ignored, refused: known }: ClientOptions<K> & { readonly refused?: readonly string[] },
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
export function checkFamily(family: unknown, host: unknown, path: string): void {
  if (family && isIP(String(host)) === 0) throw refused(`${path}family`);
}

export function prefixOf(keyPrefix: unknown): string {
  const prefix = ArrayBuffer.isView(keyPrefix)
    ? Buffer.from(keyPrefix as Uint8Array).toString()
    : (keyPrefix ?? "");
  if (prefix === "") return "";
  if (typeof prefix === "string" && prefix.endsWith(":")) return prefix.slice(0, -1);
  const message =
    "The client's keyPrefix must end with a colon, as every prefix here does: give it as `prefix`";
  throw new KVError("CONFIG", message, { reason: "client" });
}

export function refused(name: string): KVError {
  const instead =
    INSTEAD[name.slice(name.lastIndexOf(".") + 1)] ?? "give a configuration in place of the client";
  const why = "may change which server is meant or who is trusted, and cannot be taken over";
  return new KVError("CONFIG", `client.options.${name} ${why}: ${instead}`, { reason: "client" });
}

export function inherited(name: string): KVError {
  return new KVError("CONFIG", `client.options: ${name} must not be inherited`, { reason: "client" });
}
