// A fake bus. A node delivers to its own subscribers at once; others get the message over the bus. A test can block the bus or freeze a node.
import { bulk, confirmation, message, type Peer } from "../fake-server.js";
import { slotOf } from "../redis-cluster.js";
import { type FakeCluster, type FakeNode, moved } from "./fake-nodes.js";

export class FakeBus {
  readonly #cluster: FakeCluster;
  readonly #subscribers = new Map<FakeNode, Map<Peer, Set<string>>>();
  /** What a node has put on the bus while it is cut off. */
  readonly #cut = new Map<FakeNode, (() => void)[]>();
  /** What came to a node while it is frozen. */
  readonly #frozen = new Map<FakeNode, (() => void)[]>();
  /** Nodes that deliver nothing to their own subscribers, though all else is well. */
  readonly deaf = new Set<FakeNode>();

  /** From now on the nodes handle SUBSCRIBE and PUBLISH. Only a slot's owner answers GET; others send MOVED. */
  constructor(cluster: FakeCluster) {
    this.#cluster = cluster;
    cluster.answer = (command, node, peer) => {
      const frozen = this.#frozen.get(node);
      if (frozen === undefined) return this.#answer(command, node, peer);
      frozen.push(() => {
        const bytes = this.#answer(command, node, peer);
        if (bytes !== undefined) peer.send(bytes);
      });
      return null;
    };
  }

  #answer(command: string[], node: FakeNode, peer: Peer): string | undefined {
    const [name = "", topic = "", text = ""] = command;
    switch (name) {
      case "SUBSCRIBE":
        this.#topicsOf(node, peer).add(topic);
        return confirmation(command);
      case "UNSUBSCRIBE":
        this.#topicsOf(node, peer).delete(topic);
        return confirmation(command);
      case "PUBLISH":
        return `:${this.publish(node, topic, text)}\r\n`;
      case "GET": {
        const slot = slotOf(topic);
        const owner = this.#cluster.ranges.find(({ first, last }) => first <= slot && slot <= last)?.nodes[0];
        if (owner === undefined || owner.port === node.port) return bulk("");
        return moved(slot, { host: node.host, port: owner.port });
      }
      default:
        return undefined;
    }
  }

  #topicsOf(node: FakeNode, peer: Peer): Set<string> {
    const peers = this.#subscribers.get(node) ?? new Map<Peer, Set<string>>();
    this.#subscribers.set(node, peers);
    const topics = peers.get(peer) ?? new Set<string>();
    peers.set(peer, topics);
    return topics;
  }

  /** Publishes at a node. Returns how many connections heard it there. */
  publish(node: FakeNode, channel: string, text: string): number {
    const heard = this.#deliver(node, channel, text);
    const others = () => {
      for (const other of this.#cluster.nodes) if (other !== node) this.#deliver(other, channel, text);
    };
    const cut = this.#cut.get(node);
    if (cut === undefined) others();
    else cut.push(others);
    return heard;
  }

  #deliver(node: FakeNode, channel: string, text: string): number {
    if (this.deaf.has(node)) return 0;
    const peers = [...(this.#subscribers.get(node) ?? [])].filter(([, topics]) => topics.has(channel));
    for (const [peer] of peers) peer.send(message(channel, text));
    return peers.length;
  }

  /** How many open connections have subscribed the channel at the node. */
  subscribers(node: FakeNode, channel: string): number {
    return [...(this.#subscribers.get(node) ?? [])].filter(
      ([peer, topics]) => peer.socket.writable && topics.has(channel),
    ).length;
  }

  /** Cuts a node off. The returned function ends that, and delivers what the node published meanwhile. */
  cut(node: FakeNode): () => void {
    this.#cut.set(node, []);
    return () => {
      const waiting = this.#cut.get(node) ?? [];
      this.#cut.delete(node);
      for (const deliver of waiting) deliver();
    };
  }

  /** Freezes a node. The returned function wakes it; it then answers what has arrived. */
  freeze(node: FakeNode): () => void {
    this.#frozen.set(node, []);
    return () => {
      const waiting = this.#frozen.get(node) ?? [];
      this.#frozen.delete(node);
      for (const answer of waiting) answer();
    };
  }
}
