import { KVError } from "./errors.js";

/** A reply, in the shapes of RESP. Doubles arrive as numbers, infinite ones too. */
export type Reply = string | number | null | Reply[];

/** One word of a command, as Redis has it in its argv. */
export type Argument = string | number;

/**
 * Runs a command at once. Throws an Error with Redis's text and its first word as `code`. The arguments may
 * come as one array: spreading a very long list overflows the stack.
 */
export type Run = (command: number, ...args: Argument[] | [argv: Argument[]]) => Reply;

/** A handle of one store. Keys are given without the prefix, but for the patterns of KEYS and SCAN. */
export interface NativeMemoryStore {
  runner(): Run;
  /**
   * Runs `[command, ...args]` after `[command, ...args]` with nothing in between. Errors stand in place of
   * their replies.
   */
  exec(commands: Argument[][]): (Reply | Error)[];
  subscribe(channel: string): void;
  unsubscribe(channel: string): void;
  psubscribe(pattern: string): void;
  punsubscribe(pattern: string): void;
  /**
   * What was published since the last call: pattern or null, channel, message, and so on. `dropped` did not
   * fit the inbox.
   */
  takeMessages(): { messages: (string | null)[]; dropped: number };
  close(): void;
}

interface Native {
  /** The row of a Redis command in the native table. Throws for one that is not there. */
  commandIndex(name: string): number;
  /** Deletes keys that are due, of every store, within a budget of time. True if more are due. */
  sweepExpired(): boolean;
  MemoryStore: new (
    options: { prefix?: string; strict: boolean; shared?: string },
    /** A lenient store met a key of another type; once for each store and command. */
    onWrongType: (command: string) => void,
    /** Another thread published: `takeMessages` has something. */
    onMessages: () => void,
    /** Makes an array of items, or adds them to one. */
    collect: (array: Reply[] | undefined, ...items: Reply[]) => Reply[],
  ) => NativeMemoryStore;
}

export const { commandIndex, sweepExpired, MemoryStore } = load();

function load(): Native {
  try {
    return require("../native.js");
  } catch (cause) {
    const { platform, arch } = process;
    const cure = "Build it in a clone of covara-kv: npm run build";
    throw new KVError("UNSUPPORTED", `There is no native binary for ${platform}-${arch} here. ${cure}`, {
      cause,
    });
  }
}
