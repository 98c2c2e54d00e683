// Scripts as data, run on both stores and compared: results, exact error texts, and the data at the end.
import assert from "node:assert/strict";
import { createMemoryKV } from "covara-kv";
import type { Redis } from "ioredis";
import { SHOW } from "./lua.js";
import { failureOf } from "./outcome.js";
import { pipeline } from "./redis.js";
import { DUMP, readState, stateOf } from "./state.js";
import { literal } from "./steps.js";
import { IN_NO_ORDER } from "./words.js";

export interface Evaluation {
  readonly script: string;
  readonly keys: readonly string[];
  readonly args: readonly string[];
}

/** Runs the command that is in ARGV. */
export const CALL = "return redis.call(unpack(ARGV))";
export const PCALL = "return redis.pcall(unpack(ARGV))";

/** Runs the scripts on both stores, each empty at first. Throws where the stores differ. */
export async function compareEvaluations(redis: Redis, evaluations: readonly Evaluation[]): Promise<void> {
  const words = evaluations.map(({ script, keys, args }) => [
    "EVAL",
    script,
    String(keys.length),
    ...keys,
    ...args,
  ]);
  const replies = await pipeline(redis, [["FLUSHALL"], ...words, ["EVAL", DUMP, "0"]]);
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

/** Gives the replies of both stores one form. */
function plain(reply: unknown): unknown {
  if (Array.isArray(reply)) return reply.map(plain);
  return reply instanceof Error ? failureOf(reply) : reply;
}

/**
 * ioredis reads an integer digit by digit, and past 2^53 rounds at each digit. A reply that is nearly equal is replaced with the number
 * that ioredis read.
 */
function rounded(reply: unknown, expected: unknown): unknown {
  if (Array.isArray(reply) && Array.isArray(expected))
    return reply.map((item, at) => rounded(item, expected[at]));
  if (typeof reply !== "number" || typeof expected !== "number" || Number.isSafeInteger(reply)) return reply;
  return Math.abs(reply - expected) < Math.abs(reply) * 1e-14 ? expected : reply;
}

/** A reply with its lists sorted, at every level. */
function sorted(reply: unknown): unknown {
  return Array.isArray(reply) ? reply.map(sorted).sort() : reply;
}

/** The scripts as JavaScript, to be pasted into a test. */
export const scriptOf = (evaluations: readonly Evaluation[]) =>
  ['const kv = createMemoryKV("", { strict: true });', ...evaluations.map(source)].join("\n");

function source({ script, keys, args }: Evaluation): string {
  const text = script.startsWith(SHOW) ? `SHOW + ${literal(script.slice(SHOW.length))}` : literal(script);
  return `await kv.eval(${text}, ${literal(keys)}, ${literal(args)});`;
}
