// A channel at fake nodes, whose home a test moves.
import assert from "node:assert/strict";
import type { KVStore } from "covara-kv";
import { keyIn, shareOf } from "../redis-cluster.js";
import { evenly, type FakeCluster, type FakeNode } from "./fake-nodes.js";

/** A slot of the first node. */
export const SLOT = shareOf(0, 3)[0] + 7;
export const CHANNEL = keyIn(SLOT, "news");
export const PATIENT = { commandTimeout: 2_000, queueTimeout: 4_000 } as const;

/** Makes a node the master of the channel's slot. A GET then lets the store notice. */
export async function moveTo(node: FakeNode, cluster: FakeCluster, store: KVStore): Promise<void> {
  const [first, ...others] = evenly(cluster.nodes.map(({ name }) => name));
  assert.ok(first);
  cluster.ranges = [{ ...first, nodes: [node.name] }, ...others];
  await store.get(CHANNEL);
}
