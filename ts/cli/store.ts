import { readFileSync } from "node:fs";
import { createMemoryKV, type KVAdapter, RedisKVStore, type RedisTlsConfig } from "../index.js";

/** The options of the command line. */
export interface Options {
  readonly url?: string | undefined;
  readonly prefix?: string | undefined;
  readonly ca?: string | undefined;
  readonly insecure?: boolean | undefined;
  readonly ex?: string | undefined;
  readonly json?: boolean | undefined;
  /** Of covara-kv. */
  readonly version: string;
}

/** A store that is not connected yet: on the server of a URL, or in memory. */
export function storeOf(url: string | undefined, { prefix = "", ca, insecure }: Options): KVAdapter {
  if (url === undefined) return createMemoryKV(prefix);
  const tls: RedisTlsConfig = {
    ...(ca !== undefined && { ca: readFileSync(ca, "utf8") }),
    ...(insecure && { rejectUnauthorized: false }),
  };
  const withTls = ca !== undefined || insecure === true;
  // Whoever waits in front of a terminal wants to know at once.
  return new RedisKVStore(
    { url, maxRetries: 1, clientName: "covara-kv-cli", ...(withTls && { tls }) },
    prefix,
  );
}

/** The server to look into. */
export function urlOf({ url }: Options): string {
  return url ?? process.env.REDIS_URL ?? "redis://127.0.0.1:6379";
}

/** Uses a connected store, and disconnects it. */
export async function using<T>(store: KVAdapter, use: (store: KVAdapter) => Promise<T>): Promise<T> {
  try {
    await store.connect();
    return await use(store);
  } finally {
    await store.disconnect();
  }
}

/** A URL without its password. */
export function shown(url: string): string {
  return url.replace(/^([a-z]+:\/\/[^/@]*?):[^@]*@/i, "$1:***@");
}
