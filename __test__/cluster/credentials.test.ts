// A function is equal only to itself. Subscribed with functions of their own, the framework's channels have their own map of the slots. No command
// renews that map, so after a failover they stay at a dead home for up to a minute.
import assert from "node:assert/strict";
import { eventually } from "../eventually.js";
import { EVENTS, eventsOf, hear, open as openStream, wire } from "../framework/events.js";
import { type ClusterNode, keyIn, slotOf } from "../redis-cluster.js";
import { sharedCluster, test } from "./shared.js";

const cluster = sharedCluster({ nodeTimeout: 500 });

const USER = "app";
const SECRET = "of-a-function";

/** Adds the user at all nodes. Returns a configuration with its password as a function, and the number of its calls. */
async function user() {
  const all = ["on", `>${SECRET}`, "~*", "&*", "+@all"];
  for (const { admin } of cluster().nodes) await admin.call("ACL", "SETUSER", USER, ...all);
  let calls = 0;
  const password = () => {
    calls += 1;
    return SECRET;
  };
  return { redis: { username: USER, password, retryDelay: 20 }, calls: () => calls };
}

/** How many connections of the user subscribe at a node. */
async function subscribing({ admin }: ClusterNode): Promise<number> {
  const clients = String(await admin.call("CLIENT", "LIST", "TYPE", "pubsub"));
  return clients.split("\n").filter((client) => client.includes(`user=${USER} `)).length;
}

const subscribers = async ({ admin }: ClusterNode, channel: string) =>
  Number(((await admin.call("PUBSUB", "NUMSUB", channel)) as unknown[])[1]);

test("a channel of the framework and another one share a connection and its password", async ({ open }) => {
  const { redis, calls } = await user();
  const kv = await open(cluster(), redis);
  await kv.subscribe(keyIn(slotOf(EVENTS), "own"), () => {});
  const before = calls();
  await hear(kv);
  assert.equal(await subscribing(await cluster().masterOf(EVENTS)), 1);
  assert.equal(calls(), before);
});

test("a channel of the framework is at its new home soon after a failover", async ({ open }) => {
  const { redis } = await user();
  const kv = await open(cluster(), redis);
  const heard = await hear(kv);
  const home = await cluster().replaceable(slotOf(EVENTS));
  const id = await openStream(kv);
  await home.kill();
  const next = await cluster().replaced(home, slotOf(EVENTS));
  await eventually(async () => (await subscribers(next, EVENTS)) === 1);
  await eventually(async () => {
    await kv.publish(EVENTS, wire(id, "moved"));
    return eventsOf(heard, id).includes("moved");
  }, 100);
});
