/**
 * The system's `Date`, and nothing where a test had faked it before this module was loaded: then its clock is
 * followed even when it turns out to be the system's.
 */
const system = /\[native code\]/.test(Function.prototype.toString.call(Date)) ? Date : undefined;
const now = system?.now;

/**
 * Whether a test has put a clock of its own in place of the system's: fake timers of Vitest, Jest and Sinon, or a
 * spy on `Date.now`. Two comparisons, as each call on a memory store makes them.
 */
export function isFaked(): boolean {
  return Date !== system || Date.now !== now;
}
