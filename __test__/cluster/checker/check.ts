// The checker puts a client under load on a real cluster, causes random faults, and judges the outcome. A round takes up to a minute, on keys of its
// own.
import { setTimeout as wait } from "node:timers/promises";
import { eventually } from "../../eventually.js";
import { type ClusterOptions, keyIn, type RedisCluster, startCluster } from "../../redis-cluster.js";
import type { CheckedClient, ClientKind } from "./clients.js";
import { type Failover, judgeFailovers } from "./failovers.js";
import { doFaults, type Span } from "./faults.js";
import { type Heard, type Held, judge, noTally, type Scan, type Tally } from "./judge.js";
import { type Random, randomFrom } from "./random.js";
import { Load, type Stream, streamsOn } from "./workload.js";

export interface CheckOptions {
  readonly seconds: number;
  readonly seed: number;
  /** Whether masters are cut off too, which needs a network namespace. */
  readonly partitions: boolean;
}

export interface Report {
  readonly seed: number;
  readonly seconds: number;
  /** How often each was done. */
  readonly faults: Readonly<Record<string, number>>;
  readonly tally: Tally;
  /** The first findings, each with its call and the fault before it. */
  readonly examples: readonly string[];
  readonly failovers: readonly Failover[];
  /** How often calls failed with each error. Numbers in its text are replaced, so that equal errors count together. */
  readonly errors: Readonly<Record<string, number>>;
  /** The longest time of a call, in milliseconds. */
  readonly slowest: number;
  /** How late a timer of this process was at most, in milliseconds. */
  readonly lag: number;
}

const ROUND = 60;
const SHARDS = 3;
/** Keys that exist all the time, for SCAN: so many anywhere, and so many in each slot of a stream, as only those slots move. */
const STAYING = 300;
const STAYING_IN_SLOT = 2;
/** How long to wait at the end for calls without a deadline, for the last message of each channel, and until connections have ended. */
const TIMEOUT = 20_000;
const END = "end";

/** While one shard has no master, the others go on. */
const CLUSTER: ClusterOptions = { nodeTimeout: 500, config: { "cluster-require-full-coverage": "no" } };

export async function check(kind: ClientKind, { seconds, seed, partitions }: CheckOptions): Promise<Report> {
  const random = { faults: randomFrom(seed), load: randomFrom(~seed), streams: randomFrom(seed ^ 0x5eed) };
  await using cluster = await startCluster({ ...CLUSTER, addresses: partitions });
  const [faults, failovers, errors, tally]: [
    Record<string, number>,
    Failover[],
    Record<string, number>,
    Tally,
  ] = [{}, [], {}, noTally()];
  const examples: string[] = [];
  let [lag, slowest] = [0, 0];
  for (let done = 0; done < seconds; done += ROUND) {
    const length = Math.min(ROUND, seconds - done);
    const round = await new RoundOf(cluster, kind, `round${done}`, random, partitions)
      .run(length * 1_000)
      .catch((error: unknown) => {
        const before = JSON.stringify({ seed, done, tally, examples });
        throw new Error(`a round could not be held to its end; before: ${before}`, { cause: error });
      });
    for (const { kind } of round.faults) faults[kind] = (faults[kind] ?? 0) + 1;
    for (const [name, count] of Object.entries(round.tally)) tally[name as keyof Tally] += count;
    for (const [error, count] of Object.entries(round.errors)) errors[error] = (errors[error] ?? 0) + count;
    failovers.push(...round.failovers);
    examples.push(...round.examples);
    lag = Math.max(lag, round.lag);
    slowest = Math.max(slowest, round.slowest);
    for (const { node } of await cluster.masters()) await node.admin.flushall();
  }
  return { seed, seconds, faults, tally, examples, failovers, errors, slowest, lag };
}

class Subscriber {
  readonly numbers = new Map<string, number[]>();
  readonly gaps: Span[] = [];
  readonly #ended = new Set<string>();

  constructor(
    readonly subscriber: string,
    readonly channels: readonly string[],
  ) {
    for (const channel of channels) this.numbers.set(channel, []);
  }

  heard(channel: string, text: string): void {
    if (text === END) this.#ended.add(channel);
    else this.numbers.get(channel)?.push(Number(text));
  }

  gap(from: number, to: number): void {
    this.gaps.push({ from, to });
  }

  /** Whether the last message of each channel has come. */
  get isUpToDate(): boolean {
    return this.#ended.size === this.channels.length;
  }
}

class RoundOf {
  readonly #streams: Stream[];
  /** Where faults are, also those of the streams that the client has not. */
  readonly #slots: readonly number[];
  readonly #subscribers: Subscriber[];
  readonly #staying: string[];

