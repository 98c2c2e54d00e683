// Events of the framework's streams. The publishing script must run at the master of the channel's slot. At another node it finds no subscribers, so
// events go to all instances.
import assert from "node:assert/strict";
import { connect } from "node:net";
import { Transform } from "node:stream";
import type { KVStore } from "covara-kv";
import { eventually } from "../eventually.js";
import { emissions } from "../faults/faults.js";
import {
  channelOf,
  close,
  EVENTS,
  eventsOf,
  hear,
  newId,
  open as openStream,
  wire,
} from "../framework/events.js";
import { type ClusterNode, slotOf } from "../redis-cluster.js";
import { software } from "../redis-server.js";
import { listen } from "../sockets.js";
import { sharedCluster, test, type World } from "./shared.js";

const cluster = sharedCluster({ nodeTimeout: 500, config: { "cluster-require-full-coverage": "no" } });

const timeouts = { commandTimeout: 1_500, queueTimeout: 8_000 } as const;
const hasShards = software().version[0] >= 7;
const NUMSUB = hasShards ? "SHARDNUMSUB" : "NUMSUB";
const numbers = (count: number) => Array.from({ length: count }, (_, index) => index);

/** What a store does for publishEvent and for the doctor. */
interface Internal {
  publishEvent(message: string): Promise<{ receivers: number; isTargeted: boolean }>;
  readonly fanout: { readonly publishes: string };
}
const internal = (kv: KVStore) => kv as unknown as Internal;

async function homeOf(id: string): Promise<ClusterNode> {
  return cluster().masterOf(channelOf(id));
}

/** How many subscribe the own channel of a subscription at its home. */
async function subscribers(id: string, command = NUMSUB): Promise<number> {
  const home = await homeOf(id);
  return Number(((await home.admin.call("PUBSUB", command, channelOf(id))) as unknown[])[1]);
}

/** Resolves once all these own channels have so many subscribers. */
const live = (ids: readonly string[], count = 1, command = NUMSUB) =>
  eventually(async () =>
    (await Promise.all(ids.map((id) => subscribers(id, command)))).every((found) => found === count),
  );

/** A subscription whose own channel has another home than that of the fleet. */
async function awayFromFleet(): Promise<string> {
  const fleet = await cluster().masterOf(EVENTS);
  for (;;) {
    const id = newId();
    if ((await homeOf(id)) !== fleet) return id;
  }
}

async function calls(node: ClusterNode): Promise<number> {
  const stats = await node.info("commandstats");
  const of = (name: string) => Number(/calls=(\d+)/.exec(stats.get(`cmdstat_${name}`) ?? "")?.[1] ?? 0);
  return of("eval") + of("evalsha");
}

test("own channels are at all nodes, and each event is published at that of its channel, and goes to its process alone", async ({
  open,
}) => {
  const [kv, publisher] = [await open(cluster(), timeouts, "app"), await open(cluster(), timeouts, "other")];
  const fleet: string[] = [];
  const plain = await open(cluster(), { ...timeouts, fanout: "all" });
  await plain.subscribe(EVENTS, (message) => void fleet.push(JSON.parse(message).event));
  const heard = await hear(kv);
  const ids = await Promise.all(numbers(30).map(() => openStream(kv)));
  await live(ids);
  const masters = (await cluster().masters()).map(({ node }) => node);
  const before = await Promise.all(masters.map(calls));
  for (const id of ids) assert.equal(await publisher.publish(EVENTS, wire(id, "own")), 1);
  const homes = await Promise.all(ids.map(homeOf));
  for (const [index, node] of masters.entries()) {
    const expected = homes.filter((home) => home === node).length;
    assert.ok(expected > 0);
    assert.equal((await calls(node)) - (before[index] ?? 0), expected);
  }
  await eventually(() => heard.length === ids.length);
  assert.deepEqual(fleet, []);
  // Of no process: counted where the fleet listens.
  assert.equal(await publisher.publish(EVENTS, wire(newId(), "far")), 1);
  await eventually(() => fleet.length === 1);
  assert.deepEqual(await internal(publisher).publishEvent(wire(newId(), "far")), {
    receivers: 1,
    isTargeted: false,
  });
  await close(kv, ids[0] as string);
  await live(ids.slice(0, 1), 0);
  assert.deepEqual(await internal(publisher).publishEvent(wire(ids[0] as string, "closed")), {
    receivers: 1,
    isTargeted: false,
  });
});

