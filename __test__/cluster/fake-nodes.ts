// A cluster of fake nodes, for situations that real nodes do not produce on demand. `answer` overrides any reply.
import {
  type Answer,
  answerHandshake,
  bulk,
  type FakeServer,
  OK,
  type Peer,
  startFake,
} from "../fake-server.js";
import { shareOf, slotOf } from "../redis-cluster.js";

/** A node as CLUSTER SLOTS names it. */
export interface NamedNode {
  /** `null` or `""`: the host that the client asked. `"?"`: unknown to the node. */
  host: string | null;
  port: number;
  id?: string;
  /** What comes behind the id, such as `hostname`. */
  metadata?: Record<string, string>;
}

/** A range of slots with its master and its replicas. Slots in no range have no master. */
export interface Range {
  first: number;
  last: number;
  nodes: NamedNode[];
}

/** Overrides a node's reply. `undefined`: the default reply. `null`: no reply. */
export type NodeAnswer = (
  command: string[],
  node: FakeNode,
  peer: Peer,
) => string | Buffer | null | undefined;

export interface FakeNode extends FakeServer {
  readonly index: number;
  /** How CLUSTER SLOTS names it. */
  readonly name: NamedNode;
  /** The commands on keys, in the order in which they came in, such as `"INCR a"`. */
  readonly calls: readonly string[];
}

export interface FakeCluster extends AsyncDisposable {
  readonly nodes: readonly FakeNode[];
  /** What CLUSTER SLOTS answers at all nodes. The test may change it. */
  ranges: Range[];
  /** Overrides replies, also those to CLUSTER SLOTS. The test may change it. */
  answer: NodeAnswer;
  readonly addresses: { host: string; port: number }[];
  /** How often a command came in, over all nodes, such as `"CLUSTER"`. */
  count(name: string): number;
  stop(): Promise<void>;
}

export interface FakeClusterOptions {
  /** How many masters; 3 by default. They share the slots evenly. */
  nodes?: number;
  host?: string;
  answer?: NodeAnswer;
  /** Overrides replies to the handshake. */
  greet?: Answer;
}

const array = (items: readonly string[]) => `*${items.length}\r\n${items.join("")}`;
const integer = (number: number) => `:${number}\r\n`;
const NULL = { 2: "$-1\r\n", 3: "_\r\n" } as const;

export const error = (text: string) => `-${text}\r\n`;
/** `to` is as the server writes it: an empty host is the one that answers. */
export const moved = (slot: number, to: { host: string; port: number }) =>
  error(`MOVED ${slot} ${to.host}:${to.port}`);
export const ask = (slot: number, to: { host: string; port: number }) =>
  error(`ASK ${slot} ${to.host}:${to.port}`);
export const TRYAGAIN = error("TRYAGAIN Multiple keys request during rehashing of slot");
export const LOADING = error("LOADING Redis is loading the dataset in memory");
export const CLUSTERDOWN = error("CLUSTERDOWN The cluster is down");

/** The reply of CLUSTER SLOTS: what comes behind the id is an array in RESP 2, and a map in RESP 3. */
export function slotsReplyOf(ranges: readonly Range[], protocol: 2 | 3): string {
  const node = ({ host, port, id, metadata = {} }: NamedNode, index: number) => {
    const words = Object.entries(metadata).flat().map(bulk);
    const last = protocol === 3 ? `%${words.length / 2}\r\n${words.join("")}` : array(words);
    const name = host === null ? NULL[protocol] : bulk(host);
    return array([name, integer(port), bulk(id ?? `${port}${index}`.padStart(40, "0")), last]);
  };
  return array(
    ranges.map(({ first, last, nodes }) => array([integer(first), integer(last), ...nodes.map(node)])),
  );
}

/** Which RESP the client of this connection asked for. */
export const protocolOf = ({ commands }: Peer): 2 | 3 =>
  commands.some(([name, version]) => name?.toUpperCase() === "HELLO" && version === "3") ? 3 : 2;

