import { hintFor } from "./hints.js";
import type { KVErrorReason } from "./reasons.js";
import { emitWarning } from "./warning.js";

/** What a {@link KVError} carries beside its code and message: see there. */
export interface KVErrorDetails {
  /** Which of the causes of its code it has. */
  reason?: KVErrorReason | undefined;
  /** The Redis command. */
  command?: string | undefined;
  /** What led to the error. */
  cause?: unknown;
  /** The position in a transaction. */
  index?: number | undefined;
  /** The results of a transaction. */
  results?: unknown[] | undefined;
}

/**
 * Every failure of a store.
 *
 * What the server, or the memory store in its place, answers has Redis's text as its message, the same on
 * every backend. Messages of covara-kv's own name the method and the argument, and never hold a key or a
 * value. `instanceof` knows the errors of every copy of the package, and of every realm.
 *
 * Each code and reason, whether the command may have been run, and what to do:
 * <https://github.com/covara-dev/covara-kv/blob/main/docs/errors.md>
 */
export class KVError extends Error {
  // By `this`, here and elsewhere: esbuild renames a class that says its own name.
  static {
    this.prototype.name = "KVError";
  }

  /**
   * The first word of Redis's error (`WRONGTYPE`, `NOAUTH`, `ERR`, …), or one of ours: `CONNECTION`,
   * `TIMEOUT`, `CLOSED` (after `disconnect`), `QUEUE_FULL`, `CONFIG`, `INVALID_ARGUMENT`, `UNSUPPORTED`.
   */
  readonly code: string;
  /** Which of the causes of its code it has, where that has several. */
  declare readonly reason?: KVErrorReason;
  /** What to do about it, where that can be told; not in a Worker. Its text may change: decide by `code` and `reason`. */
  declare readonly hint?: string;
  /** The Redis command that failed, where it was one. */
  declare readonly command?: string;
  /** What led to the error, where something did. */
  declare readonly cause?: unknown;
  /** From `exec`: the position in the transaction of the command that failed, counted from 0. */
  declare readonly index?: number;
  /** From `exec`: the result of every command, a KVError for one that failed. Absent if nothing was run. */
  declare readonly results?: unknown[];

  /** An error with a code; for stores of your own. */
  constructor(code: string, message: string, details: KVErrorDetails = {}) {
    const { reason, command, cause, index, results } = details;
    super(message, cause === undefined ? {} : { cause });
    this.code = code;
    if (reason !== undefined) this.reason = reason;
    const hint = hintFor(code, reason);
    if (hint !== undefined) this.hint = hint;
    if (command !== undefined) this.command = command;
    if (index !== undefined) this.index = index;
    if (results !== undefined) this.results = results;
  }
}

/** On the prototype of every copy's KVError. */
const BRAND = Symbol.for("covara-kv.error");
Object.defineProperty(KVError.prototype, BRAND, { value: true });
Object.defineProperty(KVError, Symbol.hasInstance, {
  value(this: unknown, value: unknown): boolean {
    if (this !== KVError) return Function.prototype[Symbol.hasInstance].call(this as () => void, value);
    return isError(value) && (value as { [BRAND]?: unknown })[BRAND] === true;
  },
});

/**
 * Whether this is an Error, of whichever realm: Jest runs each test file in one of its own, and `instanceof`
 * does not know what the addon makes in another.
 */
export function isError(value: unknown): value is Error {
  if (typeof value !== "object" || value === null) return false;
  try {
    return Object.prototype.toString.call(value) === "[object Error]" || value instanceof Error;
  } catch {
    // A proxy's trap.
    return false;
  }
}

/** The error that native code tells of: its tag is a code and, behind a space, a reason where the code has several. */
export function tagged(tag: string, message: string, details?: KVErrorDetails): KVError {
  const [code = "", reason] = tag.split(" ");
  return new KVError(code, message, { ...details, reason: reason as KVErrorReason | undefined });
}

/**
 * The one place where native errors become {@link KVError}. The native side marks its errors with a tag as
 * `code`; whatever has none is a defect, not an answer, and stays what it is.
 */
export function decode(error: unknown, command?: string): unknown {
  if (error instanceof KVError || !isError(error)) return error;
  const { code, cause } = error as Error & { code?: unknown };
  return typeof code === "string" ? tagged(code, error.message, { command, cause: decode(cause) }) : error;
}

/** Why a store that was disconnected refuses what it is asked. */
export function closed(): KVError {
  return new KVError("CLOSED", "The store is closed: connect() opens it again", { reason: "disconnected" });
}

/** Reports what nobody can be told through a Promise: the failure of a function that the user handed in. */
export function warn(what: string, error: unknown): void {
  emitWarning(what, "COVARA_KV_CALLBACK", error);
}

/** A store that is not strict has met a key of another type. */
export function warnOfWrongType(command: string): void {
  const others = "Redis refuses that (WRONGTYPE), and so does { strict: true }.";
  emitWarning(`${command} met a key of another type and took it as empty. ${others}`, "COVARA_KV_WRONGTYPE");
}