test("a burst of events of one subscription comes in order, by few scripts", async ({ open }) => {
  const [kv, publisher] = [await open(cluster(), timeouts), await open(cluster(), timeouts)];
  const heard = await hear(kv);
  const id = await openStream(kv);
  await live([id]);
  const before = await calls(await homeOf(id));
  const sent = numbers(1_000);
  const counts = await Promise.all(sent.map((number) => publisher.publish(EVENTS, wire(id, number))));
  assert.deepEqual(new Set(counts), new Set([1]));
  await eventually(() => heard.length === sent.length);
  assert.deepEqual(eventsOf(heard), sent);
  const scripts = (await calls(await homeOf(id))) - before;
  assert.ok(scripts <= 11, `${scripts} scripts`);
});

/** A subscriber's way to a node, on which messages can be held. */
async function lateWay(node: ClusterNode, defer: World["defer"]) {
  const held: (() => void)[] = [];
  let holds = false;
  const proxy = await listen((socket) => {
    const upstream = connect({ host: node.host, port: node.port });
    const gate = new Transform({
      transform(chunk, _, done) {
        const pass = () => done(null, chunk);
        if (holds && String(chunk).includes("message")) held.push(pass);
        else pass();
      },
    });
    socket.pipe(upstream).pipe(gate).pipe(socket);
    // What the node has sent before it closes is still to come.
    upstream.on("error", () => gate.end());
    gate.on("error", () => socket.destroy());
    socket.on("close", () => upstream.destroy());
  });
  defer(() => proxy[Symbol.asyncDispose]());
  return {
    held,
    hold() {
      holds = true;
    },
    release() {
      holds = false;
      for (const pass of held) pass();
    },
    config: {
      ...timeouts,
      cluster: {
        nodes: cluster().addresses,
        addressMap: { [node.place]: { host: "127.0.0.1", port: proxy.port } },
      },
    },
  };
}

// The fleet's channel and the own one come by different connections. A later event must not overtake an earlier one.
test("a publisher changes from the fleet's channel to the own one: no event overtakes another, however late the fleet's come", async ({
  open,
  defer,
}) => {
  const way = await lateWay(await cluster().masterOf(EVENTS), defer);
  const kv = await open(cluster(), way.config);
  const publisher = await open(cluster(), timeouts);
  const gaps = emissions(kv, "gap");
  const heard = await hear(kv);
  const id = await openStream(kv, await awayFromFleet());
  await live([id]);
  await close(kv, id);
  await live([id], 0);
  way.hold();
  const first = publisher.publish(EVENTS, wire(id, 1));
  assert.equal(await first, 1);
  await eventually(() => way.held.length > 0);
  await openStream(kv, id);
  await live([id]);
  // Until the publisher has forgotten that there is no subscriber.
  let number = 1;
  await eventually(async () => {
    await publisher.publish(EVENTS, wire(id, ++number));
    return number > 20 && (await calls(await homeOf(id))) > 0 && (await isOwn());
  }, 50);
  async function isOwn() {
    return (await internal(publisher).publishEvent(wire(id, ++number))).isTargeted;
  }
  assert.deepEqual(heard, []);
  way.release();
  await eventually(() => heard.length === number);
  assert.deepEqual(
    eventsOf(heard),
    numbers(number).map((index) => index + 1),
  );
  assert.deepEqual(gaps, []);
});

