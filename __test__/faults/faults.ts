// Shared by the tests of faults: stores on a server that fails, load, and deadlines.
import assert from "node:assert/strict";
import { test as nodeTest } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { inspect } from "node:util";
import { createKV, type KVConfig, KVError, type KVEvents, type KVStore } from "covara-kv";
import { Redis } from "ioredis";
import { type FakeOptions, type FakeServer, startFake } from "../fake-server.js";
import { type RedisServer, startRedis } from "../redis-server.js";

type RedisConfig = NonNullable<KVConfig["redis"]>;

/** How much later than its deadline a Promise may settle, in ms: a loaded machine may run nothing for so long. */
export const SLACK = 2_000;

/** Connects again at once. A waiting command fails only after its `queueTimeout`. */
export const PATIENT = { queueTimeout: 60_000, retryDelay: 20 } as const;

/** A refused store tries again until JavaScript, which may be told late, closes it. With this no second attempt comes in a test. */
export const ONE_ATTEMPT = { retryDelay: 60_000 } as const;

interface Address {
  readonly host: string;
  readonly port: number;
}

/** What a test gets. All that it opens is closed after the test. */
export interface World {
  redis(config?: Record<string, string>, ...args: string[]): Promise<RedisServer>;
  fake(options: FakeOptions): Promise<FakeServer>;
  open(server: Address, config?: RedisConfig, prefix?: string): Promise<KVStore>;
  /** An independent client of a server. */
  client(server: Address): Redis;
  /** Adds a function to call after the test. The last one is called first. */
  defer(close: () => unknown): void;
}

export function test(name: string, body: (world: World) => Promise<void>, timeout = 60_000): void {
  nodeTest(name, { timeout }, async () => {
    const closing: (() => unknown)[] = [];
    const defer = (close: () => unknown) => void closing.push(close);
    try {
      await body({
        defer,
        async redis(config, ...args) {
          const server = await startRedis(config, ...args);
          defer(() => server.stop());
          return server;
        },
        async fake(options) {
          const server = await startFake(options);
          defer(() => server.stop());
          return server;
        },
        async open({ host, port }, config, prefix) {
          const store = await createKV({
            type: "redis",
            ...(prefix !== undefined && { prefix }),
            redis: { host, port, ...config },
          });
          defer(() => store.disconnect());
          return store;
        },
        client({ host, port }) {
          const client = new Redis({ host, port, retryStrategy: () => 50 });
          client.on("error", () => {});
          defer(() => client.disconnect());
          return client;
        },
      });
    } finally {
      for (const close of closing.reverse()) await close();
    }
  });
}

/** Makes calls that must settle within `timeout`, and may fail only with a KVError of one of `codes`. */
export class Calls {
  readonly errors: KVError[] = [];
  succeeded = 0;
  slowest = 0;

  constructor(
    readonly timeout: number,
    readonly codes: readonly string[] = ["CONNECTION", "TIMEOUT"],
  ) {}

  /** Makes a call. Resolves to `[its result]`, or to undefined if it failed. */
  async try<T>(call: () => Promise<T>): Promise<[T] | undefined> {
    const start = performance.now();
    try {
      const result = await call();
      this.succeeded += 1;
      return [result];
    } catch (error) {
      assert.ok(error instanceof KVError, `not a KVError: ${inspect(error)}`);
      assert.ok(this.codes.includes(error.code), inspect(error));
      this.errors.push(error);
      return undefined;
    } finally {
      this.slowest = Math.max(this.slowest, performance.now() - start);
    }
  }

  failed(code: string): number {
    return this.errors.filter((error) => error.code === code).length;
  }

  checkDeadlines(): void {
    assert.ok(this.slowest <= this.timeout + SLACK, `${this.slowest} ms, and the timeout is ${this.timeout}`);
  }
}

/** Repeats `body` in several loops at once, until `stop` is called. */
export function underLoad(workers: number, body: (worker: number, round: number) => Promise<unknown>) {
  let stopped = false;
  const work = async (worker: number) => {
    for (let round = 0; !stopped; round++) {
      await body(worker, round);
      await turn();
    }
  };
  const done = Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)));
  done.catch(() => {}); // stop() rejects with it.
  return {
    /** Resolves once the last round is over. Rejects with the error of a round. */
    async stop(): Promise<void> {
      stopped = true;
      await done;
    },
  };
}

/** How long it takes until a Promise settles, in milliseconds. */
export async function timeOf(promise: Promise<unknown>): Promise<number> {
  const start = performance.now();
  await promise.catch(() => {});
  return performance.now() - start;
}

/** Collects the arguments of an event's emissions from now on. */
export function emissions<E extends keyof KVEvents>(kv: KVStore, event: E): KVEvents[E][0][] {
  const seen: KVEvents[E][0][] = [];
  kv.on(event, ((argument: KVEvents[E][0]) => void seen.push(argument)) as never);
  return seen;
}
