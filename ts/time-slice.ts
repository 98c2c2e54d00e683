// Shares the event loop. Messages, replies and events of the fan-out come from native code as tasks, which run in time slices.
import { monotonic, queueMicrotask, setImmediate } from "./timers.js";

/** How long tasks may block the event loop of a thread, in ms. */
const SLICE = 2;

/** The number of items that are taken between two reads of the clock. */
export const BATCH = 32;

/** How long the code that awaits one batch of Promises may run, in ms. */
const CONTINUATIONS = 10;
/** The largest batch: a larger one is not faster. */
const MAX_BATCH = 4_096;
/** The number of nested async functions between a Promise and the code that awaits it. */
const LEVELS = 8;

/** Does a part of its work, until {@link isSliceOver}. True if more may be left. */
export type Task = () => boolean;

/** The number of tasks that start between two reads of the clock: most are shorter than such a read. */
const STARTS = 8;

/** The start of the current slice. NaN until the clock is read. */
let since = 0;
/** When the event loop surely turned; and the number of tasks that started since then, or since a read of the clock. */
let turnedAt = 0;
let started = 0;

/** The tasks that continue when the event loop has turned. */
const queue = new Set<Task>();
let isScheduled = false;

/** Whether a task must let the event loop turn, for timers and sockets. */
export function isSliceOver(): boolean {
  const time = monotonic();
  if (Number.isNaN(since)) since = time;
  return time - since >= SLICE;
}

/**
 * Runs a task for items from another thread, now or when the event loop has turned. Node.js calls a threadsafe function up to 1,000
 * times before the loop turns, and again for items that arrive meanwhile.
 */
export function runFairly(task: Task): void {
  started += 1;
  if (queue.size > 0 || (started > STARTS && isLong())) later(task);
  else runNow(task);
}

/** Whether the event loop may be blocked for longer than a slice. */
function isLong(): boolean {
  started = 0;
  return monotonic() - turnedAt >= SLICE;
}

/** Runs a task that must not wait, in a slice of its own, and the rest when the event loop has turned. False if there is no rest. */
export function runNow(task: Task): boolean {
  const before = since;
  since = Number.NaN;
  try {
    const isMore = task();
    if (isMore) later(task);
    return isMore;
  } finally {
    since = before;
  }
}

/** The number of Promises to settle at once: all code that awaits them runs before the event loop turns. */
export class BatchSize {
  count = MAX_BATCH;

  /** Adapts to a batch of `count`, settled since a time: the code that awaits it runs from now on. */
  measure(count: number, since: number, levels = LEVELS): void {
    queueMicrotask(() => {
      if (levels > 0) return this.measure(count, since, levels - 1);
      const affordable = (CONTINUATIONS * count) / (monotonic() - since);
      // It halves at most: one slow batch may be an accident, as a collection of garbage is.
      this.count = Math.round(Math.min(MAX_BATCH, Math.max(BATCH, this.count / 2, affordable)));
    });
  }
}

function later(task: Task): void {
  queue.add(task);
  if (isScheduled) return;
  isScheduled = true;
  setImmediate(runQueue);
}

/** Runs the tasks in the order of their arrival, so that none starves. */
function runQueue(): void {
  isScheduled = false;
  since = monotonic();
  turnedAt = since;
  started = 0;
  try {
    for (const task of [...queue]) {
      queue.delete(task);
      // To the end of the queue, and after the code that awaits the Promises it settled.
      if (task()) queue.add(task);
      if (isSliceOver()) break;
    }
  } finally {
    const [first] = queue;
    if (first !== undefined) later(first);
  }
}