test("a publisher changes from the own channel to the fleet's: no event overtakes another, however late the own ones come", async ({
  open,
  defer,
}) => {
  const publisher = await open(cluster(), timeouts);
  const id = await awayFromFleet();
  const way = await lateWay(await homeOf(id), defer);
  const kv = await open(cluster(), way.config);
  const heard = await hear(kv);
  await openStream(kv, id);
  await live([id]);
  const behind = `behind {${EVENTS}}`;
  let isRead = false;
  await kv.subscribe(behind, () => {
    isRead = true;
  });
  way.hold();
  await eventually(async () => {
    const { isTargeted } = await internal(publisher).publishEvent(wire(id, "own"));
    return isTargeted;
  });
  await eventually(() => way.held.length > 0);
  // The node has closed the connection, and its last event is still on its way.
  await (await homeOf(id)).killClients("pubsub");
  assert.deepEqual(await internal(publisher).publishEvent(wire(id, "fleet")), {
    receivers: 1,
    isTargeted: false,
  });
  // It comes by the connection of the fleet's channel, behind the event.
  await publisher.publish(behind, "");
  await eventually(() => isRead);
  assert.ok(!eventsOf(heard, id).includes("fleet"), "it waits for the own one");
  way.release();
  await eventually(() => eventsOf(heard, id).includes("fleet"));
  const events = eventsOf(heard, id).filter((event) => typeof event === "string");
  assert.deepEqual(events.slice(-2), ["own", "fleet"]);
});

test("events that are under way while streams' channels come are heard once and in order", async ({
  open,
}) => {
  const kv = await open(cluster(), timeouts);
  const publishers = [await open(cluster(), timeouts), await open(cluster(), timeouts)];
  const gaps = emissions(kv, "gap");
  const heard = await hear(kv);
  const EACH = 40;
  const ids: string[] = [];
  for (let stream = 0; stream < 60; stream++) {
    const id = newId();
    ids.push(id);
    await openStream(kv, id);
    await Promise.all(
      publishers.map(async (publisher, who) => {
        for (let i = 0; i < EACH; i++) {
          const receivers = publisher.publish(EVENTS, wire(id, [who, i]));
          if ((i + who) % 8 === 0) await receivers;
        }
      }),
    );
  }
  await eventually(() => heard.length >= publishers.length * ids.length * EACH);
  for (const id of ids)
    for (const who of publishers.keys()) {
      const events = (eventsOf(heard, id) as [number, number][]).filter(([by]) => by === who);
      assert.deepEqual(
        events.map(([, i]) => i),
        numbers(EACH),
      );
    }
  assert.deepEqual(gaps, []);
});

// Each batch would wait for its own time, one after the other: the last of 2,000 events for 12 s here, with as many more behind it.
test("the home of an own channel is away: what waits behind an event without an answer fails with it", async ({
  open,
}) => {
  const limits = { connectTimeout: 300, commandTimeout: 300, queueTimeout: 300 };
  const publisher = await open(cluster(), limits);
  const id = await awayFromFleet();
  const home = await homeOf(id);
  for (const node of [home, ...(await cluster().replicasOf(home))]) node.pause();
  const outcomes = await Promise.allSettled(
    numbers(2_000).map((number) => publisher.publish(EVENTS, wire(id, number))),
  );
  const reasons = outcomes.map((outcome) => (outcome as PromiseRejectedResult).reason);
  assert.ok(reasons.every(({ code }) => code === "TIMEOUT"));
  const behind = reasons.filter(({ message }) => message.includes("behind others"));
  assert.ok(behind.length >= 1_700, `${behind.length} did not wait for a batch of their own`);
  assert.equal(behind[0].reason, "queue-timeout");
});

