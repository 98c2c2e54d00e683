// Instances of several kinds serve each other's streams. In some order of starting, or when Redis or one of them is killed, a stream may
// miss events.
import assert from "node:assert/strict";
import { setTimeout as wait } from "node:timers/promises";
import { eventually } from "../backends.js";
import { random } from "../fanout/instances.js";
import { SLACK, test, type World } from "../faults/faults.js";
import type { RedisServer } from "../redis-server.js";
import { type AppOptions, Instance, type Stream } from "./instances.js";

const MUTATIONS = process.env.FAULTS_LONG === "1" ? 20_000 : 2_000;

const WAYS = {
  plain: { kind: "module", way: "plain" },
  all: { kind: "module", way: "register", env: { COVARA_KV_FANOUT: "all" } },
  filtered: { kind: "commonjs", way: "register", env: { COVARA_KV_FANOUT: "filtered" } },
  targeted: { kind: "module", way: "register" },
  set: { kind: "commonjs", way: "setGlobalKV" },
} as const satisfies Record<string, Omit<AppOptions, "redis">>;

type Way = keyof typeof WAYS;

async function start(world: World, { host, port }: RedisServer, way: Way, redis = {}): Promise<Instance> {
  const instance = await Instance.start({ ...WAYS[way], redis: { host, port, ...redis } });
  world.defer(() => instance.kill());
  return instance;
}

/** A stream with a subscription. Resolves once it is served, and rejects if the subscription is refused. */
async function opened(instance: Instance, resource: string): Promise<Stream> {
  const stream = await instance.stream();
  const { code } = await instance.post("/subscriptions", { handlerId: stream.handlerId, resource });
  if (code === undefined) return stream;
  stream.close();
  throw new Error(code);
}

const mutate = (instance: Instance, resource: string, object: unknown) =>
  instance.post("/mutations", { resource, object });

const objectsOf = ({ events }: Stream) =>
  events.flatMap(({ object }) => (object === undefined ? [] : [object]));

for (const [order, stages] of [
  ["upgraded", ["plain", "plain", "all", "filtered", "targeted", "set"]],
  ["rolled back", ["set", "targeted", "filtered", "all", "plain", "plain"]],
] as const) {
  test(`a fleet is ${order} one instance after the other: every stream has every event once, in order`, async (world) => {
    const server = await world.redis();
    const fleet: { instance: Instance; stream: Stream; from: number }[] = [];
    let sent = 0;
    for (const way of stages) {
      const instance = await start(world, server, way);
      const stream = await opened(instance, "posts");
      world.defer(() => stream.close());
      // The first stream of an instance starts the subscription of the channel, and does not wait for it.
      for (const { instance: other } of [...fleet, { instance }]) {
        await eventually(async () => {
          await mutate(other, "posts", "ready?");
          return objectsOf(stream).includes("ready?");
        });
      }
      fleet.push({ instance, stream, from: sent });
      const numbersOf = (one: Stream) => objectsOf(one).filter((object) => object !== "ready?");
      for (const { instance: mutating } of fleet) {
        for (let round = 0; round < 5; round++) await mutate(mutating, "posts", sent++);
        // An instance tells its own streams at once. On a busy machine that overtakes what another has told before, and is still on its
        // way.
        for (const { stream: one } of fleet) await eventually(() => numbersOf(one).at(-1) === sent - 1);
      }
      for (const { stream: one, from } of fleet) {
        assert.deepEqual(
          numbersOf(one),
          Array.from({ length: sent - from }, (_, index) => from + index),
        );
      }
      // Two instances stay, as in a rolling update.
      if (fleet.length > 2) await fleet.shift()?.instance.kill();
    }
  });
}

/** How long Redis is away: streams come and go meanwhile. */
const OUTAGE_MS = 700;

const TIMEOUTS = { commandTimeout: 2_000, queueTimeout: 3_000, retryDelay: 50 };

/** The outcome of a mutation. */
interface Mutation {
  readonly object: string;
  readonly resource: string;
  /** In ms, on the clock of the events' times. */
  readonly began: number;
  readonly answered: number;
  readonly succeeded: boolean;
}

/** A stream, and the times between which it is served. */
interface Served {
  readonly way: Way;
  readonly stream: Stream;
  readonly resource: string;
  readonly from: number;
  to: number;
}

