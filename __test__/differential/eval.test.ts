// Scripts on a strict memory store and on Redis: replies, errors to the letter, and what is there at the end.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createMemoryKV } from "covara-kv";
import fc from "fast-check";
import { expressions, SHOW, showing } from "./lua.js";
import { failureOf } from "./outcome.js";
import { anyKey, value } from "./pools.js";
import { check, runs } from "./property.js";
import { pipeline, useRedis } from "./redis.js";
import { SCRIPTS } from "./scripts.js";
import { DUMP, readState, stateOf } from "./state.js";
import { literal } from "./steps.js";
import { commandWords, IN_NO_ORDER } from "./words.js";

const redis = useRedis();

interface Evaluation {
  script: string;
  keys: readonly string[];
  args: readonly string[];
}

const scripts = fc.record({
  script: fc.constantFrom(...SCRIPTS),
  keys: fc.array(anyKey, { minLength: 1, maxLength: 3 }),
  args: fc.array(value, { maxLength: 3 }),
});

const CALLS = ["return redis.call(unpack(ARGV))", "return redis.pcall(unpack(ARGV))"];
const calls = fc.record({ script: fc.constantFrom(...CALLS), keys: fc.constant([]), args: commandWords });

test("scripts are as in Redis", () => check(sequence(scripts), runs(100), compare, script));

test("commands that scripts call are as in Redis", () => check(sequence(calls), runs(150), compare, script));

for (const [name, expression] of Object.entries(expressions)) {
  const evaluation = expression.map((expression) => ({ script: showing(expression), keys: [], args: [] }));
  test(`the ${name} of scripts are as in Redis`, () =>
    check(sequence(evaluation), runs(15), compare, script));
}

function sequence(evaluation: fc.Arbitrary<Evaluation>): fc.Arbitrary<Evaluation[]> {
  return fc.array(evaluation, { maxLength: 100, size: "max" });
}

async function compare(evaluations: Evaluation[]): Promise<void> {
  const words = evaluations.map(({ script, keys, args }) => [
    "EVAL",
    script,
    String(keys.length),
    ...keys,
    ...args,
  ]);
  const replies = await pipeline(redis.client, [["FLUSHALL"], ...words, ["EVAL", DUMP, "0"]]);
  const kv = createMemoryKV("", { strict: true });
  for (const [index, evaluation] of evaluations.entries()) {
    const { script, keys, args } = evaluation;
    const result = await kv.eval(script, keys, args).catch((error: unknown) => error);
    const inOrder = IN_NO_ORDER.has(args[0] as string) ? sorted : (value: unknown) => value;
    const expected = inOrder(plain(replies[index + 1]));
    assert.deepEqual(rounded(inOrder(plain(result)), expected), expected, source(evaluation));
  }
  const state = stateOf(replies.at(-1) ?? []);
  assert.deepEqual(await readState(kv, state), state, "the state at the end");
  await kv.disconnect();
}

/** Replies of both in one form. */
function plain(reply: unknown): unknown {
  if (Array.isArray(reply)) return reply.map(plain);
  return reply instanceof Error ? failureOf(reply) : reply;
}

/** ioredis reads an integer digit by digit, and past 2^53 rounds at each: what is as good as equal becomes what it read. */
function rounded(reply: unknown, expected: unknown): unknown {
  if (Array.isArray(reply) && Array.isArray(expected))
    return reply.map((item, at) => rounded(item, expected[at]));
  if (typeof reply !== "number" || typeof expected !== "number" || Number.isSafeInteger(reply)) return reply;
  return Math.abs(reply - expected) < Math.abs(reply) * 1e-14 ? expected : reply;
}

/** What a reply has, in one order, on whatever level. */
function sorted(reply: unknown): unknown {
  return Array.isArray(reply) ? reply.map(sorted).sort() : reply;
}

const script = (evaluations: Evaluation[]) =>
  ['const kv = createMemoryKV("", { strict: true });', ...evaluations.map(source)].join("\n");

function source({ script, keys, args }: Evaluation): string {
  const text = script.startsWith(SHOW) ? `SHOW + ${literal(script.slice(SHOW.length))}` : literal(script);
  return `await kv.eval(${text}, ${literal(keys)}, ${literal(args)});`;
}
