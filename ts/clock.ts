/** The system's `Date`. Undefined if a test had faked it when this module was loaded: then every clock counts as faked. */
const system = /\[native code\]/.test(Function.prototype.toString.call(Date)) ? Date : undefined;
const now = system?.now;

/**
 * Whether a test has replaced the system's clock: by fake timers of Vitest, Jest or Sinon, or by a spy on `Date.now`. Only two
 * comparisons, as each call on a memory store makes them.
 */
export function isFaked(): boolean {
  return Date !== system || Date.now !== now;
}
