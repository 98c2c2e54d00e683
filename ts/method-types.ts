// The types of arguments and results of KVStore's methods.
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

/** How long what {@link KVStore.setnx} sets lasts; without end by default. */
export type ExpiryOptions = Pick<SetOptions, "ex" | "px">;

/** What {@link KVStore.zrangebyscore} resolves to. */
export interface ZRangeOptions {
  /** Skip `offset` members, then take `count`; all that follow if `count` is negative. */
  limit?: { offset: number; count: number };
  /** Each member followed by its score, as a string. False by default. */
  withScores?: boolean;
}

/** Which keys {@link KVStore.scan} looks at. */
export interface ScanOptions {
  /** Only keys that match this glob. */
  match?: string;
  /** About how many keys to look at in one call: a positive integer, 10 by default. */
  count?: number;
}

/** A page of {@link KVStore.scan}. */
export interface ScanResult {
  /** What to give to the next call; `"0"` after the last page. */
  cursor: string;
  /** The keys, without the store's prefix. A page may be empty before the last. */
  keys: string[];
}

/** A string, or an array of them: JavaScript itself refuses a call of some 100,000 arguments. An empty one is none. */
export type OneOrMany = string | readonly string[];

/**
 * Called with a message and the channel it was published to. An error, or a rejected Promise, goes to the
 * `error` event.
 */
export type MessageCallback = (message: string, channel: string) => void;

/** What {@link KVStore.listen} takes beside channels and a callback. */
export interface ListenOptions {
  /** Globs of channels to listen to as well. */
  patterns?: readonly string[];
  /** Called after messages may have been missed: time to read the state again. */
  onGap?: (gap: Gap) => unknown;
}

/** What takes one callback away from its channels. */
export interface ScopedSubscription {
  /** Takes away this callback and no other. May be called twice. */
  close(): Promise<void>;
}

/** A {@link ScopedSubscription} that `await using` closes. */
export interface Subscription extends ScopedSubscription {
  /** The same as `close`. */
  [Symbol.asyncDispose](): Promise<void>;
}
