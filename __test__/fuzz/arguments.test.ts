// Some argument may crash the process or leave the store broken. FUZZ_RUNS=1000000 npm test -- fuzz goes on for longer.
import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { createMemoryKV, KVError, type MemoryKVStore } from "covara-kv";
import fc from "fast-check";
import { goodArguments, queued } from "../methods.js";
import { contents, type Method, send } from "../replies.js";
import { warningsOf } from "../warnings.js";
import { argument, values } from "./values.js";

const { FUZZ_RUNS } = process.env;
const RUNS = Number(FUZZ_RUNS ?? 10_000);
/** By default the same values each time, so that a failure comes from the change; a longer run uses new ones. */
const SEED = FUZZ_RUNS === undefined ? { seed: 1 } : {};

const methods = Object.keys(goodArguments) as Method[];

/** The text of any value, also of one that throws when it is inspected. */
function shown(value: unknown): string {
  try {
    return inspect(value, { depth: 1, showProxy: true });
  } catch {
    return "what cannot be shown";
  }
}

/** Each key with its value and its time to live in hours: of that in seconds a busy machine lost one during a call. */
async function found(kv: MemoryKVStore): Promise<unknown[]> {
  const { entries } = (await contents(kv)) as { entries: [key: string, ttl: number, value: unknown][] };
  return entries.map(([key, ttl, value]) => [key, Math.ceil(ttl / 3_600), value]);
}

async function fill(kv: MemoryKVStore): Promise<void> {
  await kv.set("string", "7", { ex: 100_000 });
  await kv.hmset("hash", { f: "v", ["__proto__"]: "p" });
  await kv.sadd("set", "m", "n");
  await kv.rpush("list", "a", "b");
  await kv.zadd("zset", 1, "m");
}

/** The average number of calls for each store. */
const PER_STORE = 25;
const NUMBER_OF_STORES = Math.ceil(RUNS / PER_STORE);
const batchesOf = <T>(call: fc.Arbitrary<T>) =>
  fc.array(call, { minLength: 1, maxLength: 2 * PER_STORE, size: "max" });

/** Runs `property` with many calls, some on each of many stores. */
async function fuzz<Call>(
  call: fc.Arbitrary<Call>,
  property: (kv: MemoryKVStore, call: Call) => Promise<void>,
): Promise<void> {
  const onOneStore = fc.asyncProperty(batchesOf(call), async (batch) => {
    const kv = createMemoryKV("p");
    await fill(kv);
    for (const call of batch) await property(kv, call);
    await kv.disconnect();
  });
  await warningsOf(() => fc.assert(onOneStore, { numRuns: NUMBER_OF_STORES, ...SEED }));
}

test("a call with anything at all gives a Promise of a result or a KVError, and a refusal changes nothing", async () => {
  await fuzz(fc.tuple(fc.constantFrom(...methods), values), async (kv, [method, makers]) => {
    const args = makers.map((make) => make());
    const what = () => `${method}(${args.map(shown).join(", ")})`;
    if (kv.status === "closed") {
      await kv.connect();
      await fill(kv);
    }
    const before = await found(kv);
    let promise: unknown;
    try {
      promise = send(kv, [method, ...args]);
    } catch (error) {
      assert.fail(`${what()} throws ${shown(error)}`);
    }
    assert.ok(promise instanceof Promise, what());
    const error: unknown = await promise.then(
      () => undefined,
      (error: unknown) => error,
    );
    if (error === undefined) return;
    assert.ok(error instanceof KVError, `${what()} rejects with ${shown(error)}`);
    if (error.code === "INVALID_ARGUMENT") assert.deepEqual(await found(kv), before, what());
  });
});

test("anything at all can be queued; exec gives results or a KVError, and a refusal changes nothing", async () => {
  const queues = fc.array(fc.tuple(fc.constantFrom(...queued), values), { minLength: 1, maxLength: 4 });
  await fuzz(queues, async (kv, queue) => {
    const multi = kv.multi();
    const before = await found(kv);
    for (const [method, makers] of queue) {
      const args = makers.map((make) => make());
      const returned = (multi[method] as (...args: unknown[]) => unknown).apply(multi, args);
      assert.equal(returned, multi);
    }
    const outcome: unknown = await multi.exec().catch((error: unknown) => error);
    if (Array.isArray(outcome)) return assert.equal(outcome.length, queue.length);
    assert.ok(outcome instanceof KVError, shown(outcome));
    if (outcome.results === undefined) assert.deepEqual(await found(kv), before);
  });
});

// TypeScript's checks stop such values before the native side; it must withstand them all the same.
test("the native side answers or throws, whatever it is given", async () => {
  const { commandIndex, MemoryStore } = require("../../ts/native.js");
  const names = "GET SET DEL HSET SADD RPUSH ZADD ZRANGEBYSCORE SCAN KEYS PUBLISH EVAL MSET".split(" ");
  const index = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...names).map((name) => () => commandIndex(name)) },
    { weight: 1, arbitrary: argument },
    { weight: 1, arbitrary: fc.constantFrom(-1, 1e9, 2 ** 32, 0.5, Number.NaN).map((value) => () => value) },
  );
  const given = fc.oneof(
    values,
    values.map((makers) => [() => makers.map((make) => make())]),
  );
  const ways = ["run", "exec", "subscribe", "psubscribe", "unsubscribe", "punsubscribe", "constructor"];
  const calls = batchesOf(fc.tuple(fc.constantFrom(...ways), index, given));
  const property = fc.property(fc.boolean(), calls, (strict, batch) => {
    const store = new MemoryStore(
      { prefix: "p", strict },
      () => store.takeMessages(),
      () => {},
      (array: unknown[] = [], ...items: unknown[]) => [...array, ...items],
    );
    const run = store.runner();
    for (const [way, makeIndex, makers] of batch) {
      const args = makers.map((make) => make());
      try {
        if (way === "run") run(makeIndex(), ...args);
        else if (way === "exec") store.exec([[makeIndex(), ...args]]);
        else if (way === "constructor") new MemoryStore(...args);
        else store[way](...args);
      } catch {
        // Any error will do, as long as it can be caught.
      }
    }
    store.takeMessages(1_000);
    store.close();
    assert.throws(() => run(commandIndex("GET"), "k"), { code: "CLOSED disconnected" });
  });
  fc.assert(property, { numRuns: NUMBER_OF_STORES, ...SEED });
});
