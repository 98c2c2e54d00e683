import type { KVError, RedisKVStore, RedisNode } from "../index.js";
import { explain } from "./explain.js";
import { milliseconds } from "./terminal.js";

/** A range of slots, both included. */
type Range = readonly [first: number, last: number];

/** A node of a cluster, as most nodes see it, and as it answers. */
export interface ClusterNode {
  /** Its address, or its id if no node knows the address. */
  node: string;
  role: "master" | "replica";
  slots: readonly Range[];
  /** The address of a replica's master. */
  master?: string;
  version?: string;
  latency?: number;
  /** Why it does not answer. */
  code?: string;
  message?: string;
}

/** What the nodes of a cluster say. */
export interface Cluster {
  nodes: readonly ClusterNode[];
  /** Slots that no node has. */
  unassigned: readonly Range[];
  /** Slots whose master does not answer. */
  unserved: readonly Range[];
  /** Whether the cluster serves nothing while a slot has no master. Unknown if the server does not say. */
  requireFullCoverage?: boolean;
  warnings: readonly string[];
}

const SLOTS = 16_384;

/** A line of CLUSTER NODES. */
interface NodeLine {
  id: string;
  /** Undefined if the node does not know it. */
  address: RedisNode | undefined;
  flags: readonly string[];
  masterId: string;
  ranges: readonly Range[];
  /** Only in a node's line of itself. */
  moves: readonly Move[];
}

/** A slot on its way, by the ids of both masters. */
interface Move {
  slot: number;
  from: string;
  to: string;
}

/** An answer of a node. */
interface Answer {
  version: string;
  latency: number;
  reply: unknown;
}

type Asked = Answer | { code: string; message: string };

/** Asks the nodes of a configuration, and all that they know. Undefined if none of them tells of a cluster. */
export async function survey(kv: RedisKVStore, seeds: readonly RedisNode[]): Promise<Cluster | undefined> {
  const ask = (node: RedisNode, isTold: boolean, ...command: string[]) => askNode(kv, node, isTold, command);
  const told = await Promise.all(
    seeds.map(async (seed) => {
      const [nodes, slots] = await Promise.all([
        ask(seed, false, "CLUSTER", "NODES"),
        ask(seed, false, "CLUSTER", "SLOTS"),
      ]);
      if (!("reply" in nodes && typeof nodes.reply === "string")) return [];
      const endpoints = endpointsOf("reply" in slots ? slots.reply : undefined, seed);
      return linesOf(nodes.reply, seed).map((line) => ({
        ...line,
        address: endpoints.get(line.id) ?? line.address,
      }));
    }),
  );
  const known = new Map<string, NodeLine>();
  for (const line of told.flat()) {
    if (known.get(line.id)?.address === undefined && !line.flags.includes("handshake"))
      known.set(line.id, line);
  }
  if (known.size === 0) return undefined;
  const asked = new Map<string, Asked>();
  await Promise.all(
    Array.from(known, async ([id, { address }]) => {
      const unknown = { code: "CONNECTION unknown-host", message: "no node knows its address" };
      asked.set(id, address === undefined ? unknown : await ask(address, true, "CLUSTER", "NODES"));
    }),
  );
  return clusterOf(known, asked, await coverageOf(known, asked, ask));
}

async function askNode(
  kv: RedisKVStore,
  node: RedisNode,
  isTold: boolean,
  command: string[],
): Promise<Asked> {
  try {
    const { version, latency, reply } = await kv.askNode(node, isTold, command);
    if (reply instanceof Error) throw reply;
    return { version, latency, reply };
  } catch (error) {
    const { code, message } = explain(error);
    const { reason } = error as KVError;
    return { code: reason === undefined ? code : `${code} ${reason}`, message };
  }
}

/** CONFIG GET is refused by many providers. */
async function coverageOf(
  known: ReadonlyMap<string, NodeLine>,
  asked: ReadonlyMap<string, Asked>,
  ask: (node: RedisNode, isTold: boolean, ...command: string[]) => Promise<Asked>,
): Promise<boolean | undefined> {
  const [id] = [...asked].find(([, answer]) => "reply" in answer) ?? [];
  const address = known.get(id ?? "")?.address;
  if (address === undefined) return undefined;
  const answer = await ask(address, true, "CONFIG", "GET", "cluster-require-full-coverage");
  const value = "reply" in answer && Array.isArray(answer.reply) ? answer.reply[1] : undefined;
  return value === undefined ? undefined : value === "yes";
}

/** What a node says of all nodes. */
interface View {
  id: string;
  lines: readonly NodeLine[];
  /** For each slot the id of its master. */
  owners: readonly (string | undefined)[];
}

