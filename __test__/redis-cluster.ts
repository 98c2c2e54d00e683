// A real Redis Cluster for a test: masters with replicas, on free ports of the loopback interface, and what can be done to them.
import { execFileSync } from "node:child_process";
import { mend } from "./cluster-mending.js";
import { ClusterNode, type Counters, serves, type View } from "./cluster-node.js";
import { eventually } from "./eventually.js";
import { freePort, software, startRedis } from "./redis-server.js";

export { ClusterNode, type Counters } from "./cluster-node.js";

export const SLOTS = 16_384;

export interface ClusterOptions {
  masters?: number;
  replicasEach?: number;
  /** More masters, which have no slots yet. */
  slotless?: number;
  /** `cluster-node-timeout` in milliseconds: a dead master is replaced after about this and a second. */
  nodeTimeout?: number;
  /** Without, only `failover` replaces a master, and a busy machine does not: a test then has the faults that it makes, and no other. */
  elections?: boolean;
  /** More of redis.conf, for all nodes, or for that of an index. */
  config?: Record<string, string> | ((index: number) => Promise<Record<string, string>>);
  /** Each node has an address of its own, 127.0.0.11 and on, so that `isolate` can cut it off. Linux only. */
  addresses?: boolean;
}

export class RedisCluster implements AsyncDisposable {
  readonly nodes: readonly ClusterNode[];
  readonly nodeTimeout: number;
  /** What ends each cut that `isolate` made. */
  readonly #cuts = new Map<ClusterNode, () => void>();

  constructor(nodes: readonly ClusterNode[], nodeTimeout: number) {
    this.nodes = nodes;
    this.nodeTimeout = nodeTimeout;
  }

  /** What a client is given to begin with: all nodes. */
  get addresses(): { host: string; port: number }[] {
    return this.nodes.map(({ host, port }) => ({ host, port }));
  }

  get running(): ClusterNode[] {
    return this.nodes.filter((node) => node.isRunning && !this.#cuts.has(node));
  }

  byId(id: string): ClusterNode {
    const node = this.nodes.find((node) => node.id === id);
    if (node === undefined) throw new Error(`no node has the id ${id}`);
    return node;
  }

  /** The running masters and the slots that they serve, by what each says of itself. */
  async masters(): Promise<{ node: ClusterNode; view: View }[]> {
    const selves = await Promise.all(this.running.map(async (node) => ({ node, view: await node.self() })));
    return selves.filter(({ view }) => view.flags.includes("master") && view.ranges.length > 0);
  }

  /** Which running node serves a slot, or the slot of a key. */
  async masterOf(slotOrKey: number | string): Promise<ClusterNode> {
    const node = await this.#findMaster(slotOrKey);
    if (node === undefined) throw new Error(`no running node serves the slot of ${slotOrKey}`);
    return node;
  }

  async #findMaster(slotOrKey: number | string): Promise<ClusterNode | undefined> {
    const slot = typeof slotOrKey === "string" ? slotOf(slotOrKey) : slotOrKey;
    const serving = (await this.masters()).filter(({ view }) => serves(view, slot));
    return serving.sort((a, b) => b.view.epoch - a.view.epoch)[0]?.node;
  }

  /** The master of a slot, or of the slot of a key, and another to which it can move. */
  async mastersFor(slotOrKey: number | string): Promise<{ from: ClusterNode; to: ClusterNode }> {
    const from = await this.masterOf(slotOrKey);
    const to = (await this.masters()).map(({ node }) => node).find((node) => node !== from);
    if (to === undefined) throw new Error(`${from.place} is the only master`);
    return { from, to };
  }

  /** The running replicas of a master. */
  async replicasOf(master: ClusterNode): Promise<ClusterNode[]> {
    const selves = await Promise.all(this.running.map(async (node) => ({ node, view: await node.self() })));
    return selves.filter(({ view }) => view.masterId === master.id).map(({ node }) => node);
  }

  /** The master of a slot, once a replica of it can take its place without a fault of the server's. */
  async replaceable(slot: number): Promise<ClusterNode> {
    const master = await this.masterOf(slot);
    for (const replica of await this.replicasOf(master)) await replica.rested(this.nodeTimeout);
    return master;
  }

