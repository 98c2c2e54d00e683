// Failures that the framework is known to leave unhandled without harm (docs/drop-in.md): which they are, and whom to tell.
import { type Command, isOfOneKey } from "./commands.js";
import { KVError } from "./errors.js";
import { isFrameworkChannel } from "./fanout/channels.js";

/** Nothing was answered: the server was away, or too slow. */
const CODES = ["CONNECTION", "TIMEOUT", "QUEUE_FULL"];

/**
 * What is under these keys the framework writes without waiting, and goes on without. Not `covara:tasks:`, whose polling loop is over
 * when one of its calls rejects.
 */
const PREFIXES = ["covara:changelog:", "oidc:clients:"];

/** Tells the store's listeners of an error. False if it has none. */
export type Tell = (error: KVError) => boolean;

/** Beside the errors, not on them: an error shows nothing of its call. */
const harmless = new WeakMap<KVError, Tell>();

const ASK = Symbol.for("covara-kv.unawaited");
// On the prototype, so that every copy of the package may be asked for its own errors, in whatever realm.
Object.defineProperty(KVError.prototype, ASK, {
  value(this: KVError) {
    return harmless.get(this);
  },
});

/** Whom to tell of an error of whichever copy; nobody if it is Node's to report. */
export function tellOf(error: Error): Tell | undefined {
  return (error as { [ASK]?: () => Tell | undefined })[ASK]?.();
}

/** Notes the failure of a command with such a key. */
export function noteCommand(error: unknown, command: Command, key: unknown, tell: Tell): void {
  if (typeof key !== "string" || !isOfOneKey(command)) return;
  if (PREFIXES.some((prefix) => key.startsWith(prefix))) note(error, tell);
}

/** Notes the failure to subscribe a channel, or to leave it. */
export function noteChannel(error: unknown, channel: string, tell: Tell): void {
  if (isFrameworkChannel(channel)) note(error, tell);
}

/** Whether a call failed because nothing was answered. */
export function isUnanswered(error: unknown): error is KVError {
  return error instanceof KVError && CODES.includes(error.code);
}

function note(error: unknown, tell: Tell): void {
  if (isUnanswered(error)) harmless.set(error, tell);
}
