// Failures that the framework leaves unhandled without harm (docs/drop-in.md), and the listeners to report them to.
import { type Command, isOfOneKey } from "./commands.js";
import { KVError } from "./errors.js";
import { isFrameworkChannel } from "./fanout/channels.js";

/** There was no answer: the server was unreachable, or too slow. */
const CODES = ["CONNECTION", "TIMEOUT", "QUEUE_FULL"];

/**
 * The framework writes these keys without awaiting, and can go on without them. Not `covara:tasks:`, whose polling loop ends when a
 * call rejects.
 */
const PREFIXES = ["covara:changelog:", "oidc:clients:"];

/** Reports an error to the listeners of the store. False if it has none. */
export type Tell = (error: KVError) => boolean;

/** Not properties of the errors, as an error must not show its call. */
const harmless = new WeakMap<KVError, Tell>();

const ASK = Symbol.for("covara-kv.unawaited");
// On the prototype: so each copy of the package answers for its own errors, in any realm.
Object.defineProperty(KVError.prototype, ASK, {
  value(this: KVError) {
    return harmless.get(this);
  },
});

/** Where to report an error of any copy of the package. Undefined if Node.js must report it. */
export function tellOf(error: Error): Tell | undefined {
  return (error as { [ASK]?: () => Tell | undefined })[ASK]?.();
}

/** Marks the failure of a command with such a key as harmless. */
export function noteCommand(error: unknown, command: Command, key: unknown, tell: Tell): void {
  if (typeof key !== "string" || !isOfOneKey(command)) return;
  if (PREFIXES.some((prefix) => key.startsWith(prefix))) note(error, tell);
}

/** Marks a failure to subscribe or unsubscribe a channel of the framework as harmless. */
export function noteChannel(error: unknown, channel: string, tell: Tell): void {
  if (isFrameworkChannel(channel)) note(error, tell);
}

/** Whether a call failed without an answer. */
export function isUnanswered(error: unknown): error is KVError {
  return error instanceof KVError && CODES.includes(error.code);
}

function note(error: unknown, tell: Tell): void {
  if (isUnanswered(error)) harmless.set(error, tell);
}
