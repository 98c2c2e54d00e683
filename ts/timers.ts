import { performance } from "node:perf_hooks";
import * as timers from "node:timers";

// Taken when this is loaded: tests put others in their place, which stand still.

export const { setImmediate } = timers;
export const { queueMicrotask } = globalThis;

/** In ms, from some time on. */
export const now = performance.now.bind(performance);
