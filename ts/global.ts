import type { KVAdapter, KVStore } from "./adapter.js";
import { KVError } from "./errors.js";

/**
 * The global store, under a symbol that all copies of the package share: an application and its framework may each have installed
 * their own copy. A worker thread has its own global object, and so its own store.
 */
const GLOBAL = Symbol.for("covara-kv.global");
const holder = globalThis as { [GLOBAL]?: KVAdapter | undefined };

/**
 * Makes `kv` the store of the process: any object, also one of a test that has only what the test calls. Throws `INVALID_ARGUMENT` if it is
 * none.
 *
 * @example
 * setGlobalKV(createMemoryKV());
 * await getGlobalKV().ping(); // "PONG"
 */
export function setGlobalKV(kv: KVAdapter): void {
  if (kv === null || !["object", "function"].includes(typeof kv)) {
    throw new KVError("INVALID_ARGUMENT", "setGlobalKV: kv must be an object");
  }
  change(kv);
}

/**
 * The store of the process. Throws while there is none. Its type is that of this package's stores: one of an application's own may have less.
 *
 * @example
 * setGlobalKV(kv);
 * getGlobalKV() === kv; // true
 */
export function getGlobalKV(): KVStore {
  const kv = currentKV();
  if (kv === undefined) {
    throw new KVError("CONFIG", "KV store not initialized: call initializeKV() or setGlobalKV() first", {
      reason: "no-store",
    });
  }
  return kv as KVStore;
}

/**
 * Whether the process has a store.
 *
 * @example
 * hasGlobalKV(); // false
 * setGlobalKV(kv);
 * hasGlobalKV(); // true
 */
export function hasGlobalKV(): boolean {
  return currentKV() !== undefined;
}

/**
 * Forgets the store of the process, without disconnecting it.
 *
 * @example
 * setGlobalKV(kv);
 * clearGlobalKV();
 * hasGlobalKV(); // false
 */
export function clearGlobalKV(): void {
  change(undefined);
}

/** The store of the process, if it has one. */
export function currentKV(): KVAdapter | undefined {
  return holder[GLOBAL];
}

/** Shared by all copies of the package, as the store is. */
const FOLLOWERS = Symbol.for("covara-kv.followers");

function followers(): Set<() => void> {
  const all = globalThis as { [FOLLOWERS]?: Set<() => void> };
  all[FOLLOWERS] ??= new Set();
  return all[FOLLOWERS];
}

/** Calls `follow` whenever the global store may have changed. */
export function onGlobalChange(follow: () => void): void {
  followers().add(follow);
}

function change(kv: KVAdapter | undefined): void {
  holder[GLOBAL] = kv;
  for (const follow of followers()) follow();
}
