import { now, setImmediate } from "./timers.js";

/** For how long what comes in may keep the event loop of a thread from turning, in ms. */
const BUDGET = 2;

/** How much is taken before the clock is looked at. */
export const AT_ONCE = 32;

/** Does some of what there is to do, until the time {@link isSpent}. True if there may be more. */
export type Work = () => boolean;

/** When the time that is being spent began; not a number until somebody looks, as many need no longer than a clock. */
let since = 0;

/** What goes on when the event loop has turned. */
const waiting = new Set<Work>();
let isScheduled = false;

/** Whether others are to have their turn: timers, sockets, and what else waits. */
export function isSpent(): boolean {
  if (Number.isNaN(since)) since = now();
  return now() - since >= BUDGET;
}

/**
 * Does what has come in from another thread, now or when the event loop has turned. Node.js calls a threadsafe function
 * up to 1,000 times before it turns: so the time is that of all calls together, and begins anew only when it has.
 */
export function inTurn(work: Work): void {
  if (waiting.size > 0 || isSpent() || work()) later(work);
}

/** Does what cannot wait, in a time of its own; what is left of it when the event loop has turned. */
export function atOnce(work: Work): void {
  const before = since;
  since = Number.NaN;
  try {
    if (work()) later(work);
  } finally {
    since = before;
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
  since = now();
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
