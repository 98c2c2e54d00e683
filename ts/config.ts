import type { DurableObjectNamespaceLike } from "./backends/durable-object/types.js";

/** The configuration of {@link createKV}. */
export interface KVConfig {
  /** The backend. */
  type: "memory" | "redis" | "durable-object";
  /** Added, with a colon, to each key. None by default. */
  prefix?: string | undefined;
  /** The Redis server; required for `type: "redis"`. */
  redis?: RedisConfig | undefined;
  /** The Durable Object; required for `type: "durable-object"`. */
  durableObject?: DurableObjectConfig | undefined;
  /**
   * Memory and Durable Object: refuse a key of another type, as Redis does. Memory: refuse calls between `disconnect` and `connect` too. False
   * by default.
   */
  strict?: boolean | undefined;
  /**
   * Memory: one store of this name for all worker threads of the process. By default each store is its own.
   */
  shared?: string | undefined;
}

/**
 * The address of a Redis server, and the timeouts. Other fields win over `url`. An address that is given, but undefined or empty (`url`,
 * `host`, `path`, `port`, `sentinel` or `cluster`), is `CONFIG` unless another field gives the address.
 */
export interface RedisConfig {
  /**
   * `redis://`, `rediss://`, `valkey://`, `valkeys://` or `unix://`, with user, password and database,
   * percent-encoded. Of its query `db` counts, and for `unix://` also `user` and `pass`; any other is `CONFIG`.
   *
   * `redis+sentinel://user:password@host:26379,host:26379/name/0` leads to the master that Sentinels call `name`; user, password and
   * database are the master's. Of its query `sentinelUsername`, `sentinelPassword` and `db` count. `rediss+sentinel://` has TLS with
   * both the Sentinels and the master.
   */
  url?: string | undefined;
  /** The host; `"127.0.0.1"` by default. */
  host?: string | undefined;
  /** The port; 6379 by default. */
  port?: number | undefined;
  /** A Unix socket in place of host and port. */
  path?: string | undefined;
  /**
   * The user of the ACL, or a function that returns it, as with `password`. Without a password it is `CONFIG`, as the server would use the
   * user `default`.
   */
  username?: string | (() => string | Promise<string>) | undefined;
  /**
   * The password, or a function that returns it, which is called before each connection, also the subscribing one, and each time one is
   * opened again. An attempt fails with `CONNECTION`, and another follows, if the function throws, rejects, returns no string, or takes
   * longer than `connectTimeout`; also if the server refuses the password.
   *
   * @example
   * const kv = await createKV({ type: "redis", redis: { url, username: "default", password: () => token.get() } });
   * await kv.ping(); // "PONG"
   */
  password?: string | (() => string | Promise<string>) | undefined;
  /** The number of the database; 0 by default. */
  db?: number | undefined;
  /**
   * The version of RESP. With 2 there is no HELLO; with 3 a server without HELLO is refused. By default 3, and 2 with a server or proxy
   * that supports only that.
   */
  protocol?: 2 | 3 | undefined;
  /**
   * TLS, with the system's certificate authorities or given ones (PEM). False by default. `CONFIG` if it is false, and `url` is
   * `rediss://` or the like.
   */
  tls?: boolean | RedisTlsConfig | undefined;
  /** The name of the connection in CLIENT LIST. */
  clientName?: string | undefined;
  /**
   * `connect` rejects after so many failed attempts; 3 by default. If it is given, a command that waits for a connection rejects too, after
   * one more: its retries are counted.
   */
  maxRetries?: number | undefined;
  /**
   * A fixed wait between attempts to connect, in milliseconds, 1 at least; by default 50 growing to 2,000, with jitter.
   */
  retryDelay?: number | undefined;
  /**
   * The time for the reply to a command, counted from when there is a connection, in milliseconds; 5,000 by default. Then it rejects with
   * `TIMEOUT`.
   */
  commandTimeout?: number | undefined;
  /**
   * How long a command waits for a connection, from its call on, in milliseconds; 10,000 by default. `Infinity` is allowed, as `maxQueue`
   * bounds the queue. Then it rejects with `TIMEOUT`, and was not run.
   */
  queueTimeout?: number | undefined;
  /** For one attempt to connect, in milliseconds; 3,000 by default. */
  connectTimeout?: number | undefined;
  /** The most commands that may wait for a connection; 100,000 by default. */
  maxQueue?: number | undefined;
  /**
   * The most bytes of a reply: a larger one ends the connection, and the command rejects with `CONNECTION`. 1 GiB by default.
   */
  maxReplySize?: number | undefined;
  /**
   * Which events the callbacks of `subscribe` on `covara:events` get, such as the framework's. `"targeted"`, the default: events of
   * subscriptions whose records this process wrote, each on a channel of its own, which publishers try first. `"filtered"`: the same
   * events, all on the one channel. `"all"`: every event of the fleet. With `covara-kv/register` the variable `COVARA_KV_FANOUT` sets the
   * default.
   */
  fanout?: FanoutMode | undefined;
  /**
   * Sentinels that know where the master is, in place of its address. With `url`, `host`, `port` or `path` beside it it is `CONFIG`.
   *
   * @example
   * const nodes = [{ host: "sentinel-1", port: 26379 }, { host: "sentinel-2", port: 26379 }];
   * const redis = { sentinel: { name: "mymaster", nodes } };
   */
  sentinel?: RedisSentinelConfig | undefined;
  /** A Redis Cluster, in place of one server. */
  cluster?: RedisClusterConfig | undefined;
  /**
   * Which nodes of a cluster take commands that only read keys, but for SCAN and those in a transaction. `"primary"`, the default: the
   * masters. `"replica"`: a replica of the slot, one for each store and master; while there is none they wait, at most for `queueTimeout`,
   * and reject with `CONNECTION`. `"prefer-replica"`: a replica where one is ready, else the master. A replica is behind its master: a read
   * may give an older value than the write before it. One server takes all reads itself; with Sentinels it is `CONFIG`.
   *
   * @example
   * const redis = { cluster: { nodes: [{ host: "10.0.0.1", port: 6379 }] }, readFrom: "prefer-replica" };
   */
  readFrom?: "primary" | "replica" | "prefer-replica" | undefined;
}

