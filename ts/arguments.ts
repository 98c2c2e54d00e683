import type { Argument } from "../native.js";
import { KVError } from "./errors.js";
import { utf8 } from "./utf8.js";

/** The call whose arguments are read. */
export interface CallContext {
  /** The name of the method in error messages. */
  readonly method: string;
  /** The Redis command. */
  readonly name: string;
  /** The store's prefix, without its colon; empty for none. */
  readonly prefix: string;
}

/** A parameter of a method. */
export interface Parameter<T> {
  /** It may be left out, and then adds nothing to the argv. */
  readonly optional?: boolean;
  /** It is a key, or a list of keys: each gets the prefix of the store. */
  readonly isKey?: true;
  /** It is a score, which may be infinite. */
  readonly isScore?: true;
  /** Returns the argument, or a copy of one that could change. Throws INVALID_ARGUMENT if it is wrong. */
  read(value: unknown, call: CallContext): T;
}

/** A parameter that is one word of the argv, unchanged. */
export interface Scalar<T> extends Parameter<T> {
  accepts(value: unknown): value is T;
  /** Returns the argument. Throws INVALID_ARGUMENT if it is wrong. */
  check(value: unknown, method: string): T;
}

/** Redis's limit of a string (`proto-max-bulk-len`). */
const MAX_BYTES = 512 * 1024 * 1024;

/** Node 18 lacks `isWellFormed`. */
const isWellFormed: (this: string) => boolean =
  (String.prototype as { isWellFormed?(): boolean }).isWellFormed ??
  function (this: string) {
    return !/\p{Surrogate}/u.test(this);
  };

/** A string that every backend can store: well formed, and at most 512 MB of UTF-8, which has up to three bytes for a code unit. */
export function isText(value: unknown): value is string {
  return (
    typeof value === "string" &&
    isWellFormed.call(value) &&
    (value.length <= MAX_BYTES / 3 || utf8(value).length <= MAX_BYTES)
  );
}

const isInteger = (value: unknown): value is number => Number.isSafeInteger(value);
const isScore = (value: unknown): value is number => typeof value === "number" && !Number.isNaN(value);
const isBound = (value: unknown): value is number | string => isScore(value) || isText(value);

export const text = (name: string) => scalar(name, "a string", isText);
export const integer = (name: string) => scalar(name, "a safe integer", isInteger);
export const score = (name: string): Scalar<number> => ({
  ...scalar(name, "a number", isScore),
  isScore: true,
});
/** A bound of a range of scores: a number, or a string that Redis parses. */
export const bound = (name: string) => scalar(name, "a number or a string", isBound);

/** One of several keys of a method, each with its own name. */
export const keyNamed = (name: string): Scalar<string> => ({ ...text(name), isKey: true });

export const key = keyNamed("key");

function scalar<T extends Argument>(
  name: string,
  wanted: string,
  accepts: (value: unknown) => value is T,
): Scalar<T> {
  // Few nested calls: a stack has ten lines, and the caller's must be among them.
  const read = (value: unknown, { method }: Pick<CallContext, "method">) => {
    if (accepts(value)) return value;
    throw wrong(method, name, wanted, value);
  };
  return {
    accepts,
    check: (value, method) => read(value, { method }),
    read,
  };
}

/** An array of strings. */
export const list = (name: string): Parameter<string[]> => ({
  read: (value, { method }) => strings(value, name, method),
});

export const keys = (name: string): Parameter<string[]> => ({ ...list(name), isKey: true });

/** The own properties of an object, at least one. */
export const record = (name: string): Parameter<Record<string, string>> => ({
  read(value, call) {
    const entries = Object.entries(object(value, name, call.method));
    if (entries.length === 0) throw wrongNumberOfArguments(call.name);
    for (const [field, item] of entries) {
      text(`a field of ${name}`).check(field, call.method);
      text(`a value of ${name}`).check(item, call.method);
    }
    return Object.fromEntries(entries) as Record<string, string>;
  },
});

/** A copy of an array of strings. */
export function strings(value: unknown, name: string, method: string): string[] {
  if (!Array.isArray(value)) throw wrong(method, name, "an array of strings", value);
  return Array.from(value, (item, index) => text(`${name}[${index}]`).check(item, method));
}

export function object(value: unknown, name: string, method: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw wrong(method, name, "an object", value);
}

/** Refuses arguments after the first `most`, which would be ignored silently. Undefined counts as not given. */
export function checkNoMore(method: string, most: number, more: readonly unknown[]): void {
  if (more.every((arg) => arg === undefined)) return;
  const takes = most === 0 ? "no arguments" : most === 1 ? "1 argument" : `at most ${most} arguments`;
  throw invalid(`${method}: takes ${takes}, got ${most + more.length}`);
}

export function checkFunction(value: unknown, name: string, method: string): void {
  if (typeof value !== "function") throw wrong(method, name, "a function", value);
}

export function checkBoolean(value: unknown, name: string, method: string): boolean {
  if (typeof value === "boolean") return value;
  throw wrong(method, name, "a boolean", value);
}

/** Runs a reader of arguments: an error that a getter or a proxy throws becomes INVALID_ARGUMENT. */
export function reading<T>(method: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof KVError ? error : invalid(`${method}: an argument cannot be read`, error);
  }
}

export function invalid(message: string, cause?: unknown): KVError {
  return new KVError("INVALID_ARGUMENT", message, { cause });
}

export function wrongNumberOfArguments(name: string): KVError {
  const message = `ERR wrong number of arguments for '${name.toLowerCase()}' command`;
  return new KVError("ERR", message, { command: name });
}

function wrong(method: string, name: string, wanted: string, value: unknown): KVError {
  if (typeof value !== "string" || !wanted.includes("a string")) {
    return invalid(`${method}: ${name} must be ${wanted}, got ${kindOf(value)}`);
  }
  const problem = isWellFormed.call(value) ? "is over 512 MB of UTF-8" : "has a lone surrogate";
  return invalid(`${method}: ${name} ${problem}`);
}

/** The kind of a value, for messages that must not hold the value. */
function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (typeof value === "object") return isArray(value) ? "array" : "object";
  if (typeof value !== "number" || Number.isSafeInteger(value)) return typeof value;
  if (!Number.isFinite(value)) return String(value);
  return Number.isInteger(value) ? "an integer past 2^53 - 1" : "a fraction";
}

/** Array.isArray throws for a revoked proxy. */
function isArray(value: object): boolean {
  try {
    return Array.isArray(value);
  } catch {
    return false;
  }
}
