// A store whose master moves, by planned and unplanned failovers, may write to the old one or hear nothing. Real servers and Sentinels.
import assert from "node:assert/strict";
import { setTimeout as wait } from "node:timers/promises";
import { createKV, type Gap, KVError, type KVStore, type RedisConfig } from "covara-kv";
import { eventually } from "../backends.js";
import type { RedisServer } from "../redis-server.js";
import { type SentinelOptions, type SentinelSet, startSentinels } from "../sentinel.js";
import { emissions, test, type World } from "./faults.js";

/** For how long an old master may acknowledge writes that are lost, in ms. */
const LOST_MS = 700;
const LIST = "written";
const CHANNEL = "published";

async function withSentinels({ defer }: World, options?: SentinelOptions): Promise<SentinelSet> {
  const set = await startSentinels(options);
  defer(() => set.stop());
  return set;
}

async function openAt({ defer }: World, set: SentinelSet, config: RedisConfig = {}): Promise<KVStore> {
  const kv = await createKV({ type: "redis", redis: { sentinel: set.sentinel, ...config } });
  defer(() => kv.disconnect());
  return kv;
}

/** Resolves once all replicas have what the master has acknowledged so far: a replica that is still joining has none of it. */
async function passedOn(set: SentinelSet, master: RedisServer): Promise<void> {
  const admin = set.admin(master);
  await admin.incr("passed on");
  const replicas = set.servers.length - 1;
  await eventually(async () => (await admin.wait(replicas, 100)) === replicas);
}

/** Pushes growing numbers to a list, one each millisecond, without waiting for replies. */
class Writer {
  /** Each acknowledged number, and the time of its acknowledgement. */
  readonly acknowledged = new Map<number, number>();
  readonly failed = new Map<number, KVError>();
  slowest = 0;
  #next = 0;
  #stopped = false;
  readonly #calls: Promise<void>[] = [];
  readonly #done: Promise<void>;

  constructor(readonly kv: KVStore) {
    this.#done = this.#write();
  }

  async #write(): Promise<void> {
    while (!this.#stopped) {
      this.#calls.push(this.#push(this.#next++));
      await wait(1);
    }
  }

  async #push(number: number): Promise<void> {
    const called = performance.now();
    try {
      await this.kv.lpush(LIST, String(number));
      this.acknowledged.set(number, performance.now());
    } catch (error) {
      assert.ok(error instanceof KVError, String(error));
      this.failed.set(number, error);
    }
    this.slowest = Math.max(this.slowest, performance.now() - called);
  }

  /** Resolves once `count` more numbers have been acknowledged. */
  async goesOn(count = 200): Promise<void> {
    const enough = this.acknowledged.size + count;
    await eventually(() => this.acknowledged.size >= enough);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#done;
    await Promise.all(this.#calls);
  }

  /**
   * Fails if the master's list has a number twice, out of order, or reported as not run. Resolves to the acknowledged numbers that are
   * lost.
   */
  async check(set: SentinelSet): Promise<number[]> {
    await this.stop();
    const list = await set.admin(await set.master()).lrange(LIST, 0, -1);
    const written = list.map(Number).reverse();
    const disordered = written.filter((number, index) => index > 0 && number <= Number(written[index - 1]));
    assert.deepEqual(disordered, [], "written twice, or out of order");
    const present = new Set(written);
    for (const [number, { code, message }] of this.failed) {
      assert.ok(["CONNECTION", "TIMEOUT"].includes(code), message);
      if (/was not run|not sent/.test(message))
        assert.ok(!present.has(number), `${number} was run: ${message}`);
    }
    return [...this.acknowledged.keys()].filter((number) => !present.has(number));
  }

  /** Fails if these numbers were acknowledged over a longer time than an old master may take for it. */
  checkLost(lost: readonly number[]): void {
    const times = lost.map((number) => Number(this.acknowledged.get(number)));
    const duration = Math.max(...times) - Math.min(...times);
    assert.ok(lost.length === 0 || duration <= LOST_MS, `${lost.length} in ${duration} ms`);
  }
}

/** Publishes growing numbers on one store, and hears them on another. */
class Listening {
  readonly heard: number[] = [];
  /** Of each call that succeeded. The message is published between its start and its end, as it may wait for the new master. */
  readonly published = new Map<number, { start: number; end: number }>();
  #next = 0;
  #stopped = false;
  #done = Promise.resolve();

  constructor(
    readonly publisher: KVStore,
    readonly subscriber: KVStore,
    readonly gaps: Gap[],
  ) {}

