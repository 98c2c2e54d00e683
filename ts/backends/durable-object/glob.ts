import { utf8 } from "../../utf8.js";

enum Byte {
  STAR = 0x2a,
  QUESTION = 0x3f,
  OPEN = 0x5b,
  CLOSE = 0x5d,
  CARET = 0x5e,
  BACKSLASH = 0x5c,
  DASH = 0x2d,
}

/** A matcher for a glob of Redis, over bytes: `*`, `?`, `[abc]`, `[a-z]`, `[^a]` and `\` escapes. */
export function globOf(pattern: string): (text: string) => boolean {
  const bytes = utf8(pattern);
  return (text) => matches(bytes, utf8(text));
}

/** The literal prefix of all matching texts. */
export function literalStart(pattern: string): string {
  const literal = /^(?:[^*?[\\]|\\[\s\S])*/.exec(pattern)?.[0] ?? "";
  return literal.replace(/\\([\s\S])/g, "$1");
}

/**
 * Between two stars each element takes one byte, so only the last star is tried again: the time is at most pattern × text, whatever
 * the number of stars.
 */
function matches(pattern: Uint8Array, text: Uint8Array): boolean {
  // As in Redis, where not even `*` matches an empty text.
  if (text.length === 0) return pattern.length === 0;
  let [p, t] = [0, 0];
  let afterStar = -1;
  let retryAt = 0;
  while (t < text.length) {
    if (pattern[p] === Byte.STAR) {
      p += 1;
      [afterStar, retryAt] = [p, t];
      continue;
    }
    const length = element(pattern, p, text[t] as number);
    if (length > 0) {
      p += length;
      t += 1;
    } else if (afterStar >= 0) {
      retryAt += 1;
      [p, t] = [afterStar, retryAt];
    } else {
      return false;
    }
  }
  return pattern.subarray(p).every((byte) => byte === Byte.STAR);
}

/** The length of the element at `at`, if it matches `byte`; else 0. */
function element(pattern: Uint8Array, at: number, byte: number): number {
  const first = pattern[at];
  if (first === undefined) return 0;
  if (first === Byte.QUESTION) return 1;
  if (first === Byte.OPEN) return characterClass(pattern, at, byte);
  if (first === Byte.BACKSLASH && at + 1 < pattern.length) return pattern[at + 1] === byte ? 2 : 0;
  return first === byte ? 1 : 0;
}

/** `[…]`. As in Redis an unclosed class ends with the pattern, and a range may be written backwards. */
function characterClass(pattern: Uint8Array, start: number, byte: number): number {
  const isNegated = pattern[start + 1] === Byte.CARET;
  let at = start + (isNegated ? 2 : 1);
  let isFound = false;
  while (at < pattern.length) {
    const [single, second, third] = [pattern[at] as number, pattern[at + 1], pattern[at + 2]];
    if (single === Byte.CLOSE) {
      at += 1;
      break;
    }
    if (single === Byte.BACKSLASH && second !== undefined) {
      isFound ||= second === byte;
      at += 2;
    } else if (second === Byte.DASH && third !== undefined) {
      isFound ||= isWithin(byte, single, third);
      at += 3;
    } else {
      isFound ||= single === byte;
      at += 1;
    }
  }
  return isFound === isNegated ? 0 : at - start;
}

/** Redis compares C's signed `char`: bytes above ASCII come before it. */
function isWithin(byte: number, from: number, to: number): boolean {
  const [low, high] = [signed(from), signed(to)].sort((a, b) => a - b) as [number, number];
  return low <= signed(byte) && signed(byte) <= high;
}

const signed = (byte: number) => (byte << 24) >> 24;
