// A real master with replicas and Sentinels, and a planned failover.
import { Redis } from "ioredis";
import { eventually } from "./eventually.js";
import { type RedisServer, startRedis } from "./redis-server.js";

export const MASTER = "mymaster";

export interface SentinelOptions {
  replicas?: number;
  sentinels?: number;
  /** The configuration of the servers. */
  config?: Record<string, string>;
  /** The configuration of the Sentinels. */
  sentinelConfig?: Record<string, string>;
  /** The host's name, by which the Sentinels and replicas then tell the servers; by default the address. */
  hostname?: string;
  /** How long a server must be silent before a Sentinel takes it for down, in ms. */
  downAfter?: number;
}

/** One master of the name {@link MASTER} with its replicas, and Sentinels that watch it. */
export interface SentinelSet extends AsyncDisposable {
  /** The option `redis.sentinel` that leads to this master. */
  readonly sentinel: { name: string; nodes: { host: string; port: number }[] };
  readonly sentinels: readonly RedisServer[];
  readonly servers: readonly RedisServer[];
  /** The server that a Sentinel names as master. */
  master(): Promise<RedisServer>;
  /** An ioredis client of a server or a Sentinel. */
  admin(server: RedisServer): Redis;
  /** Starts a planned failover, and resolves once a Sentinel names another master. */
  failover(): Promise<RedisServer>;
  /** Resolves once all Sentinels know each other and all servers. */
  converged(): Promise<void>;
  stop(): Promise<void>;
}

/** Resolves once the Sentinels know all servers: after about three seconds. */
export async function startSentinels({
  replicas = 2,
  sentinels: count = 3,
  config = {},
  sentinelConfig = {},
  hostname,
  downAfter = 500,
}: SentinelOptions = {}): Promise<SentinelSet> {
  const started: RedisServer[] = [];
  const admins = new Map<RedisServer, Redis>();
  const start = async (...args: Parameters<typeof startRedis>) => {
    const server = await startRedis(...args);
    started.push(server);
    return server;
  };
  const servers: RedisServer[] = [];
  const sentinels: RedisServer[] = [];

  function admin(server: RedisServer): Redis {
    const known = admins.get(server);
    if (known !== undefined) return known;
    const client = new Redis({
      host: server.host,
      port: server.port,
      connectionName: "admin",
      retryStrategy: () => 20,
    });
    client.on("error", () => {});
    admins.set(server, client);
    return client;
  }

  async function master(): Promise<RedisServer> {
    const sentinel = sentinels[0] as RedisServer;
    const reply = await admin(sentinel).call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER);
    const [, port] = reply as [string, string];
    return servers.find((server) => server.port === Number(port)) as RedisServer;
  }

  /** SENTINEL MASTER as one Sentinel answers it. */
  async function state(sentinel: RedisServer): Promise<Record<string, string>> {
    const reply = (await admin(sentinel).call("SENTINEL", "MASTER", MASTER)) as string[];
    return Object.fromEntries(reply.flatMap((name, i) => (i % 2 === 0 ? [[name, reply[i + 1] ?? ""]] : [])));
  }

  async function isLinked(server: RedisServer): Promise<boolean> {
    const info = String(await admin(server).info("replication"));
    return /role:master/.test(info) || /master_link_status:up/.test(info);
  }

  async function converged(): Promise<void> {
    const hasConverged = async (sentinel: RedisServer) => {
      const { flags, "num-slaves": slaves, "num-other-sentinels": others } = await state(sentinel);
      return flags === "master" && Number(slaves) === replicas && Number(others) === count - 1;
    };
    await eventually(async () => (await Promise.all(sentinels.map(hasConverged))).every(Boolean));
    await eventually(async () => (await Promise.all(servers.map(isLinked))).every(Boolean));
    await eventually(async () => {
      const reply = await admin(sentinels[0] as RedisServer).call("SENTINEL", "REPLICAS", MASTER);
      return (reply as string[][]).every(
        (fields) => fields[fields.indexOf("master-link-status") + 1] === "ok",
      );
    });
  }

  async function failover(): Promise<RedisServer> {
    await converged();
    const before = await master();
    await admin(sentinels[0] as RedisServer).call("SENTINEL", "FAILOVER", MASTER);
    await eventually(async () => (await master()) !== before);
    return master();
  }

  async function stop(): Promise<void> {
    for (const client of admins.values()) client.disconnect();
    for (const server of started) server.resume();
    await Promise.all(started.map((server) => server.stop()));
  }

  try {
    const common = {
      "repl-diskless-sync": "yes",
      "repl-diskless-sync-delay": "0",
      ...(hostname !== undefined && { "replica-announce-ip": hostname }),
      ...config,
    };
    const first = await start(common);
    servers.push(first);
    const place = `${hostname ?? first.host} ${first.port}`;
    servers.push(
      ...(await Promise.all(Array.from({ length: replicas }, () => start({ ...common, replicaof: place })))),
    );
    // Sentinels read a replica's state every ten seconds. They elect no replica without a link at that time, so wait for the links first.
    await eventually(async () => (await Promise.all(servers.map(isLinked))).every(Boolean));
    const quorum = Math.floor(count / 2) + 1;
    const monitor = {
      [`sentinel monitor ${MASTER}`]: `${place} ${quorum}`,
      [`sentinel down-after-milliseconds ${MASTER}`]: String(downAfter),
      [`sentinel failover-timeout ${MASTER}`]: "5000",
      ...(hostname !== undefined && {
        "sentinel resolve-hostnames": "yes",
        "sentinel announce-hostnames": "yes",
      }),
      ...sentinelConfig,
    };
    sentinels.push(...(await Promise.all(Array.from({ length: count }, () => start(monitor, "--sentinel")))));
    await converged();
  } catch (error) {
    await stop();
    throw error;
  }
  const nodes = sentinels.map(({ host, port }) => ({ host, port }));
  return {
    sentinel: { name: MASTER, nodes },
    sentinels,
    servers,
    master,
    admin,
    failover,
    converged,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
