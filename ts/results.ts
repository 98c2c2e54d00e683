// The kinds of results. A row of commands.ts names one as `returns`: from it follow the conversions of replies of Redis and the memory
// store, and of values of a Durable Object.
import type { ScanResult } from "./adapter.js";
import { decode, isError, KVError } from "./errors.js";

// biome-ignore lint/suspicious/noConfusingVoidType: it is what these methods resolve to
type Nothing = void;

/** The result of a method, by kind. */
interface Results {
  text: string;
  textOrNull: string | null;
  texts: string[];
  textsOrNulls: (string | null)[];
  /** An integer. */
  number: number;
  /** A number that may be a fraction or infinite. */
  score: number;
  scoreOrNull: number | null;
  scores: (number | null)[];
  /** Redis replies 1 or 0. */
  flag: boolean;
  /** Redis replies OK, or nil if a condition was not met. */
  done: boolean;
  /** As `done`, for a method that resolves to nothing: only `exec` returns the reply. */
  outcome: Nothing;
  nothing: Nothing;
  hash: Record<string, string>;
  /** Keys, without the prefix of the store. */
  keys: string[];
  /** A cursor and keys. */
  page: ScanResult;
  /** The reply of a script. */
  any: unknown;
}

export type ResultKind = keyof Results;

/** The kinds whose result has exactly this type. */
export type KindOf<Result> = {
  [K in ResultKind]: [Result, Results[K]] extends [Results[K], Result] ? K : never;
}[ResultKind];

/** The value of a command on a Durable Object, by the result of its method. */
export type ValueOf<K extends ResultKind, Result> = K extends "outcome" ? "OK" | null : Result;

/** Converts an answer of a store to a result. Keys in the answer begin with the prefix. */
export type Convert<Result> = (answer: unknown, prefix: string) => Result;

export interface Conversions<Result = unknown> {
  /** Whether a reply has the right shape: a proxy, or a server that is not Redis, may send anything. */
  readonly fits: (reply: unknown) => boolean;
  /** Converts a reply of Redis or of the memory store. Absent where the result is the reply. */
  readonly ofReply?: Convert<Result>;
  /** Converts a value of a Durable Object. Absent where the result is the value. */
  readonly ofValue?: Convert<Result>;
  /** Whether `exec` returns the answer of the store, not the result of the method. */
  readonly execGivesAnswer?: true;
}

const isText = (reply: unknown) => typeof reply === "string";
const isNumber = (reply: unknown) => typeof reply === "number";
const isTextOrNull = (reply: unknown) => typeof reply === "string" || reply === null;
const isScore = (reply: unknown) => typeof reply === "string" || typeof reply === "number";
const isScoreOrNull = (reply: unknown) => reply === null || isScore(reply);
const isListOf = (fits: (item: unknown) => boolean) => (reply: unknown) =>
  Array.isArray(reply) && reply.every(fits);
/** A loop takes half as long as `every`, and lists of keys are long. */
const isTexts = (reply: unknown) => {
  if (!Array.isArray(reply)) return false;
  for (let i = 0; i < reply.length; i++) if (typeof reply[i] !== "string") return false;
  return true;
};
const isPairs = (reply: unknown) => isTexts(reply) && (reply as string[]).length % 2 === 0;
const isPage = (reply: unknown) =>
  Array.isArray(reply) && reply.length === 2 && isText(reply[0]) && isTexts(reply[1]);

const nothing = () => undefined;

/** RESP 2 has no doubles, and JSON no infinite numbers: both write them as strings. */
export function score(answer: unknown): number {
  if (typeof answer !== "string") return answer as number;
  const infinity = /^([+-]?)inf(inity)?$/i.exec(answer);
  return infinity === null ? Number(answer) : infinity[1] === "-" ? -Infinity : Infinity;
}

const scores = (answer: unknown) => (answer as unknown[]).map(score);

/**
 * Converts a list of fields and values to an object. Not by assignment, which would take a field `__proto__` for the prototype.
 */
function hash(reply: unknown): Record<string, string> {
  const flat = reply as string[];
  const data: Record<string, string> = {};
  for (let i = 0; i < flat.length; i += 2) {
    const field = flat[i] as string;
    const value = flat[i + 1] as string;
    if (field !== "__proto__") data[field] = value;
    else Object.defineProperty(data, field, { value, writable: true, enumerable: true, configurable: true });
  }
  return data;
}

const withoutPrefix: Convert<string[]> = (answer, prefix) => {
  const keys = answer as string[];
  return prefix === "" ? keys : keys.map((key) => key.slice(prefix.length + 1));
};

const pageOfReply: Convert<ScanResult> = (reply, prefix) => {
  const [cursor, keys] = reply as [string, string[]];
  return { cursor, keys: withoutPrefix(keys, prefix) };
};

const pageOfValue: Convert<ScanResult> = (value, prefix) => {
  const { cursor, keys } = value as ScanResult;
  // The spread refuses a value without keys, which `withoutPrefix` would accept.
  return { cursor, keys: withoutPrefix([...keys], prefix) };
};

/** The table of a script may hold errors. */
const withErrors = (reply: unknown): unknown =>
  Array.isArray(reply) ? reply.map(withErrors) : decode(reply);

export const conversions: { readonly [K in ResultKind]: Conversions<Results[K]> } = {
  text: { fits: isText },
  textOrNull: { fits: isTextOrNull },
  texts: { fits: isTexts },
  textsOrNulls: { fits: isListOf(isTextOrNull) },
  number: { fits: isNumber },
  score: { fits: isScore, ofReply: score, ofValue: score },
  scoreOrNull: { fits: isScoreOrNull, ofReply: score, ofValue: score },
  scores: { fits: isListOf(isScoreOrNull), ofReply: scores, ofValue: scores },
  flag: { fits: isNumber, ofReply: (reply) => reply === 1 },
  done: { fits: isTextOrNull, ofReply: (reply) => reply === "OK" },
  outcome: { fits: isTextOrNull, ofReply: nothing, ofValue: nothing, execGivesAnswer: true },
  // Most commands reply OK, and HSET a number.
  nothing: { fits: isScore, ofReply: nothing, ofValue: nothing },
  hash: { fits: isPairs, ofReply: hash },
  keys: {
    fits: isTexts,
    ofReply: withoutPrefix,
    ofValue: (value, prefix) => withoutPrefix([...(value as string[])], prefix),
  },
  page: { fits: isPage, ofReply: pageOfReply, ofValue: pageOfValue },
  any: { fits: () => true, ofReply: withErrors },
};

/** The error for a reply of a wrong shape: the error in it, or CONNECTION. */
export function misshapen(command: string, reply: unknown): unknown {
  const error = errorIn(reply);
  if (error !== undefined) return decode(error, command);
  return new KVError("CONNECTION", "The server's reply is none that the command has", {
    reason: "protocol",
    command,
  });
}

function errorIn(reply: unknown): unknown {
  if (Array.isArray(reply)) return reply.map(errorIn).find((error) => error !== undefined);
  return isError(reply) ? reply : undefined;
}
