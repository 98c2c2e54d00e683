import { channel } from "node:diagnostics_channel";
import { decode, type KVError } from "./errors.js";
import type { Gap, KVEvents } from "./events.js";

/** The backend of an event; `fanout` is the fan-out of the process. */
export type DiagnosticsBackend = "memory" | "redis" | "fanout";

/** A running command: one object for all of its messages. It has neither keys nor values. */
export interface CommandMessage {
  /** The Redis command; `EXEC` for a transaction. */
  readonly command: string;
  readonly backend: DiagnosticsBackend;
  /** The store's prefix; empty for none. */
  readonly prefix: string;
  /** Its error, from `covara-kv:command:error` on. */
  error?: unknown;
}

/** The messages of each channel of `node:diagnostics_channel`. */
export interface DiagnosticsMessages {
  /** A command was called. */
  "covara-kv:command:start": CommandMessage;
  /** A command failed. `end` follows. */
  "covara-kv:command:error": CommandMessage;
  /** A command has ended. */
  "covara-kv:command:end": CommandMessage;
  /** A connection was lost; attempt number `attempt` to connect again follows in `delay` milliseconds. */
  "covara-kv:reconnecting": { backend: DiagnosticsBackend } & KVEvents["reconnecting"][0];
  /** Messages may have been missed. */
  "covara-kv:gap": { backend: DiagnosticsBackend } & Gap;
  /** A call failed that the framework does not await: see `guardUnhandledRejections`. */
  "covara-kv:unhandled": { readonly backend: DiagnosticsBackend; readonly error: KVError };
}

const start = channel("covara-kv:command:start");
const failed = channel("covara-kv:command:error");
const end = channel("covara-kv:command:end");
const reconnecting = channel("covara-kv:reconnecting");
const gap = channel("covara-kv:gap");
const unhandled = channel("covara-kv:unhandled");

/** Whether a channel of commands has subscribers: without them commands are not traced. */
export function isTraced(): boolean {
  return start.hasSubscribers || end.hasSubscribers || failed.hasSubscribers;
}

/** Runs a command, and publishes its start and its end. */
export async function traced<T>(message: CommandMessage, run: () => T | Promise<T>): Promise<T> {
  start.publish(message);
  try {
    return await run();
  } catch (error) {
    message.error = decode(error, message.command);
    failed.publish(message);
    throw message.error;
  } finally {
    end.publish(message);
  }
}

export function tellReconnecting(message: DiagnosticsMessages["covara-kv:reconnecting"]): void {
  if (reconnecting.hasSubscribers) reconnecting.publish(message);
}

export function tellGap(backend: DiagnosticsBackend, missed: Gap): void {
  if (gap.hasSubscribers) gap.publish({ backend, ...missed });
}

export function tellUnhandled(message: DiagnosticsMessages["covara-kv:unhandled"]): void {
  unhandled.publish(message);
}
