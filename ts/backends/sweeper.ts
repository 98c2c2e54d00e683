import { sweepExpired } from "../native.js";
import { setTimeout } from "../timers.js";

/** How often the thread sweeps expired keys, and frees removed values, in ms. */
const EVERY = 100;
/**
 * The delay while more is due, in ms: one sweep for each turn of the event loop. By a timer, as an idle loop waits for one, but not for
 * an immediate that is unref'd.
 */
const AT_ONCE = 1;

let openStores = 0;
let isRunning = false;

/** A memory store was opened in this thread. */
export function startSweeping(): void {
  openStores += 1;
  if (!isRunning) schedule(EVERY);
}

/**
 * A memory store was closed. The timer runs on until its values are freed. A store that is collected while open leaves the timer
 * running, which does not reference it.
 */
export function stopSweeping(): void {
  openStores -= 1;
}

function sweep(): void {
  const more = sweepExpired();
  isRunning = false;
  if (more || openStores > 0) schedule(more ? AT_ONCE : EVERY);
}

/** The timer does not keep the process alive: commands ignore expired keys anyway. */
function schedule(delay: number): void {
  isRunning = true;
  setTimeout(sweep, delay).unref();
}
