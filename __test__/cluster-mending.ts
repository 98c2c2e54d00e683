// States of a cluster that Redis never ends by itself. A test that fails, or a busy machine that replaces a master on its own, leaves them behind.
import { type ClusterNode, serves, type View } from "./cluster-node.js";

/** Gives each node what it lacks to agree with the others. Call it until they do, as nodes hear of each other late. */
export async function mend(nodes: readonly ClusterNode[]): Promise<void> {
  const views = await Promise.all(nodes.map(async (node) => ({ node, view: await node.view() })));
  const all = views.flatMap(({ view }) => view);
  for (const { node, view } of views) {
    const own = view.find(({ flags }) => flags.includes("myself"));
    if (own === undefined) continue;
    await close(node, own);
    await claim(
      node,
      own,
      all.filter(({ id }) => id === own.id),
    );
  }
}

/** While a slot is open, its master does not learn that the other master of the move has been replaced. A replica refuses SETSLOT. */
async function close(node: ClusterNode, own: View): Promise<void> {
  if (!own.flags.includes("master")) return;
  for (const slot of own.open) await node.admin.call("CLUSTER", "SETSLOT", slot, "STABLE");
}

/** A slot that moves while its masters change may belong to a master by all nodes but itself, for which it belongs to none. */
async function claim(node: ClusterNode, own: View, told: readonly View[]): Promise<void> {
  if (!own.flags.includes("master")) return;
  const slots = new Set(told.flatMap(({ ranges }) => ranges.flatMap(([first, last]) => count(first, last))));
  // Refused where it is known to belong to another.
  for (const slot of slots)
    if (!serves(own, slot)) await node.admin.call("CLUSTER", "ADDSLOTS", slot).catch(() => {});
}

const count = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i);
