import { monotonic, queueMicrotask, setImmediate } from "./timers.js";

/** For how long what comes in may keep the event loop of a thread from turning, in ms. */
const BUDGET = 2;

/** How much is taken before the clock is looked at. */
export const AT_ONCE = 32;

/** How long those who wait for what is settled at once may take, in ms. */
const SETTLING = 10;
/** With more than so many it is no faster. */
const MOST = 4_096;
/** So many async functions, one within the other, may stand between a Promise and what it is waited for. */
const LEVELS = 8;

/** Does some of what there is to do, until the time {@link isSpent}. True if there may be more. */
export type Work = () => boolean;

/** So often work is begun before the clock is looked at: most of it takes no longer than that. */
const OFTEN = 8;

/** When the time that is being spent began; not a number until somebody looks. */
let since = 0;
/** When the event loop last turned for certain; and how often work has begun since then, or since the clock was looked at. */
let turnedAt = 0;
let begun = 0;

/** What goes on when the event loop has turned. */
const waiting = new Set<Work>();
let isScheduled = false;

/** Whether others are to have their turn: timers, sockets, and what else waits. */
export function isSpent(): boolean {
  const time = monotonic();
  if (Number.isNaN(since)) since = time;
  return time - since >= BUDGET;
}

/**
 * Does what has come in from another thread, now or when the event loop has turned. Node.js calls a threadsafe function
 * up to 1,000 times before it turns, and again for what comes in meanwhile.
 */
export function inTurn(work: Work): void {
  begun += 1;
  if (waiting.size > 0 || (begun > OFTEN && isLong())) later(work);
  else atOnce(work);
}

/** Whether the event loop may not have turned for as long as it should. */
function isLong(): boolean {
  begun = 0;
  return monotonic() - turnedAt >= BUDGET;
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
      // Once may be an accident: the thread had no core, or garbage was collected.
      this.count = Math.round(Math.min(MOST, Math.max(AT_ONCE, this.count / 2, affordable)));
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
  turnedAt = since;
  begun = 0;
  try {
    for (const work of [...waiting]) {
      waiting.delete(work);
      // Behind the others, and not before whoever waits for what is settled has run.
      if (work()) waiting.add(work);
      if (isSpent()) break;
    }
  } finally {
    const [first] = waiting;
    if (first !== undefined) later(first);
  }
}
