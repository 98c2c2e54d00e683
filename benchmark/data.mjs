// What the rows of `npm run bench:memory` work on: the same in every run.

export const random = generator(42);

/** A new string of 64 bytes, made in one piece, as V8 keeps a concatenated string as its parts. */
export function text(number) {
  return Buffer.from(String(number).padEnd(64, "*")).toString();
}

/** Integers from 0 up to below `end`, the same in every run (mulberry32). */
function generator(seed) {
  let state = seed;
  return (end) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * end);
  };
}

export function shuffled(items) {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i -= 1) {
    const j = random(i + 1);
    [result[i], result[j]] = [result[j], result[i]];
  }
  return result;
}
