import { evenly, type FakeCluster, type FakeNode } from "./fake-nodes.js";
import type { World } from "./shared.js";

/** Two masters, with the replicas of each. */
export async function fakeReplicas(
  world: World,
  replicasEach = 1,
): Promise<FakeCluster & { replicas: FakeNode[][] }> {
  const fake = await world.fake({ nodes: 2 * (1 + replicasEach) });
  const masters = fake.nodes.slice(0, 2);
  fake.ranges = evenly(masters.map(({ name }) => name));
  const replicas = masters.map(({ index }) =>
    fake.nodes.filter((node) => node.index > 1 && node.index % 2 === index),
  );
  for (const [index, range] of fake.ranges.entries()) {
    range.nodes.push(...(replicas[index] ?? []).map(({ name }) => name));
  }
  return Object.assign(fake, { replicas });
}