  static async start(world: World, set: SentinelSet): Promise<Listening> {
    const [publisher, subscriber] = [await openAt(world, set), await openAt(world, set)];
    const listening = new Listening(publisher, subscriber, emissions(subscriber, "gap"));
    await subscriber.subscribe(CHANNEL, (message) => void listening.heard.push(Number(message)));
    listening.#done = listening.#publish();
    await eventually(() => listening.heard.length > 100);
    return listening;
  }

  async #publish(): Promise<void> {
    while (!this.#stopped) {
      const number = this.#next++;
      const start = Date.now();
      await this.publisher.publish(CHANNEL, String(number)).then(
        () => this.published.set(number, { start, end: Date.now() }),
        () => {},
      );
      await wait(1);
    }
  }

  /** Fails unless each message came once and in order, or is covered by a gap. */
  async check(): Promise<void> {
    // It is told later than messages come from the new master.
    await eventually(() => this.gaps.length > 0);
    const count = this.heard.length;
    await eventually(() => this.heard.length > count + 100);
    this.#stopped = true;
    await this.#done;
    const last = Number([...this.published.keys()].at(-1));
    await eventually(() => this.heard.at(-1) === last);
    const disordered = this.heard.filter(
      (number, index) => index > 0 && number <= Number(this.heard[index - 1]),
    );
    assert.deepEqual(disordered, [], "heard twice, or out of order");
    const heard = new Set(this.heard);
    for (const [number, { start, end }] of this.published) {
      const isCovered = this.gaps.some(({ from, to }) => from <= end + 1 && start <= to);
      const told = `${number} from ${start} to ${end}: ${JSON.stringify(this.gaps)}`;
      assert.ok(heard.has(number) || isCovered || number < Number(this.heard[0]), told);
    }
  }
}

// A planned failover can lose 10 seconds of acknowledged writes, while clients stay connected to the old master (redis #6062). It takes
// writes until it learns that it is a replica.
test("a planned failover loses no more than was on its way, keeps the order, and writes nothing twice", async (world) => {
  const set = await withSentinels(world);
  const kv = await openAt(world, set);
  const [reconnecting, ready] = [emissions(kv, "reconnecting"), emissions(kv, "ready")];
  const writer = new Writer(kv);
  await writer.goesOn();
  const from = await set.master();
  const to = await set.failover();
  await writer.goesOn(1_000);
  assert.notEqual(from.port, to.port);
  assert.deepEqual([reconnecting.length, ready.length], [1, 1]);
  const moved = new RegExp(`:${to.port} is the master in place of .*:${from.port}$`);
  assert.match(String(reconnecting[0]?.cause), moved);
  const lost = await writer.check(set);
  writer.checkLost(lost);
  assert.deepEqual([...writer.failed.values()], []);
  assert.ok(writer.slowest < 1_000, `${writer.slowest} ms`);
});

// A subscriber that stays connected to the old master gets no messages (go-redis #583).
test("a subscription moves with a planned failover, and a gap covers what was missed", async (world) => {
  const set = await withSentinels(world);
  const listening = await Listening.start(world, set);
  const before = Date.now();
  await set.failover();
  await eventually(() => listening.gaps.length === 1);
  await listening.check();
  const { from, to } = listening.gaps[0] as Gap;
  assert.ok(from > before - 1_000 && to >= from && to - from < 3_000, `${from} ${to} ${before}`);
});

// Another process hears of the new master some milliseconds later. What it publishes meanwhile reaches nobody, behind the subscriber's gap.
test("a gap covers what a publisher that has not followed yet publishes at the old master", async (world) => {
  const set = await withSentinels(world);
  const listening = await Listening.start(world, set);
  const ready = emissions(listening.subscriber, "ready");
  const old = await set.master();
  const failover = set.failover();
  await eventually(() => ready.some(({ connection }) => connection === "subscriptions"));
  const count = listening.heard.length;
  // The subscription is live at the new master.
  await eventually(() => listening.heard.length > count);
  const late = Date.now();
  assert.equal(await set.admin(old).publish(CHANNEL, "late"), 0);
  await Promise.all([failover, listening.check()]);
  assert.equal(listening.gaps.length, 1);
  const { from, to } = listening.gaps[0] as Gap;
  assert.ok(from <= late && late <= to, `${late} from ${from} to ${to}`);
});

