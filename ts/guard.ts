import { types } from "node:util";
import { tellUnhandled } from "./diagnostics.js";
import type { KVError } from "./errors.js";
import { setTimeout } from "./timers.js";
import { tellOf } from "./unawaited.js";
import { emitWarning } from "./warning.js";

/** The shortest time between two process warnings, in ms. */
const WARN_EVERY = 60_000;

/** The number of calls of `guardUnhandledRejections` that were not undone. */
let guards = 0;
/** Removes the interception. Undefined while there is none. */
let remove: (() => void) | undefined;

/**
 * Keeps an outage from ending the process. Node.js ends a process for an unhandled rejection, and the framework does not await some
 * calls whose loss is harmless. These are calls on the changelog (`covara:changelog:*`) and on OIDC clients (`oidc:clients:*`), and
 * `subscribe` and `unsubscribe` of `covara:events` and `covara:aggregate`.
 *
 * From now on such a call that rejects with `CONNECTION`, `TIMEOUT` or `QUEUE_FULL` goes to the `error` event of its store. Without
 * listeners it goes to a process warning (`COVARA_KV_UNHANDLED`, at most one a minute, with the count). It always goes to the channel
 * `covara-kv:unhandled` of `node:diagnostics_channel`. Any other rejection, and every mode of `--unhandled-rejections`, stays with
 * Node.js. `covara-kv/register` calls this. Each thread has its own guard.
 *
 * Returns a function that undoes this call. The guard has no effect in a Worker, which no rejection ends. It has none in Bun and Deno
 * either, which do not emit these events through `process.emit`.
 *
 * @example
 * // The framework's store.
 * setGlobalKV(await createKV({ type: "redis", redis: { url } }));
 * guardUnhandledRejections();
 */
export function guardUnhandledRejections(): () => void {
  guards += 1;
  remove ??= intercept();
  let isUndone = false;
  return () => {
    if (isUndone) return;
    isUndone = true;
    guards -= 1;
    if (guards === 0) remove?.();
  };
}

/**
 * Wraps `process.emit`. A listener of `unhandledRejection` would change what Node.js does with all other errors: in most modes it
 * only checks whether there is a listener.
 */
function intercept(): () => void {
  const own = Object.getOwnPropertyDescriptor(process, "emit");
  const next = process.emit;
  const emit = function (this: unknown, ...args: unknown[]): unknown {
    return guards > 0 && isTaken(args) ? true : Reflect.apply(next, this, args);
  };
  Object.defineProperty(process, "emit", {
    ...(own ?? { writable: true, configurable: true, enumerable: false }),
    value: emit,
  });
  return () => {
    // Another wrapper calls this one, which then passes everything on.
    if (process.emit !== (emit as unknown)) return;
    remove = undefined;
    if (own === undefined) delete (process as Partial<typeof process>).emit;
    else Object.defineProperty(process, "emit", own);
  };
}

/** Promises whose rejection was taken: `rejectionHandled` is not emitted for them either. */
const taken = new WeakSet<object>();

/** Whether an event of the process is about an error that may stay unhandled. */
function isTaken([event, subject, origin]: unknown[]): boolean {
  switch (event) {
    case "unhandledRejection": {
      const tell = tellFor(subject);
      if (tell === undefined) return false;
      taken.add(origin as object);
      report(subject as KVError, tell);
      return true;
    }
    case "rejectionHandled":
      return taken.has(subject as object);
    // With --unhandled-rejections=strict these events come first.
    case "uncaughtExceptionMonitor":
    case "uncaughtException":
      return origin === "unhandledRejection" && tellFor(subject) !== undefined;
    default:
      return false;
  }
}

const tellFor = (reason: unknown) => (types.isNativeError(reason) ? tellOf(reason) : undefined);

function report(error: KVError, tell: ReturnType<typeof tellFor> & object): void {
  tellUnhandled({ backend: "redis", error });
  if (!tell(error)) countForWarning(error);
}

let untold = 0;
let last: KVError;
let pause: NodeJS.Timeout | undefined;

function countForWarning(error: KVError): void {
  untold += 1;
  last = error;
  if (pause === undefined) warn();
}

function warn(): void {
  pause = undefined;
  if (untold === 0) return;
  const calls = untold === 1 ? "A call" : `${untold} calls`;
  untold = 0;
  emitWarning(`${calls} that the framework does not wait for failed: ${last.message}`, "COVARA_KV_UNHANDLED");
  pause = setTimeout(warn, WARN_EVERY);
  pause.unref();
}
