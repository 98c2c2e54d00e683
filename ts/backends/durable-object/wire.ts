// What stores and objects say to each other. Arguments and results are those of KVStore's methods, keys with their
// prefix, as objects that run today have them.
import { argumentsOf, type Command, commandOf, parameterAt } from "../../commands.js";
import { KVError } from "../../errors.js";
import { score } from "../../results.js";
import type { Codec } from "../../transaction.js";
import type { Call, Outcome } from "./engine.js";
import { storeScore } from "./layout.js";

export const ORIGIN = "https://covara-kv";
export const JSON_HEADERS = { "content-type": "application/json" };

/** The body of `POST /batch`. */
export interface Batch {
  commands: Call[];
  stopOnError: boolean;
  /** An addition: refuse keys of another type. */
  strict?: boolean | undefined;
}

/** What came of a command. */
export type Result =
  /** `mismatched` is an addition: a key of another type was taken as empty. */
  | { ok: true; value?: unknown; mismatched?: true | undefined }
  /** `code` is an addition. */
  | { ok: false; error: string; code?: string };

/** JSON has no infinite numbers. */
export function encode(message: unknown): string {
  return JSON.stringify(message, (_, value) => (typeof value === "number" ? storeScore(value) : value));
}

/** An addition, behind the op of a call with several pairs. Older objects refuse it; of `hset` they would store the first. */
const PAIRS = "Pairs";

export function callOf({ method, parameters, pairs }: Command, args: readonly unknown[]): Call {
  return { op: pairs && args.length > parameters.length ? method + PAIRS : method, args };
}

/** The call that was encoded. */
export function decodeCall({ op: given, args: encoded }: Call): Call {
  const op = given.endsWith(PAIRS) ? given.slice(0, -PAIRS.length) : given;
  const args = [...encoded];
  // What was left out became null on the way: stores of today send their options always.
  while (args.at(-1) === null) args.pop();
  const command = commandOf(op);
  if (command === undefined) return { op, args };
  const read = (arg: unknown, index: number) => {
    const isInfinite = arg === "inf" || arg === "-inf";
    return isInfinite && parameterAt(command, index)?.isScore ? score(arg) : arg;
  };
  return { op, args: args.map(read) };
}

export function resultOf(outcome: Outcome): Result {
  if ("error" in outcome) return { ok: false, error: outcome.error.message, code: outcome.error.code };
  return { ok: true, value: outcome.value, mismatched: outcome.mismatched || undefined };
}

/** The error of a result. An object of today tells its text alone, which begins with the code if it is Redis's. */
export function errorOf({ error, code }: Result & { ok: false }, command: string): KVError {
  return new KVError(code ?? /^[A-Z]+(?= )/.exec(error)?.[0] ?? "ERR", error, { command });
}

/** The arguments of a method, and its result. */
export const wireCodec: Codec<unknown[]> = {
  encode(command, args, prefix) {
    const read = argumentsOf(command, args, prefix);
    if (prefix === "") return read;
    return read?.map((arg, i) => (parameterAt(command, i)?.isKey ? `${prefix}:${arg}` : arg));
  },

  decode({ name, returns }, value, prefix) {
    if (value instanceof KVError || returns.ofValue === undefined) return value;
    try {
      return returns.ofValue(value, prefix);
    } catch (cause) {
      throw unreachable(`gave no result of ${name}`, cause);
    }
  },
};

/** The results of as many commands. */
export async function resultsIn(response: Response, count: number): Promise<Result[]> {
  if (response.status !== 200) throw unreachable(`answered with status ${response.status}`);
  const { results } = (await response.json().catch((cause) => {
    throw unreachable("broke off its answer", cause);
  })) as { results: Result[] };
  if (!Array.isArray(results) || results.length !== count || results.includes(null as never)) {
    throw unreachable("did not answer each command");
  }
  return results;
}

/** What went wrong between a store and its object. */
export function unreachable(what: string, cause?: unknown): KVError {
  return new KVError("CONNECTION", `The Durable Object ${what}`, { reason: "durable-object", cause });
}

/** Why `eval` is refused, by the store and by the object. */
export function noScripts(): KVError {
  const message = "eval: a Durable Object runs no scripts: use multi(), setnx() or getdel()";
  return new KVError("UNSUPPORTED", message, { reason: "scripts", command: "EVAL" });
}

/** Workers and Node 18 have no random numbers of one kind in common but these. Nobody gains by guessing one. */
export function newSocketId(): string {
  return Math.random().toString(36).slice(2) + Date.now().toString(36);
}
