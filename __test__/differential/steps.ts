// What a property runs: a sequence of calls and transactions, as data that shrinks, and that prints as a script to paste.
import type { KVStoreTransaction } from "covara-kv";
import fc from "fast-check";
import { commands, hashes, keyspace, lists, type Method, sets, sortedSets, strings } from "./commands.js";
import { largeSteps } from "./large.js";

export interface Call {
  readonly method: Method;
  readonly args: readonly unknown[];
}

export interface Transaction {
  readonly queue: readonly Call[];
}

export type Step = Call | Transaction;

type Queued = Exclude<keyof KVStoreTransaction, "exec" | "discard">;

const QUEUED: Record<Queued, true> = {
  get: true,
  set: true,
  setnx: true,
  getdel: true,
  del: true,
  incr: true,
  hset: true,
  hdel: true,
  sadd: true,
  srem: true,
  lpush: true,
  rpush: true,
  zadd: true,
  zrem: true,
  expire: true,
};

const callsOf = (methods: string[]): fc.Arbitrary<Call> =>
  fc.oneof(
    ...(methods as Method[]).map((method) => commands[method].args.map((args): Call => ({ method, args }))),
  );

const transactions = fc
  .array(callsOf(Object.keys(QUEUED)), { maxLength: 8 })
  .map((queue): Transaction => ({ queue }));

const FAMILIES = { strings, keyspace, hashes, sets, lists, sortedSets };

const family = (name: keyof typeof FAMILIES) => callsOf(Object.keys(FAMILIES[name]));
const everything = callsOf(Object.keys(commands));

/** Sequences, by the kind of most of their steps. Each also has steps of all other kinds, as DEL, TYPE and expiry concern every type. */
export const sequences: Record<string, fc.Arbitrary<Step[]>> = {
  strings: sequence([6, family("strings")], [1, everything]),
  hashes: sequence([6, family("hashes")], [1, everything]),
  sets: sequence([6, family("sets")], [1, everything]),
  lists: sequence([6, family("lists")], [1, everything]),
  "sorted sets": sequence([8, family("sortedSets")], [1, everything]),
  expiry: sequence([3, callsOf(["set", "setnx", "expire", "ttl"])], [1, everything]),
  transactions: sequence([2, transactions], [3, everything]),
  everything: sequence([10, everything], [1, transactions]),
  "large collections": fc.array(largeSteps, { maxLength: 30, size: "max" }),
};

function sequence(...steps: [weight: number, arbitrary: fc.Arbitrary<Step>][]): fc.Arbitrary<Step[]> {
  const step = fc.oneof(...steps.map(([weight, arbitrary]) => ({ weight, arbitrary })));
  return fc.array(step, { maxLength: 100, size: "max" });
}

/** How many commands a step has. */
export const sizeOf = (step: Step) => ("queue" in step ? step.queue.length : 1);

/** The step as JavaScript, to be pasted into a test. */
export function source(step: Step): string {
  if (!("queue" in step)) return `await kv.${callSource(step)};`;
  return `await kv.multi().${[...step.queue.map(callSource), "exec()"].join(".")};`;
}

const callSource = ({ method, args }: Call) => `${method}(${args.map(literal).join(", ")})`;

export function literal(value: unknown): string {
  if (Object.is(value, -0)) return "-0";
  if (typeof value === "number" || value === undefined) return String(value);
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (value instanceof Error) return String(value);
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  // In brackets `__proto__` is a property like any other.
  const properties = Object.entries(value).map(
    ([name, item]) => `[${JSON.stringify(name)}]: ${literal(item)}`,
  );
  return `{ ${properties.join(", ")} }`;
}
