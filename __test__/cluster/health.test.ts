// Commands that wait for a node of a cluster are in no connection's queue. Left out of `health()`, a store looks idle while it takes no command.
import assert from "node:assert/strict";
import type { ConnectionHealth, KVStore } from "covara-kv";
import { eventually } from "../eventually.js";
import { emissions } from "../faults/faults.js";
import { keyIn, shareOf } from "../redis-cluster.js";
import { errorOf } from "../replies.js";
import { CLUSTERDOWN, type FakeNode } from "./fake-nodes.js";
import { isReady, test } from "./shared.js";

const SLOT = shareOf(1, 3)[0];
const timeouts = { commandTimeout: 500, queueTimeout: 1_000 } as const;

const entriesOf = async (kv: KVStore) => (await kv.health()).connections;
const owed = ({ inFlight, waiting }: ConnectionHealth) => inFlight + waiting;
const at = ({ host, port }: FakeNode) => `${host}:${port}`;

test("commands that a node refuses for the moment wait at that node", async ({ fake, open }) => {
  const nodes = await fake();
  const [, second] = nodes.nodes;
  assert.ok(second);
  const kv = await open(nodes, timeouts);
  nodes.answer = ([name]) => (name === "INCR" ? CLUSTERDOWN : undefined);
  const calls = Array.from({ length: 100 }, () => errorOf(kv.incr(keyIn(SLOT))));
  await eventually(async () => {
    const entries = await entriesOf(kv);
    return entries.every((entry) => owed(entry) === (entry.node === at(second) ? 100 : 0));
  });
  for (const { code } of await Promise.all(calls)) assert.equal(code, "TIMEOUT");
  await eventually(async () => (await entriesOf(kv)).every((entry) => owed(entry) === 0));
});

test("commands of a slot without a master have an entry without a node", async ({ fake, open }) => {
  const nodes = await fake();
  const [first, , third] = nodes.ranges;
  assert.ok(first && third);
  nodes.ranges = [first, third];
  const kv = await open(nodes, timeouts);
  const calls = Array.from({ length: 10 }, () => errorOf(kv.incr(keyIn(SLOT))));
  await eventually(async () =>
    (await entriesOf(kv)).some(
      ({ node, state, waiting }) => node === undefined && state !== "ready" && waiting === 10,
    ),
  );
  for (const { code } of await Promise.all(calls)) assert.equal(code, "TIMEOUT");
  await eventually(async () => (await entriesOf(kv)).every(({ node }) => node !== undefined));
});

// A master died for good, and others had its slots. No connection to it came back, and the store counted as not connected from then on: as a
// readiness probe that takes an instance out of service.
test("a store is ready again once others have the slots of a master that is gone", async ({ fake, open }) => {
  const nodes = await fake();
  const [first, second] = nodes.nodes;
  const [range] = nodes.ranges;
  assert.ok(first && second && range);
  const kv = await open(nodes, timeouts);
  await eventually(() => isReady(kv));
  const ready = emissions(kv, "ready");
  await first.stop();
  await eventually(() => kv.status === "reconnecting");
  range.nodes = [second.name];
  await eventually(() => kv.isConnected());
  assert.equal(kv.status, "ready");
  assert.equal(ready.length, 1);
  assert.ok(
    nodes.nodes
      .slice(1)
      .map(at)
      .includes(ready[0]?.node ?? ""),
  );
});
