// Other clients subscribe and publish at random nodes, so order is lost and losses are not reported. Here order holds, and every loss is a gap.
import assert from "node:assert/strict";
import { createRedisKV, type Gap, type KVStore } from "covara-kv";
import { Redis } from "ioredis";
import type { ClusterNode } from "../cluster-node.js";
import { eventually } from "../eventually.js";
import { emissions } from "../faults/faults.js";
import { keyIn, shareOf } from "../redis-cluster.js";
import { sharedCluster, test, type World } from "./shared.js";

const cluster = sharedCluster({ nodeTimeout: 500, config: { "cluster-require-full-coverage": "no" } });

const timeouts = { commandTimeout: 1_500, queueTimeout: 8_000 } as const;
const SLOT = shareOf(1, 3)[0] + 3;
let channels = 0;
/** A channel of the second master's share that no other test has. */
const channel = () => `${keyIn(SLOT, "channel")}:${channels++}`;

interface Published {
  readonly number: number;
  readonly from: number;
  to: number;
}

/** Publishes growing numbers, and hears them in another store: by the channel, or by a pattern that matches it. */
async function conversation({ open, every }: World, name: string, pattern?: string) {
  const [publisher, subscriber] = [await open(cluster(), timeouts), await open(cluster(), timeouts)];
  const [heard, gaps]: [number[], Gap[]] = [[], emissions(subscriber, "gap")];
  let ended = false;
  const hear = (text: string) => {
    if (text === "end") ended = true;
    else heard.push(Number(text));
  };
  await (pattern === undefined ? subscriber.subscribe(name, hear) : subscriber.psubscribe(pattern, hear));
  const published: Published[] = [];
  /** Those that failed, and may have been published or not. A home that wakes publishes them behind later ones. */
  const unsure = new Set<number>();
  let number = 0;
  let [isHeld, inFlight] = [false, 0];
  const publish = async () => {
    if (isHeld) return;
    inFlight += 1;
    const message = { number: ++number, from: Date.now(), to: 0 };
    await publisher.publish(name, `${message.number}`).then(
      () => {
        message.to = Date.now();
        published.push(message);
      },
      () => unsure.add(message.number),
    );
    inFlight -= 1;
  };
  const stop = every(3, publish);
  return {
    publisher,
    subscriber,
    heard,
    gaps,
    /** Resolves once a message is heard that is published after this call. */
    async flows(): Promise<void> {
      const before = number;
      await eventually(() => (heard.at(-1) ?? 0) > before);
    },
    /**
     * Freezes the home when the bus has what it published. Redis writes to subscribers before the bus: a message between the two comes twice,
     * once the node runs again (docs/design/cluster.md).
     */
    async freeze(home: ClusterNode): Promise<void> {
      isHeld = true;
      await eventually(() => inFlight === 0);
      await home.admin.call("PING");
      home.pause();
      isHeld = false;
    },
    /** Each message has come once and in order, or a gap covers its time. */
    async check(): Promise<void> {
      stop();
      await eventually(async () => {
        await publisher.publish(name, "end").catch(() => {});
        return ended;
      });
      const came = new Set(heard);
      assert.deepEqual(
        heard.filter((number, index) => heard.indexOf(number) !== index),
        [],
        "twice",
      );
      const sure = heard.filter((number) => !unsure.has(number));
      assert.deepEqual(
        sure,
        [...sure].sort((a, b) => a - b),
        "in another order",
      );
      const untold = published.filter(
        ({ number, from, to }) =>
          !came.has(number) && !gaps.some((gap) => gap.from <= to + 50 && gap.to >= from - 50),
      );
      assert.deepEqual(untold, [], `gaps ${JSON.stringify(gaps)}`);
    },
  };
}

type Talk = Awaited<ReturnType<typeof conversation>>;

const troubles: Record<string, (talk: Talk, slot: number) => Promise<unknown>> = {
  async "is killed"(_, slot) {
    const home = await cluster().replaceable(slot);
    await home.kill();
    await cluster().replaced(home, slot);
    await home.restart();
  },
  async "freezes and wakes"(talk, slot) {
    const home = await cluster().replaceable(slot);
    await talk.freeze(home);
    await cluster().replaced(home, slot);
    await talk.flows();
    home.resume();
  },
  "becomes a replica": (_, slot) => cluster().failover(slot),
  async "ends its subscribers' connections"(_, slot) {
    await (await cluster().masterOf(slot)).killClients("pubsub");
  },
  async "gives its slot away"(talk, slot) {
    const { from, to } = await cluster().mastersFor(slot);
    await (await cluster().migrate(slot, to)).finish();
    await talk.flows();
    await (await cluster().migrate(slot, from)).finish();
  },
};