// By two commands an event comes twice while its own channel moves: PUBLISH at the new home counts nobody, and the bus brings it to the old one.
test("a user without a right to the key publishes on the fleet's channel, and each event comes once", async ({
  open,
}) => {
  for (const { admin } of cluster().nodes)
    await admin.call("ACL", "SETUSER", "keyless", "on", "nopass", "~app:*", "&*", "+@all");
  const kv = await open(cluster(), timeouts);
  const publisher = await open(cluster(), { ...timeouts, username: "keyless", password: "any" }, "app");
  const heard = await hear(kv);
  const id = await openStream(kv);
  await live([id]);
  for (const number of numbers(20)) assert.equal(await publisher.publish(EVENTS, wire(id, number)), 1);
  await eventually(() => heard.length === 20);
  assert.deepEqual(eventsOf(heard), numbers(20));
  assert.equal(internal(publisher).fanout.publishes, "fleet");
});

// Redis 6.2 has no shard channels, and answers as to any command that there is not.
test("where shard channels are refused, those of subscriptions are plain ones, at the same homes", async ({
  open,
}) => {
  for (const { admin } of cluster().nodes)
    await admin.call(
      "ACL",
      "SETUSER",
      "plain",
      "on",
      "nopass",
      "~*",
      "&*",
      "+@all",
      ...(hasShards ? ["-ssubscribe"] : []),
    );
  const kv = await open(cluster(), { ...timeouts, username: "plain", password: "any" });
  const publisher = await open(cluster(), timeouts);
  const errors = emissions(kv, "error");
  const heard = await hear(kv);
  const ids = await Promise.all(numbers(20).map(() => openStream(kv)));
  await live(ids, 1, "NUMSUB");
  for (const id of ids)
    assert.deepEqual(await internal(publisher).publishEvent(wire(id, id)), {
      receivers: 1,
      isTargeted: true,
    });
  await eventually(() => heard.length === ids.length);
  for (const id of ids) await close(kv, id);
  await live(ids, 0, "NUMSUB");
  assert.deepEqual(errors, []);
});

for (const [trouble, make] of Object.entries<(id: string) => Promise<unknown>>({
  "becomes a replica": (id) => cluster().failover(channelOf(id)),
  async "gives its slot away"(id) {
    const { to } = await cluster().mastersFor(channelOf(id));
    await (await cluster().migrate(slotOf(channelOf(id)), to)).finish();
  },
})) {
  test(`the home of an own channel ${trouble}: events go on, each once and in order or within a gap, and its client reads again`, async ({
    open,
    every,
  }) => {
    const [kv, publisher] = [await open(cluster(), timeouts), await open(cluster(), timeouts)];
    const heard = await hear(kv);
    const id = await openStream(kv, await awayFromFleet());
    await live([id]);
    const gaps = emissions(kv, "gap");
    const before = await homeOf(id);
    const published: { number: number; at: number }[] = [];
    let number = 0;
    const publish = async () => {
      const at = Date.now();
      const mine = number++;
      await publisher.publish(EVENTS, wire(id, mine)).then(
        () => published.push({ number: mine, at }),
        () => {},
      );
    };
    const stop = every(3, publish);
    const flows = async () => {
      const from = number;
      await eventually(() => eventsOf(heard).some((event) => typeof event === "number" && event > from));
    };
    await flows();
    await make(id);
    await eventually(async () => (await homeOf(id)) !== before && (await subscribers(id)) === 1);
    await flows();
    stop();
    await eventually(() => gaps.length > 0);
    await eventually(() => eventsOf(heard).some((event) => typeof event === "object"));
    const numbersHeard = eventsOf(heard).filter((event) => typeof event === "number") as number[];
    assert.deepEqual(
      numbersHeard,
      [...new Set(numbersHeard)].sort((a, b) => a - b),
    );
    const came = new Set(numbersHeard);
    await eventually(() => {
      for (const event of eventsOf(heard)) if (typeof event === "number") came.add(event);
      const missing = published.filter(
        ({ number, at }) =>
          !came.has(number) && !gaps.some(({ from, to }) => from <= at + 100 && to >= at - 100),
      );
      return missing.length === 0;
    });
    await close(kv, id);
  });
}
