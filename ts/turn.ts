import { monotonic, queueMicrotask, setImmediate } from "./timers.js";

/** For how long what comes in may keep the event loop of a thread from turning, in ms. */
const BUDGET = 2;

/** How much is taken before the clock is looked at. */
export const AT_ONCE = 32;

/** How long those who wait for what is settled at once may take, in ms. */
const SETTLING = 4;
/** With more than so many it is no faster. */
const MOST = 4_096;
/** So many async functions, one within the other, may stand between a Promise and what it is waited for. */
const LEVELS = 8;

/** Does some of what there is to do, until the time {@link isSpent}. True if there may be more. */
export type Work = () => boolean;

/** When the time that is being spent began; not a number until somebody looks, as many need no longer than a clock. */
let since = 0;

/** What goes on when the event loop has turned. */
const waiting = new Set<Work>();
let isScheduled = false;

/** Whether others are to have their turn: timers, sockets, and what else waits. */
export function isSpent(): boolean {
  if (Number.isNaN(since)) since = monotonic();
  return monotonic() - since >= BUDGET;
}

/**
 * Does what has come in from another thread, now or when the event loop has turned. Node.js calls a threadsafe function
 * up to 1,000 times before it turns: so the time is that of all calls together, and begins anew only when it has.
 */
export function inTurn(work: Work): void {
  if (waiting.size > 0 || isSpent() || work()) later(work);
}

/** Does what cannot wait, in a time of its own; what is left when the event loop has turned. False if that is nothing. */
export function atOnce(work: Work): boolean {
  const before = since;
  since = Number.NaN;
  try {
    const isMore = work();
    if (isMore) later(work);
    return isMore;
  } finally {
    since = before;
  }
}

/**
 * How many Promises are settled at once: whoever waits for them runs before the event loop turns, and nothing can come in
 * between.
 */
export class Pace {
  count = MOST;

  /** So many were settled since a time. Those who waited for them run from now on. */
  measure(count: number, since: number, levels = LEVELS): void {
    queueMicrotask(() => {
      if (levels > 0) return this.measure(count, since, levels - 1);
      const affordable = (SETTLING * count) / (monotonic() - since);
      this.count = Math.round(Math.min(MOST, Math.max(AT_ONCE, affordable)));
    });
  }
}

function later(work: Work): void {
  waiting.add(work);
  if (isScheduled) return;
  isScheduled = true;
  setImmediate(turned);
}

/** One work after the other, as they came: none keeps the others waiting for good. */
function turned(): void {
  isScheduled = false;
  since = monotonic();
  try {
    for (const work of waiting) {
      waiting.delete(work);
      if (work()) waiting.add(work);
      if (isSpent()) break;
    }
  } finally {
    const [first] = waiting;
    if (first !== undefined) later(first);
  }
}
