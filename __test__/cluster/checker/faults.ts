// Random faults, one at a time. After each the cluster is whole again.
import { setTimeout as wait } from "node:timers/promises";
import { serves } from "../../cluster-node.js";
import { type ClusterNode, type Counters, type RedisCluster, SLOTS } from "../../redis-cluster.js";
import { software } from "../../redis-server.js";
import { type Random, randomFrom } from "./random.js";

/** A span of time in milliseconds since the Unix epoch. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

export interface Fault extends Span {
  readonly kind: string;
  /** The affected slots: the share of one shard, one slot, or all. */
  readonly slots: readonly [first: number, last: number];
  /** Whether no call needs to fail: nothing breaks, or slots only move. */
  readonly isPlanned: boolean;
  /** When servers run writes that are lost later, even acknowledged ones: the replica that takes over has not received them. */
  readonly losses: readonly Span[];
  /** For a master that is cut off: how long it acknowledged writes, and how long it may, in milliseconds. */
  readonly cut?: { readonly lasted: number; readonly most: number };
  /** For a failover: the time until there is a new master. The other shards must go on meanwhile. */
  readonly failover?: Span;
  /** What the clients cost meanwhile, at the nodes that were not restarted: until there is a new master, if the old one returns, and then. */
  readonly costs: readonly Cost[];
}

export type Cost = Span & Counters;

export const covers = ([first, last]: readonly [number, number], slot: number) =>
  first <= slot && slot <= last;

type Done = Partial<Pick<Fault, "slots" | "losses" | "cut" | "failover">>;

type Kind = (cluster: RedisCluster, slot: number, random: Random, meter: Meter) => Promise<Done>;

/** Reads what the clients cost the nodes, step by step. */
class Meter {
  readonly costs: Cost[] = [];
  readonly #last = new Map<ClusterNode, { start: string | undefined; counters: Counters }>();
  #from = 0;

  constructor(readonly cluster: RedisCluster) {}

  async begin(): Promise<void> {
    await this.step();
    this.costs.pop();
  }

