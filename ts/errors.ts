import { hintFor } from "./hints.js";
import type { KVErrorReason } from "./reasons.js";
import { emitWarning } from "./warning.js";

/** The fields of a {@link KVError} beside its code and message. */
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
  /** The node of a cluster. */
  node?: string | undefined;
  /** The slot of the keys in a cluster. */
  slot?: number | undefined;
}

/**
 * Every failure of a store.
 *
 * An error reply of the server, or of the memory store, has Redis's text as its message, the same on every backend. Other
 * messages name the method and the argument, and never have a key or a value, but for the two keys of `CROSSSLOT`. `instanceof` is true for the errors of every
 * copy of the package, and of every realm.
 *
 * Each code and reason, whether the command may have been run, and what to do:
 * <https://github.com/covara-dev/covara-kv/blob/main/docs/errors.md>
 */
export class KVError extends Error {
  // By `this`, here and elsewhere: esbuild renames a class that refers to itself by its name.
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
  /** What to do about it, where that is known; not in a Worker. The text may change: decide by `code` and `reason`. */
  declare readonly hint?: string;
  /** The Redis command that failed, where it was one. */
  declare readonly command?: string;
  /** The error that led to it, if there is one. */
  declare readonly cause?: unknown;
  /** From `exec`: the position in the transaction of the command that failed, counted from 0. */
  declare readonly index?: number;
  /**
   * From `exec`: the result of every command, a KVError for one that failed. Absent if nothing was run, but for a transaction that was
   * split by slot.
   */
  declare readonly results?: unknown[];
  /** In a cluster: the node that was to run the command, as `host:port`, where one was. Not of a command within EXEC that failed. */
  declare readonly node?: string;
  /** In a cluster: the slot of the command's keys; 0 for a command without a key. As `node`. */
  declare readonly slot?: number;

  /** An error with a code, for stores of an application. */
  constructor(code: string, message: string, details: KVErrorDetails = {}) {
    const { reason, command, cause, index, results, node, slot } = details;
    super(message, cause === undefined ? {} : { cause });
    this.code = code;
    if (reason !== undefined) this.reason = reason;
    const hint = hintFor(code, reason);
    if (hint !== undefined) this.hint = hint;
    if (command !== undefined) this.command = command;
    if (index !== undefined) this.index = index;
    if (results !== undefined) this.results = results;
    if (node !== undefined) this.node = node;
    if (slot !== undefined) this.slot = slot;
  }
}

/** Marks the KVError of every copy of the package, on its prototype. */
const BRAND = Symbol.for("covara-kv.error");
Object.defineProperty(KVError.prototype, BRAND, { value: true });
Object.defineProperty(KVError, Symbol.hasInstance, {
  value(this: unknown, value: unknown): boolean {
    if (this !== KVError) return Function.prototype[Symbol.hasInstance].call(this as () => void, value);
    return isError(value) && (value as { [BRAND]?: unknown })[BRAND] === true;
  },
});

/**
 * Whether this is an Error of any realm: Jest runs each test file in its own realm, and the addon makes its errors in the main
 * one.
 */
export function isError(value: unknown): value is Error {
  if (typeof value !== "object" || value === null) return false;
  try {
    return Object.prototype.toString.call(value) === "[object Error]" || value instanceof Error;
  } catch {
    // A trap of a proxy threw.
    return false;
  }
}

/** As `Scope::error` in src/addon/raw.rs makes it. */
interface NativeError extends Error {
  readonly code?: unknown;
  readonly node?: string;
  readonly slot?: number;
}

/** An error of native code. Its tag is the code and, after a space, the reason if there is one. */
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
  const { code, cause, node, slot } = error as NativeError;
  if (typeof code !== "string") return error;
  return tagged(code, error.message, { command, cause: decode(cause), node, slot });
}

/** The reasons that leave open whether a command that writes was run. */
export const OPEN_REASONS: readonly KVErrorReason[] = [
  ...(["lost", "protocol", "internal", "durable-object", "command-timeout", "unanswered"] as const),
];

/** Whether an error leaves open whether the command was run. */
export function mayHaveRun(error: unknown): boolean {
  return error instanceof KVError && error.reason !== undefined && OPEN_REASONS.includes(error.reason);
}

/** The error of a call after `disconnect`. */
export function closed(): KVError {
  return new KVError("CLOSED", "The store is closed: connect() opens it again", { reason: "disconnected" });
}

/** Reports an error that no Promise can report: that of a user's callback. */
export function warn(what: string, error: unknown): void {
  emitWarning(what, "COVARA_KV_CALLBACK", error);
}

/** Warns that a store that is not strict has met a key of another type. */
export function warnOfWrongType(command: string): void {
  const others = "Redis refuses that (WRONGTYPE), and so does { strict: true }.";
  emitWarning(`${command} met a key of another type and took it as empty. ${others}`, "COVARA_KV_WRONGTYPE");
}