test("after the master's death what was not sent goes to the next one, in order", async (world) => {
  const set = await withSentinels(world);
  const kv = await openAt(world, set);
  const [writer, listening] = [new Writer(kv), await Listening.start(world, set)];
  await writer.goesOn();
  const master = await set.master();
  await passedOn(set, master);
  await master.kill();
  await eventually(async () => (await set.master()) !== master);
  await writer.goesOn();
  await listening.check();
  const lost = await writer.check(set);
  // The server itself loses the writes that it has not passed on to a replica.
  writer.checkLost(lost);
  assert.ok(writer.slowest < 6_000, `${writer.slowest} ms`);
  for (const { message } of writer.failed.values()) assert.match(message, /may have been run or not/);
});

// A frozen master that wakes acknowledges 370,340 increments in 10 seconds, and all are lost.
test("a frozen master is left, and what it runs when it wakes is not acknowledged", async (world) => {
  const set = await withSentinels(world);
  const kv = await openAt(world, set);
  const [writer, listening] = [new Writer(kv), await Listening.start(world, set)];
  await writer.goesOn();
  const master = await set.master();
  await passedOn(set, master);
  master.pause();
  const frozen = performance.now();
  await eventually(async () => (await set.master()) !== master);
  await writer.goesOn();
  master.resume();
  await writer.goesOn(1_000);
  await listening.check();
  const lost = await writer.check(set);
  // Writes that the master has not passed on when it freezes are not counted.
  const late = lost.filter((number) => Number(writer.acknowledged.get(number)) > frozen + 100);
  assert.deepEqual(late, []);
  writer.checkLost(lost);
  // A write under way fails when another master is named, and not at its timeout.
  for (const { code, reason } of writer.failed.values())
    assert.deepEqual([code, reason], ["CONNECTION", "lost"]);
});

/** The fault of one Sentinel. The others work. */
const befallen: Record<string, (sentinel: RedisServer) => unknown> = {
  dead: (sentinel) => sentinel.kill(),
  frozen: (sentinel) => sentinel.pause(),
};

for (const [what, befall] of Object.entries(befallen)) {
  test(`with a ${what} Sentinel a store opens at once, and follows the master`, async (world) => {
    const set = await withSentinels(world);
    // The first of the list, which a store asks first.
    await befall(set.sentinels[0] as RedisServer);
    const started = performance.now();
    const kv = await openAt(world, set);
    const took = performance.now() - started;
    assert.ok(took < 1_000, `${took} ms`);
    const last = set.admin(set.sentinels[2] as RedisServer);
    const named = async () => String(await last.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"));
    const before = await named();
    await kv.set("k", "1");
    await last.call("SENTINEL", "FAILOVER", "mymaster");
    await eventually(async () => (await named()) !== before);
    const [, port] = (await named()).split(",");
    const next = set.servers.find((server) => server.port === Number(port)) as RedisServer;
    await eventually(async () => {
      await kv.incr("n");
      return (await set.admin(next).get("n")) !== null;
    });
  });
}

// Sentinels are replaced one by one, also the one that the configuration has. A store that does not learn the new ones misses the next
// failover (ioredis `updateSentinels`; redis-operator).
for (const planned of [false, true]) {
  test(`one of three Sentinels is configured, and dies: ${planned ? "a planned" : "the next"} failover is followed`, async (world) => {
    const set = await withSentinels(world);
    const [configured, ...others] = set.sentinels as [RedisServer, RedisServer, RedisServer];
    const sentinel = { ...set.sentinel, nodes: set.sentinel.nodes.slice(0, 1) };
    const kv = await openAt(world, set, { sentinel, queueTimeout: 20_000 });
    const known = () => (kv as KVStore & { sentinels: { node: string; latency?: number }[] }).sentinels;
    await eventually(() => known().filter(({ latency }) => latency !== undefined).length === 3);
    const before = await set.master();
    await configured.kill();
    const named = async (server: RedisServer) => {
      const reply = await set.admin(server).call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster");
      return Number((reply as string[])[1]);
    };
    if (planned) await set.admin(others[0] as RedisServer).call("SENTINEL", "FAILOVER", "mymaster");
    else await before.kill();
    await eventually(async () => {
      const ports = await Promise.all(others.map(named));
      return ports.every((port) => port === ports[0] && port !== before.port);
    }, 20);
    const port = await named(others[0] as RedisServer);
    const reached = async () =>
      Number(
        /^tcp_port:(\d+)/m.exec(String(await kv.eval("return redis.call('info', 'server')", [], [])))?.[1],
      );
    await eventually(async () => (await reached()) === port);
    await kv.set("k", "after");
  });
}
