// Shared by the tests of the fan-out: instances in processes and threads of their own, and this process as one.
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { join } from "node:path";
import { test as nodeTest } from "node:test";
import { Worker } from "node:worker_threads";
import {
  clearGlobalKV,
  createMemoryKV,
  type FanoutStats,
  getFanoutStats,
  initializeKV,
  type KVStore,
  type RedisConfig,
  registerAggregateWatcher,
  registerHandler,
  setGlobalKV,
  trackSubscription,
  unregisterHandler,
} from "covara-kv";
import { Redis } from "ioredis";
import { eventually } from "../backends.js";
import { SharedRedis } from "../redis/servers.js";

/** The Redis that all tests of a file share. */
export const server = new SharedRedis();

export const EVENTS = "covara:events";
export const AGGREGATE = "covara:aggregate";
export const GAP = '{"type":"invalidate","reason":"fanout-gap"}';
export const OVERFLOW = '{"type":"invalidate","reason":"overflow"}';

/** The timeout alone, and not the number of retries, limits how long a command waits for the server. */
export const PATIENT = { maxRetries: 1_000_000, retryDelay: 20 } as const;

export interface Delivery {
  readonly handler: string;
  readonly subscription: string;
  readonly event: string;
  /** In ms since the epoch. */
  readonly at: number;
}

export interface Event {
  readonly subscriptionId: string;
  readonly event: unknown;
}

/** The jobs of an instance: see instance.mjs. */
interface Jobs {
  open(redis: RedisConfig, prefix?: string): void;
  register(handler: string, subscriptions: readonly string[]): void;
  registerAll(handlers: readonly (readonly [handler: string, subscriptions: readonly string[]])[]): void;
  unregister(handler: string): void;
  watch(resource: string): void;
  publish(events: readonly Event[]): (boolean | string)[];
  published(): number;
  notify(resource: string): void;
  delivered(): number;
  take(): Delivery[];
  calls(resource: string): unknown[][];
  stats(): FanoutStats;
  subscribe(channel: string): void;
  block(started: Int32Array, until: Int32Array): void;
  flood(subscriptions: readonly string[]): void;
  disconnect(): void;
}

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

/** An instance as the test sees it. */
export class Instance {
  readonly #send: (message: unknown) => void;
  readonly #end: () => Promise<unknown>;
  readonly #asked = new Map<number, { resolve(result: never): void; reject(error: Error): void }>();
  #next = 0;

  private constructor(send: (message: unknown) => void, end: () => Promise<unknown>) {
    this.#send = send;
    this.#end = end;
  }

