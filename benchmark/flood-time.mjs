/** When the flood begins, after whoever makes it: until then what is measured has begun. */
export const FLOOD_AFTER_MS = 1_000;
