// In place of `node:test`, in bundles for other runners: what Jest, Vitest and our own node:vm give as globals.
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
  /** Vitest's, and ours. */
  vi?: Timers;
  /** Ours: loads the package once more. */
  loadCopy?: () => unknown;
}

/** A variable that Jest gives each module, and no global. */
declare const jest: (Timers & { resetModules(): void }) | undefined;

const globals = globalThis as unknown as Globals;
const isJest = typeof jest !== "undefined";

export const { describe, beforeAll: before, afterAll: after } = globals;

/** What a test's environment cannot change, and takes longest. */
const isLong = (name: string) => /\d,\d{3}|megabyte|thousands|more strings|expired key/.test(name);

/** Jest gives tests a copy of `process`, which hears of no warning. */
const isUnheard = (name: string) => isJest && /reported once|breaks nothing/.test(name);

export function test(name: string, options: { skip: unknown; timeout: number }, body: () => unknown): void {
  if (options.skip || isLong(name) || isUnheard(name)) return;
  globals.test(name, body, options.timeout);
}

export const timers = (isJest ? jest : globals.vi) as Timers;

/** Another copy of the package, where there can be one. */
export const loadCopy: Globals["loadCopy"] = isJest
  ? () => {
      jest?.resetModules();
      return require("covara-kv");
    }
  : globals.loadCopy;
