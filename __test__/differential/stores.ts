// Runs the same steps on each of the two stores, and returns the outcomes.
import type { KVStore, KVStoreTransaction } from "covara-kv";
import type { Redis } from "ioredis";
import { commands } from "./commands.js";
import { failureOf, type Outcome, outcomeOf } from "./outcome.js";
import { pipeline } from "./redis.js";
import type { Reply } from "./replies.js";
import { DUMP, type State, stateOf } from "./state.js";
import type { Call, Step, Transaction } from "./steps.js";

const argvOf = ({ method, args }: Call) => commands[method].argv(...args);

/** Runs steps on an empty Redis, in one round trip. */
export async function runOnRedis(
  redis: Redis,
  steps: readonly Step[],
): Promise<{ outcomes: Outcome[]; state: State }> {
  const plan = steps.map(wordsOf);
  const replies = await pipeline(redis, [["FLUSHALL"], ...plan.flat(), ["EVAL", DUMP, "0"]]);
  const dump = replies.pop() as Reply;
  if (dump instanceof Error) throw dump;
  replies.shift();
  const outcomes = steps.map((step, index) => expected(step, replies.splice(0, plan[index]?.length)));
  return { outcomes, state: stateOf(dump) };
}

/** The commands that Redis gets for a step. */
function wordsOf(step: Step): string[][] {
  if (!("queue" in step)) return [argvOf(step)].filter((argv) => argv !== undefined);
  const queue = step.queue.map(argvOf).filter((argv) => argv !== undefined);
  return queue.length === 0 ? [] : [["MULTI"], ...queue, ["EXEC"]];
}

function expected(step: Step, replies: Reply[]): Outcome {
  if ("queue" in step) return expectedOfAll(step, replies);
  const { none, result } = commands[step.method];
  const [reply] = replies;
  if (reply === undefined) return { value: none };
  return reply instanceof Error ? { failure: failureOf(reply) } : { value: result(reply, ...step.args) };
}

/** A command with a wrong number of words is not queued by Redis and stops the transaction. The expected outcome does the same. */
function expectedOfAll({ queue }: Transaction, replies: Reply[]): Outcome {
  const queued = replies.slice(1, -1);
  const executed = replies.at(-1) ?? [];
  const asked = queue.map((call) => argvOf(call) !== undefined);
  if (executed instanceof Error) {
    const index = queue.findIndex((_, index) => asked[index] && queued.shift() instanceof Error);
    const refusal = replies.find((reply) => reply instanceof Error) as Error;
    return { failure: { ...failureOf(refusal), index, results: undefined } };
  }
  const rest = [...(executed as Reply[])];
  const results = queue.map((call, index) => expectedOfOne(call, asked[index] ? rest.shift() : undefined));
  const index = results.findIndex((result) => "failure" in result);
  const all = results.map((result) => ("failure" in result ? result.failure : result.value));
  const failed = results[index];
  if (failed === undefined || !("failure" in failed)) return { value: all };
  return { failure: { ...failed.failure, index, results: all } };
}

function expectedOfOne({ method, args }: Call, reply: Reply | undefined): Outcome {
  const { none, queued, result } = commands[method];
  if (reply === undefined) return { value: none };
  if (reply instanceof Error) return { failure: failureOf(reply) };
  return { value: queued === undefined ? result(reply, ...args) : queued(reply) };
}

type Methods = Record<string, (...args: unknown[]) => unknown>;

export function runStep(kv: KVStore, step: Step): Promise<Outcome> {
  if (!("queue" in step)) {
    return outcomeOf((kv as unknown as Methods)[step.method]?.(...step.args) as Promise<unknown>);
  }
  const transaction: KVStoreTransaction = kv.multi();
  for (const { method, args } of step.queue) (transaction as unknown as Methods)[method]?.(...args);
  return outcomeOf(transaction.exec());
}