// A connection that moves to another node misses what is published meanwhile. Without a gap no subscriber knows (lettuce #3213, node-redis #2725).
// Patterns are subscribed at the master of slot 0, and hear over the bus what others publish.
for (const [trouble, make] of Object.entries(troubles)) {
  for (const topic of ["a channel", "patterns"]) {
    test(`the node of ${topic} ${trouble}: each message comes once and in order, or a gap tells of it`, async (world) => {
      const name = channel();
      const isPattern = topic === "patterns";
      const talk = await conversation(world, name, isPattern ? `${name}*` : undefined);
      await talk.flows();
      await make(talk, isPattern ? 0 : SLOT);
      await talk.flows();
      await cluster().converged();
      await talk.flows();
      await talk.check();
    });
  }
}

// The bus may lose packets while all connections are alive. A message that needs the bus is then lost.
test("the bus between nodes is not needed between stores", async (world) => {
  for (const node of cluster().nodes) await node.dropBusPackets(4);
  const talk = await conversation(world, channel());
  await talk.flows();
  await talk.check();
  assert.deepEqual(talk.gaps, []);
});

// Published at several nodes, 157 of 4,000 messages arrive in another order. PUBLISH counts only the receivers of its own node.
test("messages of one channel come in the order of their publication, and PUBLISH counts who hears", async ({
  open,
}) => {
  const [kv, publisher] = [await open(cluster(), timeouts), await open(cluster(), timeouts)];
  const name = channel();
  const heard: string[] = [];
  await kv.subscribe(name, (text) => void heard.push(text));
  const sent = Array.from({ length: 4_000 }, (_, index) => `${index}`);
  const counts: number[] = [];
  for (let at = 0; at < sent.length; at += 100)
    counts.push(
      ...(await Promise.all(sent.slice(at, at + 100).map((text) => publisher.publish(name, text)))),
    );
  await eventually(() => heard.length === sent.length);
  assert.deepEqual(heard, sent);
  assert.deepEqual(new Set(counts), new Set([1]));
});

test("what another client publishes at any node is heard, by channel and by pattern", async ({
  open,
  defer,
}) => {
  const kv = await open(cluster(), timeouts);
  const name = channel();
  const [exact, matching]: string[][] = [[], []];
  await kv.subscribe(name, (text) => void exact?.push(text));
  // The bus may still bring messages of the channel of the test before: the pattern matches none but this one.
  await kv.psubscribe(`${name}*`, (text) => void matching?.push(text));
  for (const { host, port } of cluster().nodes) {
    const other = new Redis({ host, port });
    defer(() => other.disconnect());
    await other.publish(name, `${port}`);
  }
  const expected = cluster()
    .nodes.map(({ port }) => `${port}`)
    .sort();
  await eventually(() => exact?.length === expected.length && matching?.length === expected.length);
  assert.deepEqual([exact?.sort(), matching?.sort()], [expected, expected]);
});

test("channels of all nodes are heard, and left", async ({ open }) => {
  const [kv, publisher]: KVStore[] = [await open(cluster(), timeouts), await open(cluster(), timeouts)];
  assert.ok(kv && publisher);
  const names = [0, 1, 2].map((shard) => keyIn(shareOf(shard, 3)[0] + 20, "everywhere"));
  const heard: string[] = [];
  for (const name of names) await kv.subscribe(name, (text, from) => void heard.push(`${from} ${text}`));
  for (const name of names) assert.equal(await publisher.publish(name, "1"), 1);
  await eventually(() => heard.length === names.length);
  assert.deepEqual(heard.sort(), names.map((name) => `${name} 1`).sort());
  await kv.unsubscribe(names[0] as string);
  await eventually(async () => (await publisher.publish(names[0] as string, "2")) === 0);
  assert.equal(await publisher.publish(names[1] as string, "2"), 1);
});

// The URL of a single server may lead to a node of a cluster. The store learns that late, and must confirm earlier subscriptions too.
test("what is subscribed before the first connection comes from the homes", async ({ defer }) => {
  const [first] = cluster().nodes;
  const kv = createRedisKV({ url: `redis://${first?.place}` });
  defer(() => kv.disconnect());
  const heard: string[] = [];
  const names = Array.from({ length: 6 }, (_, index) => `early:${index}`);
  await Promise.all(names.map((name) => kv.subscribe(name, (message) => heard.push(message))));
  for (const name of names) assert.equal(await kv.publish(name, name), 1);
  await eventually(() => heard.length === names.length);
});