function clusterOf(
  known: ReadonlyMap<string, NodeLine>,
  asked: ReadonlyMap<string, Asked>,
  requireFullCoverage: boolean | undefined,
): Cluster {
  const nameOf = (id: string) => {
    const address = known.get(id)?.address;
    return address === undefined ? id : nameOfNode(address);
  };
  const views = viewsOf(asked);
  const best = commonView(views);
  const lines = best?.lines ?? [...known.values()];
  const owners = best?.owners ?? ownersOf(lines);
  const answers = (id: string | undefined) => id !== undefined && "reply" in (asked.get(id) ?? {});
  const unassigned = rangesOf((slot) => owners[slot] === undefined);
  const unserved = rangesOf((slot) => owners[slot] !== undefined && !answers(owners[slot]));
  const nodes = lines
    .filter(({ flags, id }) => !flags.includes("handshake") && known.has(id))
    .map((line): ClusterNode => nodeOf(line, asked.get(line.id), nameOf))
    .sort((a, b) => keyOf(a).localeCompare(keyOf(b), "en", { numeric: true }));
  const unknown = lines.filter(({ id }) => known.get(id)?.address === undefined);
  return {
    nodes,
    unassigned,
    unserved,
    ...(requireFullCoverage !== undefined && { requireFullCoverage }),
    warnings: [
      ...[unassigned].filter(hasAny).map((slots) => `nobody has the slots ${shown(slots)}`),
      ...[unserved].filter(hasAny).map((slots) => `the master of the slots ${shown(slots)} does not answer`),
      ...([unassigned, unserved].some(hasAny) && requireFullCoverage
        ? ["the cluster serves no other slots either while that is so: cluster-require-full-coverage is yes"]
        : []),
      ...dissentOf(views, owners, nameOf),
      ...movesOf(views, nameOf),
      ...lonelyMasters(lines, answers, nameOf),
      ...unknown.map(
        ({ id }) =>
          `no node knows the address of ${id}: see cluster-announce-ip and cluster-announce-hostname`,
      ),
    ],
  };
}

/** The views of the nodes that have answered. */
function viewsOf(asked: ReadonlyMap<string, Asked>): View[] {
  return [...asked].flatMap(([id, answer]) => {
    if (!("reply" in answer && typeof answer.reply === "string")) return [];
    const lines = linesOf(answer.reply);
    return [{ id, lines, owners: ownersOf(lines) }];
  });
}

/** The view of most nodes. Where as many say otherwise, that of those that know of more slots. */
function commonView(views: readonly View[]): View | undefined {
  const signatures = views.map(({ owners }) => owners.join());
  const votes = (signature: string | undefined) => signatures.filter((other) => other === signature).length;
  const order = [...views.keys()].sort(
    (a, b) =>
      votes(signatures[b]) - votes(signatures[a]) ||
      (views[b]?.owners.filter(Boolean).length ?? 0) - (views[a]?.owners.filter(Boolean).length ?? 0),
  );
  return views[order[0] ?? -1];
}

/** A warning for each node that says otherwise than most who has a slot. */
function dissentOf(
  views: readonly View[],
  owners: readonly (string | undefined)[],
  nameOf: (id: string) => string,
): string[] {
  return views.flatMap(({ id, owners: others }) => {
    const slots = rangesOf((slot) => others[slot] !== owners[slot]);
    return slots.length === 0
      ? []
      : [`${nameOf(id)} says otherwise than most nodes who has the slots ${shown(slots)}`];
  });
}

/** A warning for each two masters between which slots are on their way: a move that was broken off stays open. */
function movesOf(views: readonly View[], nameOf: (id: string) => string): string[] {
  const moves = views.flatMap(({ lines }) => lines.flatMap(({ moves }) => moves));
  const pairs = new Map<string, Set<number>>();
  for (const { slot, from, to } of moves) {
    const pair = `from ${nameOf(from)} to ${nameOf(to)}`;
    pairs.set(pair, (pairs.get(pair) ?? new Set()).add(slot));
  }
  const between = (slots: ReadonlySet<number>) => shown(rangesOf((slot) => slots.has(slot)));
  return Array.from(pairs, ([pair, slots]) => `the slots ${between(slots)} are on their way ${pair}`);
}

/** A warning of the masters that no replica can replace, if there are any. */
function lonelyMasters(
  lines: readonly NodeLine[],
  answers: (id: string) => boolean,
  nameOf: (id: string) => string,
): string[] {
  const alone = lines.filter(
    ({ id, ranges }) =>
      ranges.length > 0 &&
      answers(id) &&
      !lines.some((other) => other.masterId === id && answers(other.id) && !isFailed(other)),
  );
  const names = alone.map(({ id }) => nameOf(id)).sort();
  return names.length === 0 ? [] : [`no replica can take the place of ${names.join(", ")}`];
}

const hasAny = (list: readonly unknown[]) => list.length > 0;