  static forked(): Instance {
    const child = fork(join(__dirname, "instance.mjs"), { execArgv: [], serialization: "advanced" });
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    const end = () => {
      child.kill("SIGKILL");
      return gone;
    };
    const instance = new Instance((message) => child.send(message as object), end);
    child.on("message", (answer) => instance.#answered(answer as Answer));
    child.on("exit", (code, signal) => instance.#fail(new Error(`An instance ended: ${code ?? signal}`)));
    return instance;
  }

  static thread(): Instance {
    const worker = new Worker(join(__dirname, "instance.mjs"), { execArgv: [] });
    const instance = new Instance(
      (message) => worker.postMessage(message),
      () => worker.terminate(),
    );
    worker.on("message", (answer) => instance.#answered(answer));
    worker.on("error", (error) => instance.#fail(error));
    worker.on("exit", (code) => instance.#fail(new Error(`A thread ended: ${code}`)));
    return instance;
  }

  /** Resolves to the result of a job. Rejects with the job's error, or when the instance ends. */
  do<J extends keyof Jobs>(job: J, ...args: Parameters<Jobs[J]>): Promise<ReturnType<Jobs[J]>> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      this.#send({ id, job, args });
    });
  }

  #answered({ id, result, error }: Answer): void {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (error === undefined) asked?.resolve(result as never);
    else asked?.reject(new Error(error));
  }

  #fail(error: Error): void {
    for (const { reject } of this.#asked.values()) reject(error);
    this.#asked.clear();
  }

  /** Ends the instance at once, even in the middle of a job. */
  async end(): Promise<void> {
    await this.#end();
  }
}

/** What a test gets. All that it opens is closed after the test. */
export interface World {
  /** Initializes this thread with a Redis: the one that the tests share, unless told otherwise. */
  start(redis?: RedisConfig, prefix?: string): Promise<KVStore>;
  /** An instance on the Redis that the tests share, unless told otherwise. */
  instance(redis?: RedisConfig): Promise<Instance>;
  thread(redis?: RedisConfig): Promise<Instance>;
  /** Registers a handler in this thread. Returns the list that its deliveries are added to. */
  handler(id: string, ...subscriptions: string[]): Delivery[];
  /** Registers a watcher in this thread. Returns the list that the arguments of its calls are added to. */
  watcher(resource: string): unknown[][];
  /** An independent client of the server. */
  client(redis?: { host: string; port: number; connectionName?: string }): Redis;
  /** Adds a function to call after the test. The last one is called first. */
  defer(close: () => unknown): void;
}

export function test(name: string, body: (world: World) => Promise<void>): void {
  nodeTest(name, { timeout: 60_000 }, async () => {
    const closing: (() => unknown)[] = [];
    const defer = (close: () => unknown) => void closing.push(close);
    // Handlers and watchers leave before any store closes: otherwise the next test would get their gap.
    const leaving: (() => unknown)[] = [];
    const opened = async (instance: Instance, redis: RedisConfig) => {
      defer(() => instance.end());
      await instance.do("open", redis);
      return instance;
    };
    const world: World = {
      defer,
      async start(redis = server.address, prefix) {
        const kv = await initializeKV({ type: "redis", redis, ...(prefix !== undefined && { prefix }) });
        defer(async () => {
          clearGlobalKV();
          await kv.disconnect();
        });
        return kv;
      },
      instance: (redis = server.address) => opened(Instance.forked(), redis),
      thread: (redis = server.address) => opened(Instance.thread(), redis),
      handler(id, ...subscriptions) {
        const deliveries: Delivery[] = [];
        registerHandler(id, (event, subscription) => {
          deliveries.push({ handler: id, subscription, event, at: Date.now() });
        });
        leaving.push(() => unregisterHandler(id));
        for (const subscription of subscriptions) trackSubscription(id, subscription);
        return deliveries;
      },
      watcher(resource) {
        const calls: unknown[][] = [];
        leaving.push(registerAggregateWatcher(resource, (...args) => void calls.push(args)));
        return calls;
      },
      client(redis = server.address) {
        const client = new Redis({ ...redis, retryStrategy: () => 50 });
        client.on("error", () => {});
        defer(() => client.disconnect());
        return client;
      },
    };
    try {
      await body(world);
    } finally {
      for (const close of [...leaving, ...closing.reverse()]) await close();
    }
    await eventually(async () => (await server.clients()).length === 0);
    const { handlers, subscriptions, watchers } = getFanoutStats();
    assert.deepEqual([handlers, subscriptions, watchers], [0, 0, 0]);
  });
}

/** Makes a memory store the global store of this thread. */
export function useMemory(world: World): KVStore {
  const kv = createMemoryKV();
  world.defer(() => {
    clearGlobalKV();
    return kv.disconnect();
  });
  setGlobalKV(kv);
  return kv;
}

/** The number of subscribers of the channels of the fan-out: that of events, and that of changes. */
export async function subscribers(admin = server.admin): Promise<[events: number, aggregate: number]> {
  const counts = (await admin.pubsub("NUMSUB", EVENTS, AGGREGATE)) as unknown[];
  return [Number(counts[1]), Number(counts[3])];
}

/** The number of connections of the server that have subscriptions. */
export async function subscribingConnections(admin = server.admin): Promise<number> {
  const list = String(await admin.call("CLIENT", "LIST", "TYPE", "pubsub"));
  return list.split("\n").filter((line) => line !== "").length;
}

/** The message of an event, as instances publish it. */
export const wire = (subscriptionId: string, event: unknown) =>
  JSON.stringify({ type: "changed", subscriptionId, event });

export const eventsOf = (deliveries: readonly Delivery[]) => deliveries.map(({ event }) => event);

/** Numbers from 0 up to 1, the same for the same seed. */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
