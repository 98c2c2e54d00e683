import { readFileSync } from "node:fs";
import {
  createMemoryKV,
  type FanoutMode,
  type KVStore,
  RedisKVStore,
  type RedisTlsConfig,
} from "../index.js";
import { WrongCall } from "./terminal.js";

/** The options of the command line. */
export interface Options {
  readonly url?: string | undefined;
  readonly prefix?: string | undefined;
  readonly ca?: string | undefined;
  readonly insecure?: boolean | undefined;
  readonly ex?: string | undefined;
  readonly json?: boolean | undefined;
  /** The version of covara-kv. */
  readonly version: string;
}

/** The store of a command: the server of a URL, or memory without one. */
export interface Target {
  readonly url?: string;
  /** Set if the URL is not from the command line. */
  readonly from?: "REDIS_URL";
}

/** A target without secrets. */
export interface Place extends Target {
  readonly name: string;
}

/** A store that is not connected yet, and where it is. */
export function storeOf(target: Target, { prefix = "", ca, insecure }: Options): [KVStore, Place] {
  const withTls = ca !== undefined || insecure === true;
  if (target.url === undefined) {
    if (withTls) throw new WrongCall("--ca and --insecure are for a server, and this is the memory store");
    return [createMemoryKV(prefix), placeOf(target)];
  }
  const tls: RedisTlsConfig = {
    ...(ca !== undefined && { ca: readFileSync(ca, "utf8") }),
    ...(insecure && { rejectUnauthorized: false }),
  };
  // As covara-kv/register reads it.
  const { COVARA_KV_FANOUT: fanout = "" } = process.env;
  // A person at a terminal does not want to wait.
  const store = new RedisKVStore(
    {
      url: target.url,
      maxRetries: 1,
      clientName: "covara-kv-cli",
      ...(withTls && { tls }),
      ...(fanout !== "" && { fanout: fanout as FanoutMode }),
    },
    prefix,
  );
  return [store, placeOf({ ...target, url: shown(target.url) })];
}

/** The place of a URL that was refused: it may be anything, so it is not shown. */
export function refusedPlaceOf({ url, from }: Target): Place {
  return placeOf({ ...(url !== undefined && { url: "the URL" }), ...(from !== undefined && { from }) });
}

function placeOf(target: Target): Place {
  const { url = "the memory store", from } = target;
  return { ...target, name: from === undefined ? url : `${url} (from ${from})` };
}

/** Uses a connected store, and disconnects it. */
export async function using<T>(store: KVStore, use: (store: KVStore) => Promise<T>): Promise<T> {
  try {
    await store.connect();
    return await use(store);
  } finally {
    await store.disconnect();
  }
}

/** Several hosts are none to `URL`: one stands for all of them meanwhile. */
function parsed(
  url: string,
): URL | Pick<URL, "protocol" | "username" | "password" | "host" | "pathname" | "searchParams"> {
  const hosts = /\+sentinel:\/\/(?:[^/?]*@)?([^/?]*)/.exec(url)?.[1];
  if (hosts === undefined) return new URL(url);
  const { protocol, username, password, pathname, searchParams } = new URL(url.replace(hosts, "sentinels"));
  return { protocol, username, password, host: hosts, pathname, searchParams };
}

/** A URL that a store has taken, without its password, and without what surrounds it. */
function shown(url: string): string {
  const { protocol, username, password, host, pathname, searchParams } = parsed(url);
  const who = password === "" ? username : `${username}:***`;
  const query = ["db", "user"].flatMap((name) =>
    searchParams.getAll(name).map((value) => `${name}=${value}`),
  );
  return [
    `${protocol}//`,
    who === "" ? "" : `${who}@`,
    host + pathname,
    query.length === 0 ? "" : `?${query.join("&")}`,
  ].join("");
}
