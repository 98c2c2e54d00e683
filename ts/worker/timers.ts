// A Worker has the global timers alone.
export const { setTimeout, clearTimeout } = globalThis;

/** The time in ms since the epoch. */
export const { now } = Date;