test(`${MUTATIONS} mutations on four processes while streams come and go, Redis is killed twice and one process once`, async (world) => {
  // Writes outlive the server's process.
  const server = await world.redis({ appendonly: "yes", appendfsync: "no" });
  const next = random(1);
  const pick = <T>(items: readonly T[]) => items[Math.floor(next() * items.length)] as T;
  const resources = ["posts", "users", "files"];
  const ways: Way[] = ["targeted", "set", "targeted", "plain"];
  const fleet = await Promise.all(ways.map((way) => start(world, server, way, TIMEOUTS)));
  const served: Served[] = [];
  const mutations: Mutation[] = [];
  let slowest = 0;
  let isOver = false;

  const serve = async (index: number, resource: string): Promise<Served> => {
    const stream = await opened(fleet[index] as Instance, resource);
    const one = { way: ways[index] as Way, stream, resource, from: performance.now(), to: Infinity };
    served.push(one);
    return one;
  };
  /** A stream that stays, so that the channel is subscribed for all later streams of the instance. Resolves once it hears. */
  const anchor = async (index: number) => {
    const { stream } = await serve(index, "anchors");
    const other = fleet[(index + 1) % fleet.length] as Instance;
    await eventually(async () => {
      await mutate(other, "anchors", "ready?");
      return objectsOf(stream).includes("ready?");
    });
    stream.events.length = 0;
  };
  /** Resolves once each stream that is open has heard a last mutation of each instance, and so what came before. */
  const allHeard = async () => {
    const lastOf = (index: number) => `last:${index}`;
    for (const [index, instance] of fleet.entries()) {
      for (const resource of [...resources, "anchors"]) await mutate(instance, resource, lastOf(index));
    }
    const isOpen = ({ to }: Served) => to === Infinity;
    await eventually(() =>
      served
        .filter(isOpen)
        .every(({ stream }) => fleet.every((_, index) => objectsOf(stream).includes(lastOf(index)))),
    );
  };
  for (const index of fleet.keys()) await anchor(index);

  const comeAndGo = async () => {
    for (;;) {
      const one = await serve(Math.floor(next() * fleet.length), pick(resources)).catch(() => undefined);
      await wait(50 + next() * 1_000);
      if (isOver) return; // The last streams stay.
      if (one === undefined) continue;
      one.to = Math.min(one.to, performance.now());
      one.stream.close();
    }
  };
  let left = MUTATIONS;
  // A test that has failed leaves no loop running.
  world.defer(() => {
    isOver = true;
    left = 0;
  });
  const mutateAll = async (index: number) => {
    for (let count = 0; left > 0; count++) {
      left -= 1;
      const [object, resource, began] = [`${index}:${count}`, pick(resources), performance.now()];
      // A killed process sends no answer.
      const answer = await mutate(fleet[index] as Instance, resource, object).catch(() => ({ code: "GONE" }));
      const answered = performance.now();
      if (ways[index] !== "plain") slowest = Math.max(slowest, answered - began);
      mutations.push({ object, resource, began, answered, succeeded: answer.code === undefined });
      if (answer.code !== undefined) await wait(20);
    }
  };
  const streams = Array.from({ length: 12 }, comeAndGo);
  const mutating = fleet.map((_, index) => mutateAll(index));

  const isDone = async (share: number) => {
    while (left > MUTATIONS * (1 - share)) await wait(5); // For longer than `eventually` waits.
  };
  await isDone(0.25);
  await server.kill();
  await wait(OUTAGE_MS);
  await server.restart();
  await isDone(0.5);
  const killed = 2;
  const gone = served.filter(({ stream }) => stream.owner === fleet[killed]);
  await fleet[killed]?.kill();
  for (const one of gone) one.to = Math.min(one.to, performance.now());
  fleet[killed] = await start(world, server, ways[killed] as Way, TIMEOUTS);
  await anchor(killed);
  await isDone(0.75);
  await server.kill();
  await wait(OUTAGE_MS);
  await server.restart();
  await Promise.all(mutating);
  isOver = true;
  await Promise.all(streams);
  await allHeard();

  for (const { ended } of fleet) assert.equal(ended, undefined);
  assert.ok(slowest < TIMEOUTS.queueTimeout + SLACK, `a write was answered after ${slowest} ms`);
  const failed = mutations.filter(({ succeeded }) => !succeeded).length;
  assert.ok(failed < MUTATIONS / 10, `${failed} of ${mutations.length} mutations failed`);
  for (const one of served) check(one, mutations);
  const told = served.filter(({ stream }) => stream.events.some(({ type }) => type === "invalidate"));
  assert.ok(told.length > 0, "nobody was told of a gap");
}, 600_000);

/** Fails unless every event has come once and in order, or the stream has been told later to read again. */
function check({ way, stream, resource, from, to }: Served, mutations: readonly Mutation[]): void {
  const heard = objectsOf(stream) as string[];
  // ioredis sends a command again if its reply is lost, also PUBLISH. So its events may come twice.
  const ofOurs = heard.filter((object) => /^[012]:/.test(object));
  assert.equal(new Set(ofOurs).size, ofOurs.length, `twice: ${way} ${ofOurs}`);
  for (const by of ["0", "1", "2"]) {
    const numbers = ofOurs
      .filter((object) => object.startsWith(`${by}:`))
      .map((object) => Number(object.slice(2)));
    assert.deepEqual(
      numbers,
      [...numbers].sort((a, b) => a - b),
      `out of order: ${way}`,
    );
  }
  // With ioredis a stream is told of no gap, so it may miss events.
  if (way === "plain") return;
  const told = Math.max(0, ...stream.events.filter(({ type }) => type === "invalidate").map(({ at }) => at));
  const has = new Set(heard);
  const missed = mutations.filter(
    ({ object, resource: of, began, answered, succeeded }) =>
      of === resource &&
      succeeded &&
      began > Math.max(from, told) &&
      // On a busy machine a mutation may take longer than its stream stays.
      answered < to - 1_000 &&
      !has.has(object),
  );
  assert.deepEqual(missed, [], `missed: ${way}, told at ${told}, served from ${from} to ${to}`);
}