const isFailed = ({ flags }: NodeLine) => flags.some((flag) => flag === "fail" || flag === "fail?");

function nodeOf(line: NodeLine, answer: Asked | undefined, nameOf: (id: string) => string): ClusterNode {
  const isReplica = line.flags.includes("slave");
  return {
    node: nameOf(line.id),
    role: isReplica ? "replica" : "master",
    slots: line.ranges,
    ...(isReplica && line.masterId !== "-" && { master: nameOf(line.masterId) }),
    ...(answer !== undefined && "reply" in answer && { version: answer.version, latency: answer.latency }),
    ...(answer !== undefined && "code" in answer && answer),
  };
}

/** Masters by their slots, each with its replicas behind it. */
function keyOf({ node, role, slots, master }: ClusterNode): string {
  return role === "master" ? `${slots.length === 0 ? 1 : 0} ${node}` : `0 ${master ?? node} ${node}`;
}

/** The lines of CLUSTER NODES. `asked` is who answered, which may not know its own address. */
function linesOf(text: string, asked?: RedisNode): NodeLine[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [id = "", place = "", flags = "", masterId = "", , , , , ...slots] = line.split(" ");
      const [, host = "", port = "0"] = /^(.*):(\d+)(?:@|$)/.exec(place) ?? [];
      const own = flags.includes("myself") ? asked?.host : undefined;
      const known = host || own;
      return {
        id,
        address: known === undefined || port === "0" ? undefined : { host: known, port: Number(port) },
        flags: flags.split(","),
        masterId,
        ranges: slots.filter((range) => /^\d/.test(range)).map(rangeOf),
        moves: slots.flatMap((text) => moveOf(text, id)),
      };
    });
}

/** `[1->-id]` is on its way to a node, and `[1-<-id]` from it. */
function moveOf(text: string, own: string): Move[] {
  const [, slot, direction, other = ""] = /^\[(\d+)-([<>])-(\w+)\]$/.exec(text) ?? [];
  if (slot === undefined) return [];
  const [from, to] = direction === ">" ? [own, other] : [other, own];
  return [{ slot: Number(slot), from, to }];
}

function rangeOf(text: string): Range {
  const [first = 0, last = first] = text.split("-").map(Number);
  return [first, last];
}

/** The addresses that clients are told, by id: hosts as `cluster-preferred-endpoint-type` says. */
function endpointsOf(slots: unknown, asked: RedisNode): Map<string, RedisNode | undefined> {
  const endpoints = new Map<string, RedisNode | undefined>();
  for (const [, , ...nodes] of Array.isArray(slots) ? (slots as unknown[][]) : []) {
    for (const node of nodes) {
      const [host, port, id] = node as [string | null, number, string];
      if (host !== "?") endpoints.set(id, { host: host || asked.host, port });
    }
  }
  return endpoints;
}

/** For each slot the id of its master. */
function ownersOf(lines: readonly NodeLine[]): (string | undefined)[] {
  const owners = new Array<string | undefined>(SLOTS).fill(undefined);
  for (const { id, ranges } of lines) for (const [first, last] of ranges) owners.fill(id, first, last + 1);
  return owners;
}

function rangesOf(isIn: (slot: number) => boolean): Range[] {
  const ranges: [number, number][] = [];
  for (let slot = 0; slot < SLOTS; slot++) {
    if (!isIn(slot)) continue;
    const last = ranges.at(-1);
    if (last?.[1] === slot - 1) last[1] = slot;
    else ranges.push([slot, slot]);
  }
  return ranges;
}

const shown = (ranges: readonly Range[]) =>
  ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(", ");

const nameOfNode = ({ host, port }: RedisNode) =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;

const count = (ranges: readonly Range[]) => ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0);

/** A line about the whole. */
export function clusterText({ nodes, unassigned, requireFullCoverage }: Cluster): string {
  const masters = nodes.filter(({ role }) => role === "master").length;
  const coverage = requireFullCoverage === undefined ? "unknown" : requireFullCoverage ? "yes" : "no";
  return [
    `${masters} masters, ${nodes.length - masters} replicas`,
    `${SLOTS - count(unassigned)} of ${SLOTS} slots`,
    `cluster-require-full-coverage ${coverage}`,
  ].join(", ");
}

/** A row for each node. */
export function clusterRows({ nodes }: Cluster): string[][] {
  const rows = nodes.map(({ node, role, slots, master = "", version = "", latency, message = "" }) => [
    node,
    role,
    slots.length === 0 ? "" : `${shown(slots)} (${count(slots)})`,
    master,
    version,
    latency === undefined ? message : milliseconds(latency),
  ]);
  return [["node", "role", "slots", "master", "version", "latency"], ...rows];
}

/** Whether each slot has a master that answers. */
export const isWhole = ({ unassigned, unserved }: Cluster) => unassigned.length + unserved.length === 0;
