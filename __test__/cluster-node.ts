// One node of a cluster of the tests: what it sees, what it counts, and what can be done to it.
import { setTimeout as wait } from "node:timers/promises";
import { Redis } from "ioredis";
import { eventually } from "./eventually.js";
import type { RedisServer } from "./redis-server.js";

/** What a node says of one node, or of itself: a line of CLUSTER NODES. */
export interface View {
  readonly id: string;
  readonly port: number;
  readonly flags: readonly string[];
  readonly masterId: string;
  readonly epoch: number;
  readonly ranges: readonly (readonly [first: number, last: number])[];
  /** The slots on their way from this node or to it. Each node tells only its own. */
  readonly open: readonly number[];
}

export const serves = ({ ranges }: View, slot: number): boolean =>
  ranges.some(([first, last]) => first <= slot && slot <= last);

export class ClusterNode {
  /** An independent client of this node. It is neither counted nor killed by the levers. */
  readonly admin: Redis;
  id = "";
  /** How often `admin` has connected since the server started. */
  #adminConnections = 0;
  #state: "running" | "paused" | "killed" = "running";
  /** The epoch in which it has last been a master, as seen here. At first it is the one that `join` gives it. */
  #epoch: number;
  /** Which packets it drops; -1 for none. */
  #dropped = -1;
  /** When it has last been elected: at this time or before. */
  #elected = 0;

  constructor(
    readonly index: number,
    readonly busPort: number,
    readonly server: RedisServer,
  ) {
    this.#epoch = index + 1;
    this.admin = new Redis({
      host: server.host,
      port: server.port,
      connectionName: "admin",
      enableReadyCheck: false,
      maxRetriesPerRequest: null,
      retryStrategy: () => 20,
      commandTimeout: 10_000,
    });
    this.admin.on("error", () => {});
    this.admin.on("connect", () => {
      this.#adminConnections += 1;
    });
  }

  get host(): string {
    return this.server.host;
  }

  get port(): number {
    return this.server.port;
  }

  get place(): string {
    return `${this.host}:${this.port}`;
  }

  get isRunning(): boolean {
    return this.#state === "running";
  }

  /** Ends `kill` or `pause`. */
  async recover(): Promise<void> {
    if (this.#state === "killed") await this.restart();
    if (this.#state === "paused") this.resume();
  }

  /** kill -9. Nothing is on disk but who is in the cluster. */
  async kill(): Promise<void> {
    this.#state = "killed";
    await this.server.kill();
  }

  /** After `kill`. A master must have been replaced before: it comes back without data. */
  async restart(): Promise<void> {
    this.#adminConnections = 0;
    this.#dropped = -1;
    await this.server.restart();
    this.#state = "running";
  }

  /** SIGSTOP: its connections stay, and nothing is answered. */
  pause(): void {
    this.#state = "paused";
    this.server.pause();
  }

  resume(): void {
    this.#state = "running";
    this.server.resume();
  }

  /** CLIENT KILL TYPE: ends the connections of clients, without the admin's. Returns how many. */
  async killClients(type: "normal" | "pubsub"): Promise<number> {
    return Number(await this.admin.call("CLIENT", "KILL", "TYPE", type, "SKIPME", "yes"));
  }

  /** Drops what comes by the bus of one type, such as 4, PUBLISH, and 10, PUBLISHSHARD; -1 ends it. */
  async dropBusPackets(type: number): Promise<void> {
    // Redis 6.2 has no such command, and nothing to end.
    if (type === this.#dropped) return;
    this.#dropped = type;
    await this.admin.call("DEBUG", "DROP-CLUSTER-PACKET-FILTER", type);
  }

  /** Does nothing else for so long. */
  async sleep(milliseconds: number): Promise<void> {
    await this.admin.call("DEBUG", "SLEEP", milliseconds / 1_000);
  }

  /** Resolves, to when that is, once it takes no more writes, as it has missed most of the other masters for too long. */
  async down(): Promise<number> {
    await eventually(async () =>
      String(await this.admin.call("CLUSTER", "INFO")).includes("cluster_state:fail"),
    );
    return Date.now();
  }

  /** As this node sees the cluster. */
  async view(): Promise<View[]> {
    const text = String(await this.admin.call("CLUSTER", "NODES"));
    return text.trim().split("\n").map(viewOf);
  }

  async self(): Promise<View> {
    const own = (await this.view()).find(({ flags }) => flags.includes("myself"));
    if (own === undefined) throw new Error(`${this.place} does not know itself`);
    if (own.flags.includes("master") && own.epoch !== this.#epoch) {
      this.#elected = Date.now();
      this.#epoch = own.epoch;
    }
    return own;
  }

  /**
   * Resolves once Redis 7.0 has forgotten this node's last election. Before, it counts the votes of that for the next one: it becomes a
   * master in an epoch that is over, takes writes, and is put down.
   */
  async rested(nodeTimeout: number): Promise<void> {
    const retry = 2 * Math.max(2 * nodeTimeout, 2_000);
    await wait(Math.max(0, this.#elected + retry + 100 - Date.now()));
  }

  async info(section: string): Promise<Map<string, string>> {
    const text = await this.admin.info(section);
    return new Map(
      [...text.matchAll(/^(\w[^:\r]*):(.*?)\r$/gm)].map(([, name = "", value = ""]) => [name, value]),
    );
  }

  /** How often it has answered an error, such as TRYAGAIN, since its start. */
  async errors(code: string): Promise<number> {
    const errors = await this.info("errorstats");
    return Number(/count=(\d+)/.exec(errors.get(`errorstat_${code}`) ?? "")?.[1] ?? 0);
  }

  /** What it counted since its start. */
  async counters(): Promise<Counters> {
    const [stats, commands] = [await this.info("stats"), await this.info("commandstats")];
    const calls = (name: string) =>
      Number(/calls=(\d+)/.exec(commands.get(`cmdstat_${name}`) ?? "")?.[1] ?? 0);
    const syncs = Number(stats.get("sync_full")) + Number(stats.get("sync_partial_ok"));
    return {
      connections: Number(stats.get("total_connections_received")) - this.#adminConnections - syncs,
      slots: calls("cluster|slots"),
      calls: Number(stats.get("total_commands_processed")),
    };
  }

  async stop(): Promise<void> {
    this.admin.disconnect();
    await this.server.stop();
  }
}

export interface Counters {
  /** Of clients: without the admin's and those of replicas. */
  connections: number;
  /** Calls of CLUSTER SLOTS. */
  slots: number;
  /** Of all commands. */
  calls: number;
}

function viewOf(line: string): View {
  const [id = "", address = "", flags = "", masterId = "", , , epoch, , ...slots] = line.split(" ");
  return {
    id,
    port: Number(/:(\d+)@/.exec(address)?.[1]),
    flags: flags.split(","),
    masterId,
    epoch: Number(epoch),
    ranges: slots
      // `[1->-id]` is a slot on its way.
      .filter((range) => !range.startsWith("["))
      .map((range) => {
        const [first, last = first] = range.split("-").map(Number) as [number, number?];
        return [first, last] as const;
      }),
    open: slots.flatMap((range) => (range.startsWith("[") ? [Number.parseInt(range.slice(1), 10)] : [])),
  };
}