/** All slots, in equal shares. */
export const evenly = (nodes: readonly NamedNode[]): Range[] =>
  nodes.map((node, index) => {
    const [first, last] = shareOf(index, nodes.length);
    return { first, last, nodes: [node] };
  });

/** A node tells its mode in its reply to HELLO, in both protocols. */
const handshake: Answer = (command, peer) => {
  switch (command[0]?.toUpperCase()) {
    case "HELLO": {
      const words = ["server", "redis", "version", "7.0.15", "mode", "cluster", "role", "master"].map(bulk);
      const more = [bulk("proto"), integer(protocolOf(peer)), bulk("id"), integer(peer.index + 1)];
      const items = [...words, ...more, bulk("modules"), array([])];
      return protocolOf(peer) === 3 ? `%${items.length / 2}\r\n${items.join("")}` : array(items);
    }
    case "INFO":
      return bulk("# Server\r\nredis_version:7.0.15\r\nredis_mode:cluster\r\nloading:0\r\n");
    default:
      return answerHandshake(command, peer);
  }
};

/** As a node without keys, on which every write succeeds. */
function simple([name = "", ...args]: string[], count: number): string | undefined {
  switch (name.toUpperCase()) {
    case "GET":
      return bulk("");
    case "INCR":
    case "RPUSH":
    case "DEL":
    case "EXISTS":
      return integer(count);
    case "MGET":
      return array(args.map(() => bulk("")));
    case "SET":
    case "ASKING":
    case "READONLY":
    case "MULTI":
      return OK;
    case "COMMAND":
      return array([]);
    default:
      return undefined;
  }
}

export async function startFakeCluster({
  nodes: count = 3,
  host,
  answer = () => undefined,
  greet = () => undefined,
}: FakeClusterOptions = {}): Promise<FakeCluster> {
  const nodes: FakeNode[] = [];
  const cluster: FakeCluster = {
    nodes,
    ranges: [],
    answer,
    get addresses() {
      return nodes.map(({ host, port }) => ({ host, port }));
    },
    count: (name) => nodes.reduce((sum, node) => sum + node.count(name), 0),
    async stop() {
      await Promise.all(nodes.map((node) => node.stop()));
    },
    [Symbol.asyncDispose]: () => cluster.stop(),
  };
  for (let index = 0; index < count; index++) {
    const calls: string[] = [];
    let node: FakeNode | undefined;
    const answered: Answer = (command, peer) => {
      if (node === undefined) return undefined;
      const [name = "", topic = ""] = command.map((word) => word.toUpperCase());
      const isKeyed = !["CLUSTER", "COMMAND", "ASKING", "READONLY"].includes(name);
      if (isKeyed) calls.push(command.join(" "));
      const scripted = cluster.answer(command, node, peer);
      if (scripted !== undefined) return scripted ?? undefined;
      if (name === "CLUSTER" && topic === "SLOTS") return slotsReplyOf(cluster.ranges, protocolOf(peer));
      if (name === "CLUSTER") return bulk("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n");
      const earlier = calls.filter((call) => call.startsWith(`${command[0]} ${command[1]}`));
      return simple(command, earlier.length);
    };
    const greeted: Answer = (command, peer) => greet(command, peer) ?? handshake(command, peer);
    const options = { ...(host !== undefined && { host }), handshake: greeted, answer: answered };
    const server = await startFake(options);
    node = Object.defineProperties(server, {
      index: { value: index },
      name: { value: { host: server.host, port: server.port } },
      calls: { value: calls },
    }) as FakeNode;
    nodes.push(node);
  }
  cluster.ranges = evenly(nodes.map(({ name }) => name));
  return cluster;
}

/** The node that serves a key while the slots are in equal shares. */
export function homeOf({ nodes }: FakeCluster, key: string): FakeNode {
  const slot = slotOf(key);
  return nodes.find(({ index }) => slot <= shareOf(index, nodes.length)[1]) as FakeNode;
}
