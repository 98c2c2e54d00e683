// The types of arguments and results of the methods of KVStore.
import type { Gap } from "./events.js";

/** When {@link KVStore.set} sets, and for how long. */
export interface SetOptions {
  /** Expire after this many seconds: a positive integer. Not with `px`. */
  ex?: number;
  /** Expire after this many milliseconds: a positive integer. Not with `ex`. */
  px?: number;
  /** Only if the key does not exist. Not with `xx`. */
  nx?: boolean;
  /** Only if the key exists. Not with `nx`. */
  xx?: boolean;
}

/** The expiry of {@link KVStore.setnx}. None by default. */
export type ExpiryOptions = Pick<SetOptions, "ex" | "px">;

/** Which members {@link KVStore.zrangebyscore} resolves to, and in which form. */
export interface ZRangeOptions {
  /** Skip `offset` members, then take `count`; all the rest if `count` is negative. */
  limit?: { offset: number; count: number };
  /** Each member followed by its score, as a string. False by default. */
  withScores?: boolean;
}

/** Which keys {@link KVStore.scan} returns. */
export interface ScanOptions {
  /** Only keys that match this glob. */
  match?: string;
  /** About how many keys one call checks: a positive integer, 10 by default. */
  count?: number;
}

/** A page of {@link KVStore.scan}. */
export interface ScanResult {
  /** The cursor of the next call; `"0"` after the last page. */
  cursor: string;
  /** The keys, without the prefix of the store. Any page may be empty, not only the last. */
  keys: string[];
}

/** A string, or an array of strings, as JavaScript refuses calls with some 100,000 arguments. An empty array adds nothing. */
export type OneOrMany = string | readonly string[];

/**
 * Called with a message and the channel it was published to. An error, or a rejected Promise, goes to the
 * `error` event.
 */
export type MessageCallback = (message: string, channel: string) => void;

/** The options of {@link KVStore.listen}. */
export interface ListenOptions {
  /** Globs of further channels. */
  patterns?: readonly string[];
  /** Called after messages may have been missed: read the state again. */
  onGap?: (gap: Gap) => unknown;
}

/** The handle of one callback on its channels. */
export interface ScopedSubscription {
  /** Removes this callback and no other. May be called twice. */
  close(): Promise<void>;
}

/** A {@link ScopedSubscription} that `await using` closes. */
export interface Subscription extends ScopedSubscription {
  /** The same as `close`. */
  [Symbol.asyncDispose](): Promise<void>;
}
