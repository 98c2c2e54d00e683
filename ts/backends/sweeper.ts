import { sweepExpired } from "../native.js";
import { setTimeout } from "../timers.js";

/** How often the thread looks for expired keys, and for what was removed and is not freed yet, in ms. */
const EVERY = 100;
/**
 * How soon it looks again while there are more: one budget a turn of the event loop. A timer, as an idle loop
 * waits for one, but not for an immediate that is unref'd.
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
 * A memory store was closed: what it held is freed yet. One that is garbage collected while it is open leaves the
 * timer running, which does not hold it.
 */
export function stopSweeping(): void {
  openStores -= 1;
}

function sweep(): void {
  const more = sweepExpired();
  isRunning = false;
  if (more || openStores > 0) schedule(more ? AT_ONCE : EVERY);
}

/** Expired keys are gone for every command anyway: no reason to keep the process alive. */
function schedule(delay: number): void {
  isRunning = true;
  setTimeout(sweep, delay).unref();
}
