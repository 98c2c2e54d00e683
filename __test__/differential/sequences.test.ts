// A command may answer differently from Redis after some sequence of others. Replies, errors and the data at the end of random sequences
// are equal.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { createMemoryKV, createRedisKV, type KVStore } from "covara-kv";
import fc from "fast-check";
import { FakeSqlStorage, FakeStorage } from "../durable-object/fake-storage.js";
import { onDurableObject } from "./local.js";
import { equal } from "./outcome.js";
import { check, runs } from "./property.js";
import { EXACT, useRedis } from "./redis.js";
import { readState, type State } from "./state.js";
import { literal, type Step, sequences, sizeOf, source } from "./steps.js";
import { runOnRedis, runStep } from "./stores.js";

/** The least number of comparisons, whatever the seed. */
const ENOUGH = 20_000;
const RUNS = 100;

const redis = useRedis(EXACT);

/** Opens an empty store with this prefix, for one sequence. */
type Open = (prefix: string) => Promise<KVStore>;

/** A store on a Redis of its own. */
function onRedis(config: Record<string, string> = {}): Open {
  const server = useRedis({}, config);
  return async (prefix) => {
    await server.client.flushall();
    return createRedisKV({ host: server.host, port: server.port }, prefix);
  };
}

function strictly(open: (prefix: string, options: { strict: true }) => KVStore): Open {
  return async (prefix) => open(prefix, { strict: true });
}

const stores: Record<string, Open> = {
  memory: strictly(createMemoryKV),
  "the Redis backend": onRedis(),
  "the Redis backend over RESP 2": onRedis({ "rename-command": 'HELLO ""' }),
  "the Durable Object": strictly(onDurableObject(() => new FakeStorage())),
  "the Durable Object on SQLite": strictly(onDurableObject(() => new FakeSqlStorage())),
};

/** Whether a store keeps the order in which a hash's fields are inserted. A Durable Object lists its entries by name. */
const ordersFields = (name: string) => !name.startsWith("the Durable Object");

const compared = new Map<string, number>();

/** Prefixes, also one of glob characters: no prefix may change a result. */
const prefix = fc.constantFrom("", "", "app", "a*[b]?\\:\0");

for (const [name, open] of Object.entries(stores)) {
  for (const [family, sequence] of Object.entries(sequences)) {
    test(`${family}: ${name} answers as Redis`, () =>
      check(fc.record({ prefix, steps: sequence }), runs(RUNS), (run) => compare(name, open, run), script));
  }
}

test("enough was compared", () => {
  for (const name of Object.keys(stores)) {
    const count = compared.get(name) ?? 0;
    console.log(`${count.toLocaleString("en")} commands of ${name} compared with Redis`);
    assert.ok(count >= ENOUGH, `only ${count} commands of ${name}`);
  }
});

interface Run {
  prefix: string;
  steps: Step[];
}

async function compare(name: string, open: Open, { prefix, steps }: Run): Promise<void> {
  const { outcomes, state } = await runOnRedis(redis.client, steps);
  const kv = await open(prefix);
  try {
    for (const [index, step] of steps.entries()) {
      const outcome = await runStep(kv, step);
      const expected = outcomes[index] as typeof outcome;
      if (!equal(step, outcome, expected)) throw different(source(step), outcome, expected);
      compared.set(name, (compared.get(name) ?? 0) + sizeOf(step));
    }
    const expected = ordersFields(name) ? state : withoutFields(state);
    const found = await readState(kv, expected);
    if (!isDeepStrictEqual(found, expected)) throw different("the state at the end", found, expected);
  } finally {
    await kv.disconnect();
  }
}

function withoutFields(state: State): State {
  return Object.fromEntries(Object.entries(state).map(([key, { fields, ...entry }]) => [key, entry]));
}

function different(what: string, found: unknown, redis: unknown): Error {
  return new Error(`${what}\n  found: ${literal(found)}\n  Redis: ${literal(redis)}`);
}

const script = ({ prefix, steps }: Run) =>
  [`const kv = createMemoryKV(${literal(prefix)}, { strict: true });`, ...steps.map(source)].join("\n");