  constructor(
    readonly cluster: RedisCluster,
    readonly kind: ClientKind,
    readonly name: string,
    /** A generator each. The calls of a client must not change the faults, which are the same for all clients. */
    readonly random: { readonly faults: Random; readonly load: Random; readonly streams: Random },
    readonly partitions: boolean,
  ) {
    const streams = streamsOn(SHARDS, name, random.streams);
    this.#slots = streams.map(({ slot }) => slot);
    this.#streams = streams.filter((stream) => stream.kind !== "event" || kind.hasEvents === true);
    const channels = this.#streams.filter(isPublished).map(({ keys }) => keys[0]);
    this.#subscribers = ["the publisher", "another store"].map((name) => new Subscriber(name, channels));
    const numbered = (prefix: string, length: number) =>
      Array.from({ length }, (_, index) => `${prefix}:${index}`);
    const moving = [...new Set(this.#slots)].map((slot) => keyIn(slot, `${name}:stay`));
    this.#staying = [
      ...numbered(`${name}:stay`, STAYING),
      ...moving.flatMap((prefix) => numbered(prefix, STAYING_IN_SLOT)),
    ];
  }

  async run(milliseconds: number) {
    const clients: CheckedClient[] = [];
    for (const subscriber of this.#subscribers)
      clients.push(await this.kind.open(this.cluster.addresses, listening(subscriber)));
    try {
      return await this.#run(clients, milliseconds);
    } finally {
      await this.cluster.heal();
      for (const client of clients) await client.close();
    }
  }

  /** The first client has the load. All of them subscribe. */
  async #run(clients: readonly CheckedClient[], milliseconds: number) {
    const client = clients[0] as CheckedClient;
    await Promise.all(this.#staying.map((key) => client.set(key, "1")));
    const load = new Load(client, this.#streams, this.random.load);
    const scans = new Scans(client, `${this.name}:stay:*`, this.#staying.length);
    const end = Date.now() + milliseconds;
    await wait(1_500); // What it does without faults.
    const connections = await this.#connections();
    const options = { partitions: this.partitions, slots: this.#slots };
    const faults = await doFaults(this.cluster, this.random.faults, options, () => Date.now() > end);
    scans.stop();
    const unsettled = await load.stop(this.kind.deadline ?? TIMEOUT);
    await this.#lastMessages(client);
    const heard: Heard[] = this.#subscribers.map(({ subscriber, numbers, gaps }) => ({
      subscriber,
      numbers,
      gaps,
    }));
    const leftOpen = await this.#leftOpen(connections);
    const { deadline } = this.kind;
    const { tally, examples } = judge({
      streams: this.#streams,
      faults,
      held: await this.#held(),
      heard,
      scans: scans.done,
      deadline: deadline === undefined ? undefined : deadline + load.lag,
      unsettled,
      unanswered: await unansweredOf(clients),
      leftOpen,
      lag: load.lag,
    });
    const failovers = judgeFailovers(this.#streams, faults, scans.done);
    return {
      faults,
      tally,
      examples,
      failovers,
      errors: errorsOf(this.#streams),
      slowest: slowestOf(this.#streams),
      lag: load.lag,
    };
  }

  /** Publishes a last message on each channel until it is heard. A message that is missing then will not come. */
  async #lastMessages(client: CheckedClient): Promise<void> {
    const deadline = Date.now() + TIMEOUT;
    while (this.#subscribers.some(({ isUpToDate }) => !isUpToDate) && Date.now() < deadline) {
      for (const channel of this.#subscribers[0]?.channels ?? [])
        client.publish(channel, END).catch(() => {});
      await wait(100);
    }
  }

  /** How many connections are open at all nodes, beside those between nodes. */
  async #connections(): Promise<number> {
    const lists = await Promise.all(this.cluster.running.map(({ admin }) => admin.call("CLIENT", "LIST")));
    return lists.flatMap((list) => String(list).match(/ flags=[^SM ]+ /g) ?? []).length;
  }

  async #leftOpen(before: number): Promise<number> {
    const deadline = Date.now() + TIMEOUT;
    for (;;) {
      const left = (await this.#connections()) - before;
      if (left <= 0 || Date.now() > deadline) return Math.max(0, left);
      await wait(100);
    }
  }

  async #held(): Promise<Held> {
    const held = new Map<string, readonly string[]>();
    for (const stream of this.#streams) {
      if (isPublished(stream)) continue;
      const { kind, keys } = stream;
      for (const key of keys) {
        const { admin } = await this.cluster.masterOf(key);
        const isList = kind === "list" || kind === "pair";
        const texts = isList ? await admin.lrange(key, 0, -1) : [await admin.get(key)];
        held.set(
          key,
          texts.filter((text) => text !== null),
        );
      }
    }
    return held;
  }
}

const listening = (subscriber: Subscriber) => ({
  channels: subscriber.channels,
  heard: (channel: string, text: string) => subscriber.heard(channel, text),
  gap: (from: number, to: number) => subscriber.gap(from, to),
});

/** Scans that follow each other until they are stopped. */
class Scans {
  #stopped = false;
  readonly done: Scan[] = [];

  constructor(client: CheckedClient, match: string, expected: number) {
    this.#repeat(client, match, expected);
  }

  async #repeat(client: CheckedClient, match: string, expected: number): Promise<void> {
    while (!this.#stopped && client.scan !== undefined) {
      const from = Date.now();
      const missing = await client.scan(match).then(
        (keys) => expected - new Set(keys).size,
        () => undefined,
      );
      this.done.push({ from, to: Date.now(), missing });
      await wait(50);
    }
  }

  stop(): void {
    this.#stopped = true;
  }
}

const isPublished = ({ kind }: Stream) => kind === "channel" || kind === "event";

const callsOf = (streams: readonly Stream[]) => streams.flatMap(({ calls, reads }) => [...calls, ...reads]);

const slowestOf = (streams: readonly Stream[]) =>
  callsOf(streams).reduce((slowest, { start, end }) => Math.max(slowest, end - start || 0), 0);

/** In the end, that is once what the clients ask of their own accord is answered too. */
async function unansweredOf(clients: readonly CheckedClient[]): Promise<number> {
  let sum = 0;
  const isNone = async () => {
    const counts = await Promise.all(clients.map((client) => client.unanswered?.()));
    sum = counts.reduce<number>((all, count = 0) => all + count, 0);
    return sum === 0;
  };
  await eventually(isNone).catch(() => {});
  return sum;
}

function errorsOf(streams: readonly Stream[]): Record<string, number> {
  const errors: Record<string, number> = {};
  for (const { error } of callsOf(streams)) {
    if (error === undefined) continue;
    const words = error.replaceAll(/\d+/g, "n").slice(0, 160);
    errors[words] = (errors[words] ?? 0) + 1;
  }
  return errors;
}