  /** Ends a step. What a frozen node counts belongs to the step in which it runs again. */
  async step(): Promise<void> {
    const to = Date.now();
    const cost = { from: this.#from, to, connections: 0, slots: 0, calls: 0 };
    for (const node of this.cluster.nodes.filter(({ isRunning }) => isRunning)) {
      const start = (await node.info("server")).get("run_id");
      const counters = await node.counters();
      const before = this.#last.get(node);
      this.#last.set(node, { start, counters });
      if (before === undefined || before.start !== start) continue;
      for (const name of ["connections", "slots", "calls"] as const)
        cost[name] += counters[name] - before.counters[name];
    }
    this.costs.push(cost);
    this.#from = to;
  }
}

/** How late a master may learn what was decided without it, or done to it, in milliseconds. */
const LAG = 300;

const upTo = (from: number, to: number): Span => ({ from, to: to + LAG });

const PLANNED: ReadonlySet<string> = new Set([
  "failover",
  "reshard",
  "reshard at once",
  "bus drops PUBLISH",
  "DEBUG SLEEP",
]);

/** The slots of the master that serves `slot`. */
async function shardOf(cluster: RedisCluster, slot: number): Promise<readonly [number, number]> {
  const masters = await cluster.masters();
  const ranges = masters.flatMap(({ view }) => view.ranges);
  return ranges.find(([first, last]) => first <= slot && slot <= last) ?? [slot, slot];
}

/** Breaks the master of a slot until a replica replaces it, which ends a step of the meter. Writes that it acknowledged after `synced` may be missing there. */
async function replace(
  cluster: RedisCluster,
  slot: number,
  meter: Meter,
  begin: (master: ClusterNode) => unknown,
): Promise<{ master: ClusterNode; slots: readonly [number, number]; failover: Span; synced: number }> {
  const [master, slots] = [await cluster.replaceable(slot), await shardOf(cluster, slot)];
  const synced = await cluster.synced(master);
  const from = Date.now();
  await begin(master);
  await cluster.replaced(master, slot);
  const failover = { from, to: Date.now() };
  await meter.step();
  return { master, slots, failover, synced };
}

const planned =
  (mode?: "FORCE" | "TAKEOVER"): Kind =>
  async (cluster, slot) => {
    const slots = await shardOf(cluster, slot);
    const synced = await cluster.synced(await cluster.replaceable(slot));
    const from = Date.now();
    await cluster.failover(slot, mode);
    const failover = { from, to: Date.now() };
    return {
      slots,
      failover,
      ...(mode !== undefined && { losses: [upTo(synced, failover.to)] }),
    };
  };

const kinds: Record<string, Kind> = {
  async "kill -9"(cluster, slot, random, meter) {
    const { master, slots, failover, synced } = await replace(cluster, slot, meter, (master) =>
      master.kill(),
    );
    await wait(random.integer(0, 300));
    await master.restart();
    return { slots, failover, losses: [upTo(synced, failover.from)] };
  },

  async SIGSTOP(cluster, slot, random, meter) {
    const { master, slots, failover, synced } = await replace(cluster, slot, meter, (master) =>
      master.pause(),
    );
    await wait(random.integer(0, 300));
    // It runs what waits at its sockets before it learns that it has been replaced.
    const woken = Date.now();
    master.resume();
    await cluster.converged();
    return { slots, failover, losses: [upTo(synced, failover.from), upTo(woken, Date.now())] };
  },

  failover: planned(),
  "failover, FORCE": planned("FORCE"),
  "failover, TAKEOVER": planned("TAKEOVER"),

  async reshard(cluster, slot, random) {
    const home = await cluster.masterOf(slot);
    const others = (await cluster.masters()).map(({ node }) => node).filter((node) => node !== home);
    for (const to of [random.pick(others), home]) {
      const migration = await cluster.migrate(slot, to);
      await wait(random.integer(0, 100));
      while ((await migration.move(1)) > 0) await wait(random.integer(0, 50));
      await wait(random.integer(0, 100));
      await migration.finish();
      await wait(random.integer(0, 100));
    }
    return { slots: [slot, slot] };
  },

  async "CLIENT KILL"(cluster) {
    await Promise.all(cluster.nodes.map((node) => node.killClients("normal")));
    return {};
  },

  async "CLIENT KILL pubsub"(cluster) {
    await Promise.all(cluster.nodes.map((node) => node.killClients("pubsub")));
    return {};
  },

  async "bus drops PUBLISH"(cluster, _, random) {
    const node = random.pick(cluster.nodes);
    await node.dropBusPackets(4);
    await wait(random.integer(100, 600));
    await node.dropBusPackets(-1);
    return {};
  },

  async "DEBUG SLEEP"(cluster, slot, random) {
    const [master, slots] = [await cluster.masterOf(slot), await shardOf(cluster, slot)];
    await master.sleep(random.integer(50, 250));
    return { slots };
  },
};

/** From 9.0 Valkey moves all keys of a slot at once. */
const atOnce: Kind = async (cluster, slot, random) => {
  const home = await cluster.masterOf(slot);
  const others = (await cluster.masters()).map(({ node }) => node).filter((node) => node !== home);
  for (const to of [random.pick(others), home]) await cluster.migrateAtOnce(slot, slot, to);
  return { slots: [slot, slot] };
};

/** A ping is up to half of the node timeout later than the last answer, and a node is taken for lost a node timeout behind its ping. */
const mostCut = (nodeTimeout: number) => 1.5 * nodeTimeout + 400;

/** Works only in a network namespace. */
const partition: Kind = async (cluster, slot, random, meter) => {
  let heal = () => {};
  // Until the master knows that it is cut off, it acknowledges writes that will be lost. It says when it knows.
  let found = Promise.resolve(0);
  const { slots, failover, synced } = await replace(cluster, slot, meter, (master) => {
    heal = cluster.isolate(master);
    found = master.down();
  });
  await wait(random.integer(0, 300));
  const until = await found;
  heal();
  const cut = { lasted: until - failover.from, most: mostCut(cluster.nodeTimeout) };
  return { slots, failover, losses: [upTo(synced, until)], cut };
};

/** On a busy machine nodes may take a healthy master for lost, and elect another: what it acknowledges until it learns of that is gone. */
export const OWN_ELECTION = "an election of the servers' own";

type Owners = ReadonlyMap<number, ClusterNode | undefined>;

async function ownersOf(cluster: RedisCluster, slots: readonly number[]): Promise<Owners> {
  const masters = await cluster.masters();
  return new Map(slots.map((slot) => [slot, masters.find(({ view }) => serves(view, slot))?.node]));
}

/** The elections since a moment that a fault does not explain, one for each shard. */
async function ownElections(
  cluster: RedisCluster,
  { slots: broken, failover, to }: Fault,
  { before, after, since }: { before: Owners; after: Owners; since: number },
): Promise<Fault[]> {
  const elections: Fault[] = [];
  for (const [slot, owner] of after) {
    const isExplained = failover !== undefined && covers(broken, slot);
    if (owner === before.get(slot) || isExplained) continue;
    if (elections.some(({ slots }) => covers(slots, slot))) continue;
    const slots = await shardOf(cluster, slot);
    const losses = [upTo(since, to)];
    elections.push({ kind: OWN_ELECTION, from: since, to, slots, losses, costs: [], isPlanned: false });
  }
  return elections;
}

export interface FaultOptions {
  /** Whether the nodes have addresses of their own, in a network namespace. */
  readonly partitions: boolean;
  /** The slots of the load. */
  readonly slots: readonly number[];
}

/** Causes all faults in a random order, again and again, until `isOver`. */
export async function doFaults(
  cluster: RedisCluster,
  random: Random,
  { partitions, slots }: FaultOptions,
  isOver: () => boolean,
): Promise<Fault[]> {
  const { name, version } = software();
  const all = {
    ...kinds,
    ...(name === "Valkey" && version[0] >= 9 && { "reshard at once": atOnce }),
    ...(partitions && { partition }),
  };
  const faults: Fault[] = [];
  let [before, since] = [await ownersOf(cluster, slots), Date.now()];
  while (!isOver()) {
    for (const [kind, run] of random.shuffled(Object.entries(all))) {
      await wait(random.integer(200, 700));
      if (isOver()) break;
      // How many numbers a fault draws may depend on what the client has done, so it has a generator of its own.
      const own = randomFrom(random.integer(0, 2 ** 31));
      const fault = await done(cluster, kind, (meter) => run(cluster, own.pick(slots), own, meter));
      const after = await ownersOf(cluster, slots);
      faults.push(fault, ...(await ownElections(cluster, fault, { before, after, since })));
      [before, since] = [after, fault.to];
    }
  }
  return faults;
}

async function done(
  cluster: RedisCluster,
  kind: string,
  run: (meter: Meter) => Promise<Done>,
): Promise<Fault> {
  const meter = new Meter(cluster);
  await meter.begin();
  const from = Date.now();
  const { slots = [0, SLOTS - 1], losses = [], ...outcome } = await run(meter);
  await cluster.converged();
  const to = Date.now();
  await meter.step();
  const { costs } = meter;
  return { kind, from, to, slots, losses, costs, isPlanned: PLANNED.has(kind), ...outcome };
}
