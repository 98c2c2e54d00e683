// Between processes an event may reach the wrong handler, come twice, or be lost without a gap. The instances share one Redis.
import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { publishEvent } from "covara-kv";
import { Redis } from "ioredis";
import { eventually } from "../backends.js";
import { startRedis } from "../redis-server.js";
import {
  EVENTS as CHANNEL,
  type Delivery,
  type Event,
  GAP,
  type Instance,
  PATIENT,
  random,
  server,
  subscribers,
  subscribingConnections,
  test,
  type World,
} from "./instances.js";

const INSTANCES = 4;
const HANDLERS = 1_000;
const EVENTS = 20_000;

/** A delivery, and its place among all deliveries of its instance. */
interface Placed extends Delivery {
  readonly instance: number;
  readonly place: number;
}

interface Sent {
  readonly publisher: number;
  readonly number: number;
}

/** The instances of a fleet, and the owner of each subscription. */
class Fleet {
  readonly instances: Instance[] = [];
  /** The instance and the handler of each subscription. */
  readonly owners = new Map<string, { instance: number; handler: string }>();
  readonly #random: () => number;
  #sent = 0;

  private constructor(seed: number) {
    this.#random = random(seed);
  }

  static async open(world: World, redis: { host: string; port: number }, seed: number): Promise<Fleet> {
    const fleet = new Fleet(seed);
    const opened = Array.from({ length: INSTANCES }, () => world.instance({ ...redis, ...PATIENT }));
    fleet.instances.push(...(await Promise.all(opened)));
    for (const [index, instance] of fleet.instances.entries()) {
      const handlers = Array.from({ length: HANDLERS }, (_, n) => fleet.#handler(index, n));
      await instance.do("registerAll", handlers);
    }
    return fleet;
  }

  #handler(instance: number, n: number): readonly [string, string[]] {
    const handler = `stream ${instance}.${n}`;
    const subscriptions = Array.from({ length: 1 + (n % 3) }, (_, m) => `${instance}.${n}.${m}:users`);
    for (const subscription of subscriptions) this.owners.set(subscription, { instance, handler });
    return [handler, subscriptions];
  }

