// Replaces `node:test` in bundles for other runners, with the globals of Jest, Vitest and our own node:vm.
interface Timers {
  useFakeTimers(): unknown;
  useRealTimers(): unknown;
  advanceTimersByTime(ms: number): unknown;
}

interface Globals {
  describe(name: string, define: () => void): void;
  beforeAll(work: () => unknown): void;
  afterAll(work: () => unknown): void;
  test(name: string, body: () => unknown, timeout?: number): void;
  /** In Vitest and in our node:vm. */
  vi?: Timers;
  /** Only in our node:vm: loads the package once more. */
  loadCopy?: () => unknown;
}

/** Jest gives this variable to each module; it is no global. */
declare const jest: (Timers & { resetModules(): void }) | undefined;

const globals = globalThis as unknown as Globals;
const isJest = typeof jest !== "undefined";

export const { describe, beforeAll: before, afterAll: after } = globals;

/** Tests that take long, and whose result does not depend on the environment. */
const isLong = (name: string) => /\d,\d{3}|megabyte|thousands|more strings|expired key/.test(name);

/** Tests that need warnings: Jest gives tests a copy of `process`, which emits none. */
const isUnheard = (name: string) => isJest && /reported once|breaks nothing/.test(name);

export function test(name: string, options: { skip: unknown; timeout: number }, body: () => unknown): void {
  if (options.skip || isLong(name) || isUnheard(name)) return;
  globals.test(name, body, options.timeout);
}

export const timers = (isJest ? jest : globals.vi) as Timers;

/** Loads another copy of the package, in environments that can. */
export const loadCopy: Globals["loadCopy"] = isJest
  ? () => {
      jest?.resetModules();
      return require("covara-kv");
    }
  : globals.loadCopy;
