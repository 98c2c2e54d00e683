// What stores and objects say to each other. Arguments and results are those of KVAdapter's methods, keys with their
// prefix, as objects that run today have them.
import { key } from "../../arguments.js";
import { argumentsOf, type Command } from "../../commands.js";
import { KVError } from "../../errors.js";
import type { Form } from "../../transaction.js";
import type { Call, Outcome } from "./engine.js";
import { readScore, type StoredScore, storeScore } from "./layout.js";

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

/** The call that was encoded. */
export function decodeCall({ op, args }: Call): Call {
  const given = [...args];
  // What was left out became null on the way: stores of today send their options always.
  while (given.at(-1) === null) given.pop();
  const score = given[1];
  if (takesScore.has(op) && (score === "inf" || score === "-inf")) given[1] = readScore(score);
  return { op, args: given };
}

export function resultOf(outcome: Outcome): Result {
  if ("error" in outcome) return { ok: false, error: outcome.error.message, code: outcome.error.code };
  return { ok: true, value: outcome.value, mismatched: outcome.mismatched || undefined };
}

/** The error of a result. An object of today tells its text alone, which begins with the code if it is Redis's. */
export function errorOf({ error, code }: Result & { ok: false }, command: string): KVError {
  return new KVError(code ?? /^[A-Z]+(?= )/.exec(error)?.[0] ?? "ERR", error, { command });
}

/** As their second argument. */
const takesScore = new Set(["zadd", "zincrby"]);
const isScore = new Set(["zscore", "zincrby"]);
const isNothing = new Set(["hmset", "ltrim"]);

/** The arguments of a method, and its result. */
export const wireForm: Form<unknown[]> = {
  argvOf(command, args, prefix) {
    const read = argumentsOf(command, args, prefix);
    return prefix === "" ? read : read?.map((arg, i) => (isKey(command, i) ? `${prefix}:${arg}` : arg));
  },

  resultOf({ method }, value, prefix) {
    if (value instanceof Error) return value;
    if (isScore.has(method) && value !== null) return readScore(value as StoredScore);
    if (isNothing.has(method)) return undefined;
    const withoutPrefix = (key: string) => (prefix === "" ? key : key.slice(prefix.length + 1));
    if (method === "keys") return (value as string[]).map(withoutPrefix);
    if (method !== "scan") return value;
    const { cursor, keys } = value as { cursor: string; keys: string[] };
    return { cursor, keys: keys.map(withoutPrefix) };
  },
};

function isKey({ parameters, rest }: Command, index: number): boolean {
  return (index < parameters.length ? parameters[index] : rest) === key;
}

/** The results of as many commands. */
export async function resultsIn(response: Response, count: number): Promise<Result[]> {
  if (response.status !== 200) throw unreachable(`answered with status ${response.status}`);
  const { results } = (await response.json().catch((cause) => {
    throw unreachable("broke off its answer", cause);
  })) as { results: Result[] };
  if (results?.length !== count) throw unreachable("did not answer each command");
  return results;
}

/** What went wrong between a store and its object. */
export function unreachable(what: string, cause?: unknown): KVError {
  return new KVError("CONNECTION", `The Durable Object ${what}`, { cause });
}

/** Why `eval` is refused, by the store and by the object. */
export function noScripts(): KVError {
  const message = "eval: a Durable Object runs no scripts: use multi(), setnx() or getdel()";
  return new KVError("UNSUPPORTED", message, { command: "EVAL" });
}

/** Workers and Node 18 have no random numbers of one kind in common but these. Nobody gains by guessing one. */
export function newSocketId(): string {
  return Math.random().toString(36).slice(2) + Date.now().toString(36);
}
