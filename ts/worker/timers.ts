// A Worker has only the global timers.
export const { setTimeout, clearTimeout } = globalThis;

/** The time in ms since the epoch. */
export const { now } = Date;
