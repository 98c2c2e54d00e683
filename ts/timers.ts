// Timers and clocks as they are when this is loaded. Tests replace the global ones, and what a store waits for would never come.
import { performance } from "node:perf_hooks";
import timers from "node:timers";

/** The module's, which Jest leaves alone: the global ones may be faked by now, and jsdom's give numbers. */
export const { setTimeout, clearTimeout, setImmediate } = timers;
export const { queueMicrotask } = globalThis;

/** The time in ms since the epoch. */
export const { now } = Date;

/** The time in ms from some time on, which no clock that is set can turn back. */
export const monotonic = performance.now.bind(performance);

/** A fake one, by which the clock that runs it can be found. */
const isFaked = "clock" in process.nextTick;

/** Calls `task` once what runs now is over. No fake clock can hold back the tick of a Promise. */
export const nextTick: <T>(task: (argument: T) => void, argument: T) => void = isFaked
  ? (task, argument) => void Promise.resolve(argument).then(task)
  : process.nextTick;