  /** Resolves to a time: what the master has acknowledged by then its replicas have. */
  async synced(master: ClusterNode): Promise<number> {
    const time = Date.now();
    const offset = Number((await master.info("replication")).get("master_repl_offset"));
    for (const replica of await this.replicasOf(master))
      await eventually(
        async () => Number((await replica.info("replication")).get("slave_repl_offset")) >= offset,
      );
    return time;
  }

  /** Resolves to the node that serves the slot in place of `master`, once all running nodes know. */
  async replaced(master: ClusterNode, slot: number): Promise<ClusterNode> {
    let next: ClusterNode | undefined;
    await this.#eventually(async () => {
      next = await this.#findMaster(slot);
      return next !== undefined && next !== master && (await this.#agree());
    });
    return next as ClusterNode;
  }

  /** What does not come to pass is told with what each node sees. */
  async #eventually(condition: () => Promise<boolean>): Promise<void> {
    try {
      await eventually(condition, 20);
    } catch (error) {
      const views = this.running.map(
        async ({ place, admin }) => `${place}\n${await admin.call("CLUSTER", "NODES")}`,
      );
      throw new Error((await Promise.all(views)).join("\n"), { cause: error });
    }
  }

  /** Whether the running nodes have the same masters for the same slots, and no slot has none. */
  async #agree(): Promise<boolean> {
    const views = await Promise.all(this.running.map((node) => node.view()));
    const served = views.map((view) =>
      view
        .filter(({ ranges, flags }) => ranges.length > 0 && !flags.includes("fail"))
        .map(({ id, ranges }) => `${id} ${ranges.join(" ")}`)
        .sort()
        .join("\n"),
    );
    const slots = (views[0] ?? [])
      .filter(({ flags }) => !flags.includes("fail"))
      .flatMap(({ ranges }) => ranges.map(([first, last]) => last - first + 1));
    return served.every((one) => one === served[0]) && sum(slots) === SLOTS;
  }

  /** Resolves once all nodes agree, none is taken for failed, and each replica has what its master has. */
  async converged(): Promise<void> {
    await this.#eventually(() => this.#isWhole());
  }

  async #isWhole(): Promise<boolean> {
    if (!(await this.#agree())) return false;
    const healthy = await Promise.all(this.nodes.map((node) => this.#isHealthy(node)));
    return healthy.every(Boolean);
  }

  async #isHealthy(node: ClusterNode): Promise<boolean> {
    const view = await node.view();
    const known = view.filter(({ flags }) => !flags.some((flag) => UNWELL.has(flag)));
    if (known.length !== this.nodes.length || view.length !== this.nodes.length) return false;
    const state = String(await node.admin.call("CLUSTER", "INFO"));
    if (!state.includes("cluster_state:ok")) return false;
    const replication = await node.info("replication");
    if (replication.get("role") === "slave") return replication.get("master_link_status") === "up";
    const own = view.find(({ flags }) => flags.includes("myself"));
    const replicas = view.filter(({ masterId }) => masterId === own?.id).length;
    const online = [...replication].filter(
      ([name, value]) => /^slave\d/.test(name) && value.includes("online"),
    );
    return online.length === replicas;
  }

  /** Ends all that has been done to the nodes, and resolves once the cluster is whole again. */
  async heal(): Promise<void> {
    for (const heal of [...this.#cuts.values()]) heal();
    for (const node of this.nodes) await node.recover();
    for (const node of this.nodes) await node.dropBusPackets(-1);
    await this.#eventually(async () => {
      await mend(this.running);
      return this.#isWhole();
    });
  }

  /**
   * CLUSTER FAILOVER of the master of a slot, or of a key's: resolves to its replica once that is the master. With FORCE or TAKEOVER the
   * old master is not asked, and what it has acknowledged in the last moment may be lost.
   */
  async failover(slotOrKey: number | string, mode?: "FORCE" | "TAKEOVER"): Promise<ClusterNode> {
    const slot = typeof slotOrKey === "string" ? slotOf(slotOrKey) : slotOrKey;
    const master = await this.replaceable(slot);
    const [replica] = await this.replicasOf(master);
    if (replica === undefined) throw new Error(`${master.place} has no replica`);
    await eventually(async () => (await replica.info("replication")).get("master_link_status") === "up");
    await replica.admin.call("CLUSTER", "FAILOVER", ...(mode === undefined ? [] : [mode]));
    await this.#eventually(async () => (await replica.self()).flags.includes("master"));
    return this.replaced(master, slot);
  }

  /** Begins to move a slot to another master, key by key: from here on a key that is missing at the source is answered with ASK. */
  async migrate(slot: number, to: ClusterNode): Promise<Migration> {
    const from = await this.masterOf(slot);
    if (from === to) throw new Error(`${to.place} has slot ${slot} already`);
    await to.admin.call("CLUSTER", "SETSLOT", slot, "IMPORTING", from.id);
    await from.admin.call("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id);
    return new Migration(slot, from, to, () => this.#tellOwner(slot, from, to));
  }

  async #tellOwner(slot: number, from: ClusterNode, to: ClusterNode): Promise<void> {
    const others = (await this.masters())
      .map(({ node }) => node)
      .filter((node) => node !== from && node !== to);
    // The target is the first. Otherwise the slot has no owner if the source fails in between.
    for (const node of [to, from, ...others])
      await node.admin.call("CLUSTER", "SETSLOT", slot, "NODE", to.id);
    await this.#eventually(async () => (await this.#findMaster(slot)) === to && (await this.#agree()));
  }

  /** Valkey's CLUSTER MIGRATESLOTS, from 9.0: all slots of a range move at once. Resolves once they have. */
  async migrateAtOnce(first: number, last: number, to: ClusterNode): Promise<void> {
    const from = await this.masterOf(first);
    await from.admin.call("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", first, last, "NODE", to.id);
    await this.#eventually(async () => (await this.#findMaster(first)) === to && (await this.#agree()));
  }

  /** Cuts a node off from all other nodes, not from clients, until what it gives is called. It wants `addresses`, and a network namespace. */
  isolate(node: ClusterNode): () => void {
    const change = (action: "-A" | "-D") => {
      for (const other of this.nodes) {
        if (other === node) continue;
        for (const [source, target] of [
          [node, other],
          [other, node],
        ] as const) {
          const rule = ["INPUT", "-s", source.host, "-d", target.host, "-j", "DROP"];
          execFileSync("iptables", [action, ...rule]);
        }
      }
    };
    change("-A");
    const heal = () => {
      if (this.#cuts.delete(node)) change("-D");
    };
    this.#cuts.set(node, heal);
    return heal;
  }

  /** The counters of the nodes that run, summed up. Those of a node begin anew when it is restarted. */
  async counters(): Promise<Counters> {
    const all = await Promise.all(this.running.map((node) => node.counters()));
    return {
      connections: sum(all.map(({ connections }) => connections)),
      slots: sum(all.map(({ slots }) => slots)),
      calls: sum(all.map(({ calls }) => calls)),
    };
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** A slot on its way to another master. */
export class Migration {
  constructor(
    readonly slot: number,
    readonly from: ClusterNode,
    readonly to: ClusterNode,
    readonly tellOwner: () => Promise<void>,
  ) {}

  /** Moves some of the keys that are left. Returns how many. */
  async move(count = 100): Promise<number> {
    const keys = (await this.from.admin.call("CLUSTER", "GETKEYSINSLOT", this.slot, count)) as string[];
    await this.moveKeys(...keys);
    return keys.length;
  }

  async moveKeys(...keys: string[]): Promise<void> {
    if (keys.length === 0) return;
    await this.from.admin.call(
      "MIGRATE",
      this.to.host,
      this.to.port,
      "",
      0,
      5_000,
      "REPLACE",
      "KEYS",
      ...keys,
    );
  }

  /** Moves all that is left, and makes the target the owner. */
  async finish(): Promise<void> {
    while ((await this.move()) > 0);
    await this.tellOwner();
  }
}

const UNWELL: ReadonlySet<string> = new Set(["fail", "fail?", "handshake", "noaddr"]);

/** Resolves once all nodes know each other and every replica is in sync: within about two seconds. */
export async function startCluster({
  masters = 3,
  replicasEach = 1,
  slotless = 0,
  nodeTimeout = 1_000,
  elections = true,
  config = {},
  addresses = false,
}: ClusterOptions = {}): Promise<RedisCluster> {
  // Redis 6.2 has the bus at its port and 10,000.
  const isBefore7 = software().version[0] < 7;
  const withSlots = masters * (1 + replicasEach);
  const indexes = Array.from({ length: withSlots + slotless }, (_, index) => index);
  const started = await Promise.allSettled(
    indexes.map(async (index) => {
      const busPort = await freePort();
      const host = `127.0.0.${11 + index}`;
      const server = await startRedis({
        // To protected mode only 127.0.0.1 is this machine.
        ...(addresses && { bind: host, "bind-source-addr": host, "protected-mode": "no" }),
        "cluster-enabled": "yes",
        ...(!isBefore7 && { "cluster-port": `${busPort}`, "enable-debug-command": "yes" }),
        "cluster-node-timeout": `${nodeTimeout}`,
        // A replica takes over whatever the age of its data, and stays at its master.
        "cluster-replica-validity-factor": "0",
        "cluster-replica-no-failover": elections ? "no" : "yes",
        "cluster-allow-replica-migration": "no",
        "repl-diskless-sync-delay": "0",
        ...(typeof config === "function" ? await config(index) : config),
      });
      return new ClusterNode(index, isBefore7 ? server.port + 10_000 : busPort, server);
    }),
  );
  const nodes = started.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  try {
    const failed = started.find((one) => one.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    await join(nodes, masters, withSlots);
    const cluster = new RedisCluster(nodes, nodeTimeout);
    await cluster.converged();
    return cluster;
  } catch (error) {
    await Promise.all(nodes.map((node) => node.stop()));
    throw error;
  }
}

/** The first so many nodes are masters with slots, the next up to `withSlots` their replicas. */
async function join(nodes: readonly ClusterNode[], masters: number, withSlots: number): Promise<void> {
  for (const node of nodes) node.id = String(await node.admin.call("CLUSTER", "MYID"));
  // An epoch of its own for each spares the nodes to find out, which takes them seconds.
  for (const { index, admin } of nodes) await admin.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1);
  for (const { index, admin } of nodes.slice(0, masters)) {
    // One by one, as Redis 6.2 takes no range.
    const [first, last] = shareOf(index, masters);
    const slots = Array.from({ length: last - first + 1 }, (_, slot) => first + slot);
    await admin.call("CLUSTER", "ADDSLOTS", ...slots);
  }
  // Each meets each: by gossip alone the last of them may hear of each other after ten seconds.
  for (const { admin } of nodes)
    for (const { host, port, busPort, admin: other } of nodes)
      if (admin !== other) await admin.call("CLUSTER", "MEET", host, port, busPort);
  await Promise.all(
    nodes.slice(masters, withSlots).map(async ({ index, admin }) => {
      const master = nodes[index % masters] as ClusterNode;
      await eventually(() => admin.call("CLUSTER", "REPLICATE", master.id).catch(() => false), 20);
    }),
  );
}

const sum = (numbers: readonly number[]) => numbers.reduce((sum, one) => sum + one, 0);

/** The first and the last slot of one of so many masters. */
export function shareOf(index: number, masters: number): [first: number, last: number] {
  const begin = (index: number) => Math.round((index * SLOTS) / masters);
  return [begin(index), begin(index + 1) - 1];
}

/** CRC16 of XMODEM of the key, or of what is between its first braces. */
export function slotOf(key: string): number {
  const open = key.indexOf("{");
  const close = key.indexOf("}", open + 1);
  const hashed = open >= 0 && close > open + 1 ? key.slice(open + 1, close) : key;
  let crc = 0;
  for (const byte of Buffer.from(hashed)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  }
  return (crc & 0xffff) % SLOTS;
}

/** A key of this name in a slot. */
export function keyIn(slot: number, name = "key"): string {
  for (let number = 0; ; number++) if (slotOf(`${name}:{${number}}`) === slot) return `${name}:{${number}}`;
}
