// Random sequences of commands on a strict memory store and on Redis: each reply, each error and what is there at the end are equal.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { createMemoryKV } from "covara-kv";
import fc from "fast-check";
import { equal } from "./outcome.js";
import { check, runs } from "./property.js";
import { EXACT, useRedis } from "./redis.js";
import { readState } from "./state.js";
import { literal, type Step, sequences, sizeOf, source } from "./steps.js";
import { runOnRedis, runStep } from "./stores.js";

/** The least that is compared, whatever the seed. */
const ENOUGH = 20_000;
const RUNS = 100;

const redis = useRedis(EXACT);
let compared = 0;

/** A prefix must not show, whatever is in it. */
const prefix = fc.constantFrom("", "", "app", "a*[b]?\\:\0");

for (const [name, sequence] of Object.entries(sequences)) {
  test(`${name} are as in Redis`, () =>
    check(fc.record({ prefix, steps: sequence }), runs(RUNS), compare, script));
}

test("enough was compared", () => {
  console.log(`${compared.toLocaleString("en")} commands compared with Redis`);
  assert.ok(compared >= ENOUGH, `only ${compared} commands`);
});

interface Run {
  prefix: string;
  steps: Step[];
}

async function compare({ prefix, steps }: Run): Promise<void> {
  const { outcomes, state } = await runOnRedis(redis.client, steps);
  const kv = createMemoryKV(prefix, { strict: true });
  for (const [index, step] of steps.entries()) {
    const outcome = await runStep(kv, step);
    const expected = outcomes[index] as typeof outcome;
    if (!equal(step, outcome, expected)) throw different(source(step), outcome, expected);
    compared += sizeOf(step);
  }
  const found = await readState(kv, state);
  if (!isDeepStrictEqual(found, state)) throw different("the state at the end", found, state);
  await kv.disconnect();
}

function different(what: string, memory: unknown, redis: unknown): Error {
  return new Error(`${what}\n  memory: ${literal(memory)}\n  Redis:  ${literal(redis)}`);
}

const script = ({ prefix, steps }: Run) =>
  [`const kv = createMemoryKV(${literal(prefix)}, { strict: true });`, ...steps.map(source)].join("\n");