  /** Makes events for random subscriptions, and deals them out to the instances that publish them. */
  events(count: number): (Event & { event: Sent })[][] {
    const subscriptions = [...this.owners.keys()];
    const ofInstance = this.instances.map((): (Event & { event: Sent })[] => []);
    for (let n = 0; n < count; n++) {
      const publisher = Math.floor(this.#random() * INSTANCES);
      const subscriptionId = subscriptions[Math.floor(this.#random() * subscriptions.length)] as string;
      ofInstance[publisher]?.push({ subscriptionId, event: { publisher, number: this.#sent++ } });
    }
    return ofInstance;
  }

  /** Each instance publishes its events. Resolves to the outcome of each event. */
  async publish(events: Event[][]): Promise<(boolean | string)[][]> {
    return Promise.all(this.instances.map((instance, n) => instance.do("publish", events[n] ?? [])));
  }

  sum(job: "published" | "delivered"): Promise<number> {
    const counts = Promise.all(this.instances.map((instance) => instance.do(job)));
    return counts.then((counts) => counts.reduce((sum, count) => sum + count, 0));
  }

  /** The deliveries since the last call, by subscription. Fails if one has not gone to the owner of its subscription. */
  async take(): Promise<Map<string, Placed[]>> {
    const deliveries = new Map([...this.owners.keys()].map((name): [string, Placed[]] => [name, []]));
    for (const [index, instance] of this.instances.entries()) {
      for (const [place, delivery] of (await instance.do("take")).entries()) {
        const { subscription, handler } = delivery;
        assert.deepEqual(this.owners.get(subscription), { instance: index, handler });
        deliveries.get(subscription)?.push({ ...delivery, instance: index, place });
      }
    }
    return deliveries;
  }
}

const publisherOf = (event: string): unknown => (JSON.parse(event) as Partial<Sent>).publisher;
const isGap = ({ event }: Delivery) => event === GAP;
const sentOf = (deliveries: readonly Delivery[]): Sent[] =>
  deliveries.filter((delivery) => !isGap(delivery)).map(({ event }) => JSON.parse(event));

/** Fails if an event is there twice, or if the events of one publisher are not in the order of publication. */
function assertOrdered(deliveries: readonly Delivery[]): void {
  const last = new Map<number, number>();
  for (const { publisher, number } of sentOf(deliveries)) {
    assert.ok(number > (last.get(publisher) ?? -1), `${number} of ${publisher} is late, or there twice`);
    last.set(publisher, number);
  }
}

/** Publishes events, and fails unless exactly these arrive. */
async function assertAllArrive(fleet: Fleet, count: number): Promise<void> {
  const events = fleet.events(count);
  const outcomes = await fleet.publish(events);
  assert.ok(outcomes.flat().every((outcome) => outcome === true));
  await eventually(async () => (await fleet.sum("delivered")) >= count);
  const deliveries = await fleet.take();
  for (const of of deliveries.values()) {
    assert.ok(!of.some(isGap));
    assertOrdered(of);
  }
  const numbers = (sent: readonly Sent[]) => sent.map(({ number }) => number).sort((a, b) => a - b);
  const expected = numbers(events.flat().map(({ event }) => event));
  assert.deepEqual(numbers([...deliveries.values()].flatMap(sentOf)), expected);
}

test("every event arrives at just its handler, once and in order", async (world) => {
  const fleet = await Fleet.open(world, server.address, 1);
  await eventually(async () => (await subscribers()).join() === `${INSTANCES},0`);
  assert.equal(await subscribingConnections(), INSTANCES);
  await assertAllArrive(fleet, EVENTS);
  const stats = await Promise.all(fleet.instances.map((instance) => instance.do("stats")));
  for (const { handlers, subscriptions, malformed, overflowed, gaps } of stats) {
    assert.deepEqual([handlers, subscriptions], [HANDLERS, fleet.owners.size / INSTANCES]);
    assert.deepEqual([malformed, overflowed, gaps], [0, 0, 0]);
  }
  const sum = (of: "delivered" | "notLocal" | "seen") =>
    stats.reduce((sum, instance) => sum + instance[of], 0);
  // An event whose handler is in the same instance is not published. Every instance receives all others.
  assert.equal(sum("delivered"), EVENTS);
  assert.equal(sum("seen") % INSTANCES, 0);
  assert.equal(sum("notLocal"), (sum("seen") / INSTANCES) * (INSTANCES - 1));
  assert.equal(await subscribingConnections(), INSTANCES);
});

test("a handler that is unregistered, and its subscriptions, get nothing more; the others do", async (world) => {
  const fleet = await Fleet.open(world, server.address, 2);
  await eventually(async () => (await subscribers())[0] === INSTANCES);
  await fleet.instances[0]?.do("unregister", "stream 0.1");
  const events = ["0.1.0:users", "0.2.0:users", "0.1.1:users"].map((subscriptionId) => ({
    subscriptionId,
    event: { publisher: 1, number: 0 },
  }));
  // The other instances are asked, as they may have the subscription.
  assert.deepEqual(await fleet.instances[1]?.do("publish", events), [true, true, true]);
  assert.deepEqual(await fleet.instances[0]?.do("publish", events.slice(0, 1)), [true]);
  await eventually(async () => (await fleet.sum("delivered")) > 0);
  const deliveries = [...(await fleet.take()).values()].flat();
  assert.deepEqual(
    deliveries.map(({ subscription }) => subscription),
    ["0.2.0:users"],
  );
});

// publishEvent waits while the channel is being subscribed. A call after the SUBSCRIBE, before the waiting calls are woken, overtakes them.
test("what a process publishes stays in order while its subscribing connection is lost", async (world) => {
  await world.start({ ...server.address, ...PATIENT });
  world.handler("stream", "here");
  const observer = world.client({ ...server.address, connectionName: "observer" });
  const seen: number[] = [];
  observer.on("message", (_, message) => seen.push(JSON.parse(message).event));
  await observer.subscribe(CHANNEL);
  await eventually(async () => (await subscribers())[0] === 2);
  const published: Promise<boolean>[] = [];
  for (let n = 0; n < 5_000; n++) {
    published.push(publishEvent({ type: "added", subscriptionId: "there", event: n }));
    await turn();
    if (n % 100 !== 50) continue;
    const others = (await server.clients()).filter(({ name, sub }) => name !== "observer" && sub !== "0");
    for (const { id } of others) await server.admin.client("KILL", "ID", id as string);
  }
  await Promise.all(published);
  await eventually(() => seen.length >= published.length);
  const late = seen.findIndex((n, index) => n !== index);
  assert.equal(late, -1, `after ${late - 1} came ${seen[late]}`);
});

test("Redis dies and comes back while publishing goes on: no handler stays stale", async (world) => {
  const redis = await startRedis();
  world.defer(() => redis.stop());
  const { host, port } = redis;
  const fleet = await Fleet.open(world, { host, port }, 3);
  const admin = new Redis({ host, port, retryStrategy: () => 50 });
  admin.on("error", () => {});
  world.defer(() => admin.disconnect());
  await eventually(async () => (await subscribers(admin))[0] === INSTANCES);

  const events = fleet.events(EVENTS);
  const start = Date.now();
  const published = fleet.publish(events);
  await eventually(async () => (await fleet.sum("published")) > EVENTS / 4);
  await redis.kill();
  assert.ok((await fleet.sum("published")) < EVENTS, "Redis was to die in the middle");
  const died = Date.now();
  await redis.restart();
  const outcomes = await published; // Each publish has settled.
  for (const outcome of outcomes.flat()) {
    assert.ok(typeof outcome === "boolean" || ["CONNECTION", "TIMEOUT"].includes(outcome), `${outcome}`);
  }
  assert.ok(outcomes.flat().includes("CONNECTION"), "Redis was to die while something was published");

  await eventually(async () =>
    (await Promise.all(fleet.instances.map((instance) => instance.do("stats")))).every(
      ({ gaps }) => gaps === 1,
    ),
  );
  await eventually(async () => (await subscribers(admin))[0] === INSTANCES);
  const before = await fleet.take();
  const all = [...before.values()].flat().sort((a, b) => a.place - b.place);
  let lost = 0;
  for (const [subscription, deliveries] of before) {
    // One connection has been lost, so each subscription is invalidated once.
    const invalidations = deliveries.filter(isGap);
    assert.equal(invalidations.length, 1, `${subscription} got ${invalidations.length}`);
    assert.ok((invalidations[0]?.at ?? 0) >= died);
    assertOrdered(deliveries);
  }
  for (const [publisher, sent] of events.entries()) {
    for (const [n, { subscriptionId, event }] of sent.entries()) {
      const deliveries = before.get(subscriptionId) ?? [];
      const arrived = sentOf(deliveries).filter(({ number }) => number === event.number).length;
      assert.ok(arrived <= 1);
      if (arrived === 1 || outcomes[publisher]?.[n] !== true) continue;
      lost += 1;
      assertToldOf(event, deliveries.find(isGap), all);
    }
  }
  console.log(`# ${lost} events were lost and invalidated instead, in ${Date.now() - start} ms`);
  await assertAllArrive(fleet, EVENTS / 10);
  assert.equal(await subscribingConnections(admin), INSTANCES);
});

/** Fails unless the invalidation came after the lost event: no later event of the same publisher may have come before it. */
function assertToldOf(lost: Sent, told: Placed | undefined, arrived: readonly Placed[]): void {
  assert.ok(told !== undefined, `${lost.number} is lost without a word`);
  const isLater = ({ instance, place, event }: Placed) =>
    instance === told.instance && place > told.place && publisherOf(event) === lost.publisher;
  const next = arrived.find(isLater);
  const number = next === undefined ? Number.POSITIVE_INFINITY : (JSON.parse(next.event) as Sent).number;
  assert.ok(number > lost.number, `${lost.number} is lost without a word`);
}
