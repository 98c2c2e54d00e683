// Timers and clocks, kept from the time of loading: tests replace the global ones, and a store would wait for ever.
import { performance } from "node:perf_hooks";
import timers from "node:timers";

/** From the module, which Jest does not replace. The global ones may be faked already, and jsdom's return numbers. */
export const { setTimeout, clearTimeout, setImmediate } = timers;
export const { queueMicrotask } = globalThis;

/** The time in ms since the epoch. */
export const { now } = Date;

/** A monotonic time in ms, which setting the clock does not change. */
export const monotonic = performance.now.bind(performance);

/** A fake `nextTick` has a reference to its clock. */
const isFaked = "clock" in process.nextTick;

/** Calls `task` after the code that runs now. Where `nextTick` is faked, by a Promise, which no fake clock can delay. */
export const nextTick: <T>(task: (argument: T) => void, argument: T) => void = isFaked
  ? (task, argument) => void Promise.resolve(argument).then(task)
  : process.nextTick;