/** Where a Redis Cluster is. */
export interface RedisClusterConfig {
  /** Some of its nodes; the others are found through them. */
  nodes: RedisNode[];
  /**
   * Where the addresses that nodes tell of each other lead from here, as behind a NAT: by `"host:port"`. An address that is not
   * there is taken as it is told. Or a function that is given such an address before each connection, and returns where it leads, or undefined
   * if that is where it says. An attempt to connect fails with `CONNECTION`, and another follows, if the function throws, rejects, returns anything
   * else, or takes longer than `connectTimeout`.
   *
   * @example
   * const addressMap = { "10.0.0.1:6379": { host: "127.0.0.1", port: 7001 } };
   *
   * @example
   * const nodes = [{ host: "localhost", port: 7_000 }];
   * const kv = createRedisKV({ cluster: { nodes, addressMap: ({ port }) => ({ host: "localhost", port: port + 600 }) } });
   */
  addressMap?:
    | Record<string, RedisNode>
    | ((node: RedisNode) => RedisNode | undefined | Promise<RedisNode | undefined>)
    | undefined;
  /**
   * The name in the certificates of all nodes, or a function of host and port: as `tls.servername`, in place of it. With `tls` only.
   *
   * @example
   * const redis = { cluster: { nodes: [{ host: "10.0.0.1", port: 6379 }], servername: "redis.example.com" }, tls: true };
   */
  servername?: string | ((node: RedisNode) => string | Promise<string>) | undefined;
  /**
   * What becomes of a transaction (`multi`) whose keys are in several slots. By default it is refused with `CROSSSLOT`. With `"split"` it
   * is run as one transaction for each slot: each of them is atomic, all together are not, and others may see some of them done. `exec`
   * resolves to the results in the order of the calls. If a part fails, `exec` rejects with an error that says in which slots the calls were
   * run, and whose `results` has what the others gave. Scripts, and commands with two keys in two slots, are refused all the same.
   *
   * @example
   * const redis = { cluster: { nodes: [{ host: "10.0.0.1", port: 6379 }], crossSlot: "split" } };
   */
  crossSlot?: "split" | undefined;
}

/** See {@link RedisConfig}'s `fanout`. */
export type FanoutMode = "targeted" | "filtered" | "all";

/** Certificates and checks of a TLS connection. */
export interface RedisTlsConfig {
  /**
   * The certificate authority of the server, in PEM, or the server's certificate itself. By default the authorities of the system and of
   * `NODE_EXTRA_CA_CERTS`, and those of Node.js where the system has none.
   */
  ca?: string | undefined;
  /** The client's certificate, in PEM. */
  cert?: string | undefined;
  /** The client's private key, in PEM. */
  key?: string | undefined;
  /**
   * The name in the certificate of the server; the host that is connected to by default. A string counts for all nodes of a cluster, and all
   * masters of Sentinels. Or a function that is given host and port before each connection, as the nodes of a cluster or Sentinels tell them, and
   * returns the name. An attempt to connect fails with `CONNECTION`, and another follows, if it throws, rejects, returns no name, or takes longer
   * than `connectTimeout`.
   *
   * @example
   * const nodes = [{ host: "redis-1", port: 6379 }];
   * const kv = createRedisKV({ cluster: { nodes }, tls: { servername: ({ host }) => `${host}.redis.example` } });
   */
  servername?: string | ((node: RedisNode) => string | Promise<string>) | undefined;
  /** False accepts any certificate. True by default. */
  rejectUnauthorized?: boolean | undefined;
}

/**
 * The Sentinels of a master. The store follows the master that they name: commands that were not sent go to the next one, and a `gap` is
 * told to subscribers. <https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/>
 */
export interface RedisSentinelConfig {
  /** What the Sentinels call the master: the name after `sentinel monitor` in their configuration. */
  name: string;
  /**
   * One Sentinel at least. All that are given are watched, by one connection each for the process, and the others that they name, as long as
   * those answer.
   */
  nodes: RedisNode[];
  /** The Sentinels' user, or a function that gives it, as `username` of {@link RedisConfig}. The master's own stands there. */
  username?: string | (() => string | Promise<string>) | undefined;
  /** The Sentinels' password, or a function that gives it, as `password` of {@link RedisConfig}. None by default. */
  password?: string | (() => string | Promise<string>) | undefined;
  /** TLS with the Sentinels; by default as with the master. */
  tls?: boolean | RedisTlsConfig | undefined;
}

/** Where one server is. */
export interface RedisNode {
  /** The host. */
  host: string;
  /** The port. */
  port: number;
}

/** The Durable Object that holds the store. */
export interface DurableObjectConfig {
  /** The binding of its class, such as `env.COVARA_KV`. */
  namespace: DurableObjectNamespaceLike;
  /** The object's name; `"covara-kv"` by default. */
  name?: string | undefined;
}
