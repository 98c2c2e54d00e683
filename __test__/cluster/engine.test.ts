// The package's own fan-out in a cluster. When its channel loses its home, handlers must hear again, and be told of the gap.
import assert from "node:assert/strict";
import {
  clearGlobalKV,
  initializeEventSubscription,
  registerHandler,
  setGlobalKV,
  trackSubscription,
  unregisterHandler,
} from "covara-kv";
import { eventually } from "../eventually.js";
import { GAP } from "../fanout/instances.js";
import { EVENTS, newId, wire } from "../framework/events.js";
import { sharedCluster, test, type World } from "./shared.js";

const cluster = sharedCluster({ nodeTimeout: 500, config: { "cluster-require-full-coverage": "no" } });

/** A handler of one subscription, and what it has heard. */
async function handler({ open, defer }: World, config: object) {
  const kv = await open(cluster(), config);
  setGlobalKV(kv);
  const heard: string[] = [];
  const subscription = newId();
  registerHandler("handler", (event) => void heard.push(event));
  trackSubscription("handler", subscription);
  defer(() => {
    unregisterHandler("handler");
    clearGlobalKV();
  });
  return { kv, heard, subscription };
}

test("the home of the fan-out's channel moves after it was asked whether it is live: handlers are told of the gap", async (world) => {
  const { kv, heard, subscription } = await handler(world, { commandTimeout: 1_500 });
  await initializeEventSubscription();
  await cluster().failover(EVENTS);
  // A command makes the store notice. The subscribing connection does not: a replica delivers messages too.
  await kv.get(EVENTS);
  await eventually(() => heard.includes(GAP));
  const publisher = await world.open(cluster());
  let number = 0;
  await eventually(async () => {
    await publisher.publish(EVENTS, wire(subscription, ++number));
    return heard.some((event) => event !== GAP);
  });
});

// A call that waits in vain must not end the subscription that the handler keeps.
test("the home of the fan-out's channel is away for longer than a call waits: handlers hear once there is one", async (world) => {
  const home = await cluster().masterOf(EVENTS);
  const others = (await cluster().replicasOf(home)).concat(home);
  for (const node of others) node.pause();
  const config = { connectTimeout: 300, commandTimeout: 300, queueTimeout: 1_000 };
  const { heard, subscription } = await handler(world, config);
  await assert.rejects(initializeEventSubscription(), { code: "TIMEOUT" });
  for (const node of others) node.resume();
  await cluster().converged();
  const publisher = await world.open(cluster());
  let number = 0;
  await eventually(async () => {
    await publisher.publish(EVENTS, wire(subscription, ++number)).catch(() => {});
    return heard.some((event) => event !== GAP);
  });
});
