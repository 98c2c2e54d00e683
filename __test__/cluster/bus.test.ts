// Whatever crosses the bus between nodes goes to every node. Events that do make a cluster slower with each node that is added (redis #2672 #122).
import assert from "node:assert/strict";
import type { KVStore } from "covara-kv";
import { eventually } from "../eventually.js";
import { EVENTS, eventsOf, hear, open as openStream, wire } from "../framework/events.js";
import { sharedCluster, test } from "./shared.js";

const cluster = sharedCluster({ nodeTimeout: 500, elections: false });

/** So long that the store asks no home meanwhile whether it is alive: that is a PUBLISH. */
const timeouts = { commandTimeout: 20_000, queueTimeout: 20_000 } as const;

/** How many messages of PUBLISH the nodes have sent each other. */
async function crossed(): Promise<number> {
  const infos = await Promise.all(cluster().nodes.map(({ admin }) => admin.call("CLUSTER", "INFO")));
  const sent = infos.map((info) => /^cluster_stats_messages_publish_sent:(\d+)/m.exec(String(info))?.[1]);
  return sent.reduce((sum, count) => sum + Number(count ?? 0), 0);
}

interface Internal {
  publishEvent(message: string): Promise<{ isTargeted: boolean }>;
}

test("events of own channels stay with their shard, and those of other channels cross the bus", async ({
  open,
}) => {
  const [kv, publisher]: KVStore[] = [await open(cluster(), timeouts), await open(cluster(), timeouts)];
  assert.ok(kv && publisher);
  const heard = await hear(kv);
  const publish = (id: string, event: number) =>
    (publisher as unknown as Internal).publishEvent(wire(id, event));
  const ids = await Promise.all(Array.from({ length: 30 }, () => openStream(kv)));
  // An event that comes before its channel goes to the fleet's.
  for (const id of ids) await eventually(async () => (await publish(id, 0)).isTargeted, 20);
  const before = await crossed();
  for (const id of ids) await publish(id, 1);
  await eventually(() => eventsOf(heard).filter((event) => event === 1).length === ids.length);
  // Each event would be a message to each other node. A message of the store itself may be among them.
  const messages = (await crossed()) - before;
  assert.ok(messages < ids.length, `${messages} messages for ${ids.length} events`);
  await publisher.publish(EVENTS, "to the fleet");
  await eventually(async () => (await crossed()) > before + messages);
});
