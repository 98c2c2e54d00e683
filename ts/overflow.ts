import type { Gap } from "./events.js";

/** The gap of messages that were dropped for want of room since a moment, in ms since the epoch. It ends when all that waited is taken. */
export function overflowSince(since: number): Gap {
  const to = Date.now();
  // A test's clock may be behind the system's.
  return { from: Math.min(since, to), to, reason: "overflow" };
}
