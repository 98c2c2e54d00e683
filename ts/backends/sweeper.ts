import { sweepExpired } from "../native.js";
import { clearTimeout, setTimeout } from "../timers.js";

/** How often the thread looks for expired keys, in ms. */
const EVERY = 100;
/**
 * How soon it looks again while there are more: one budget a turn of the event loop. A timer, as an idle loop
 * waits for one, but not for an immediate that is unref'd.
 */
const AT_ONCE = 1;

let openStores = 0;
let timer: NodeJS.Timeout | undefined;

/** A memory store was opened in this thread. */
export function startSweeping(): void {
  openStores += 1;
  timer ??= schedule(EVERY);
}

/**
 * A memory store was closed. One that is garbage collected while it is open leaves the timer running, which
 * does not hold it.
 */
export function stopSweeping(): void {
  openStores -= 1;
  if (openStores > 0) return;
  clearTimeout(timer);
  timer = undefined;
}

function sweep(): void {
  timer = schedule(sweepExpired() ? AT_ONCE : EVERY);
}

/** Expired keys are gone for every command anyway: no reason to keep the process alive. */
function schedule(delay: number): NodeJS.Timeout {
  return setTimeout(sweep, delay).unref();
}
