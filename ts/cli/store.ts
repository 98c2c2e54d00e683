import { readFileSync } from "node:fs";
import {
  createMemoryKV,
  type FanoutMode,
  type KVStore,
  type RedisConfig,
  RedisKVStore,
  type RedisNode,
  type RedisTlsConfig,
} from "../index.js";
import { WrongCall } from "./terminal.js";

/** The options of the command line. */
export interface CliOptions {
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
  /** Nodes of a cluster, in place of a URL: `host:port,…`, or a URL with several hosts. */
  readonly cluster?: string;
}

/** A target as it is shown, without secrets. */
export interface ShownTarget extends Omit<Target, "cluster"> {
  readonly name: string;
}

/** A store that is not connected yet, and where it is. */
export function storeOf(target: Target, { prefix = "", ca, insecure }: CliOptions): [KVStore, ShownTarget] {
  const withTls = ca !== undefined || insecure === true;
  if (target.url === undefined && target.cluster === undefined) {
    if (withTls) throw new WrongCall("--ca and --insecure are for a server, and this is the memory store");
    return [createMemoryKV(prefix), shownTargetOf(target)];
  }
  const tls: RedisTlsConfig = {
    ...(ca !== undefined && { ca: readFileSync(ca, "utf8") }),
    ...(insecure && { rejectUnauthorized: false }),
  };
  // As covara-kv/register reads it.
  const { COVARA_KV_FANOUT: fanout = "" } = process.env;
  // A person at a terminal does not want to wait.
  const where = target.cluster === undefined ? { url: target.url } : clusterOf(target.cluster);
  const store = new RedisKVStore(
    {
      ...where,
      maxRetries: 1,
      clientName: "covara-kv-cli",
      ...(withTls && { tls }),
      ...(fanout !== "" && { fanout: fanout as FanoutMode }),
    },
    prefix,
  );
  const url = target.url === undefined ? shownNodes(target.cluster ?? "") : shown(target.url);
  return [store, shownTargetOf({ ...(target.from !== undefined && { from: target.from }), url })];
}

/** Nodes that a store has taken, without the password. */
const shownNodes = (text: string) => text.replace(/^((?:\w+:\/\/)?[^:@/]*):[^@]*@/, "$1:***@");

type ClusterTarget = Pick<RedisConfig, "username" | "password" | "tls"> & { cluster: { nodes: RedisNode[] } };

/** The nodes of `--cluster`, and what it says of user, password and TLS. Its error does not repeat it, as it may hold a password. */
function clusterOf(text: string): ClusterTarget {
  const wrong = new WrongCall("--cluster takes host:port,host:port,…, or redis://user:password@host:port,…");
  const [, protocol = "", who = "", hosts = ""] =
    /^(?:(rediss?|valkeys?):\/\/)?(?:([^@/]*)@)?([^@/?#]+)\/?$/.exec(text) ?? [];
  const nodes = hosts.split(",").map((each) => {
    const [, host = "", port = "6379"] = /^(\[[^\]]+\]|[^:[\]]+)(?::(\d{1,5}))?$/.exec(each) ?? [];
    if (host === "" || Number(port) < 1 || Number(port) > 65_535) throw wrong;
    return { host: host.replace(/^\[|\]$/g, ""), port: Number(port) };
  });
  const [username = "", password] = who === "" ? [] : who.split(/:(.*)/s);
  try {
    return {
      cluster: { nodes },
      ...(username !== "" && { username: decodeURIComponent(username) }),
      ...(password !== undefined && { password: decodeURIComponent(password) }),
      ...(["rediss", "valkeys"].includes(protocol) && { tls: true }),
    };
  } catch {
    throw wrong;
  }
}

/** Where a cluster may be found: the nodes that are given, or the server of the URL. None for Sentinels, a socket and memory. */
export function seedsOf({ url, cluster }: Target): RedisNode[] {
  if (cluster !== undefined) return clusterOf(cluster).cluster.nodes;
  if (url === undefined || !/^(rediss?|valkeys?):/i.test(url)) return [];
  try {
    const { hostname, port } = new URL(url);
    return [{ host: hostname.replace(/^\[|\]$/g, "") || "127.0.0.1", port: Number(port || 6379) }];
  } catch {
    return [];
  }
}

/** The target of a URL that was refused: it may be anything, so it is not shown. */
export function refusedTargetOf({ url, cluster, from }: Target): ShownTarget {
  return shownTargetOf({
    ...(url !== undefined && { url: "the URL" }),
    ...(cluster !== undefined && { url: "the cluster" }),
    ...(from !== undefined && { from }),
  });
}

function shownTargetOf(target: Omit<Target, "cluster">): ShownTarget {
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

/** `URL` refuses several hosts, so one name stands for all of them while it parses. */
function parsed(
  url: string,
): URL | Pick<URL, "protocol" | "username" | "password" | "host" | "pathname" | "searchParams"> {
  const [, before, hosts] = /^([^/]*\+sentinel:\/\/(?:[^/?]*@)?)([^/?]*)/.exec(url) ?? [];
  if (before === undefined || hosts === undefined) return new URL(url);
  const one = `${before}sentinels${url.slice(before.length + hosts.length)}`;
  const { protocol, username, password, pathname, searchParams } = new URL(one);
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
