/** How long a publisher waits before the flood, in ms, so that the measurement has begun. */
export const FLOOD_AFTER_MS = 1_000;
