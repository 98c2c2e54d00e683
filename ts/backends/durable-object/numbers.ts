// Numbers, deadlines and ranges, as Redis parses them.
import { KVError } from "../../errors.js";
import type { Deadline } from "./layout.js";

/** An error with Redis's text. */
export function refuse(message: string): KVError {
  return new KVError(message.slice(0, message.indexOf(" ")), message);
}

/** Redis's integers: no sign but a minus, no leading zeros, no spaces. */
export function integer(text: string): bigint {
  const value = /^(?:0|-?[1-9]\d{0,18})$/.test(text) ? BigInt(text) : undefined;
  if (value === undefined || !isInt64(value)) throw refuse("ERR value is not an integer or out of range");
  return value;
}

export function add(a: bigint, b: bigint): bigint {
  const sum = a + b;
  if (!isInt64(sum)) throw refuse("ERR increment or decrement would overflow");
  return sum;
}

const isInt64 = (value: bigint) => BigInt.asIntN(64, value) === value;

/** The deadline in `number` units of `unit` ms. */
export function deadlineAfter(now: number, number: number, unit: number): Deadline {
  const deadline = BigInt(now) + BigInt(number) * BigInt(unit);
  return deadline <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(deadline) : `${deadline}`;
}

/** The seconds until a deadline, rounded. */
export function secondsUntil(deadline: Deadline, now: number): number {
  return Number((BigInt(deadline) - BigInt(now) + 500n) / 1000n);
}

export interface Bound {
  score: number;
  isExclusive: boolean;
}

/**
 * An end of a range of scores, as C's `strtod` reads it. Leading white space is skipped, a NUL ends the text, and empty text is 0. A
 * number too large for a double is infinite.
 */
export function bound(given: number | string): Bound {
  if (typeof given === "number") return { score: given, isExclusive: false };
  const isExclusive = given.startsWith("(");
  const [word] = given.slice(isExclusive ? 1 : 0).split("\0", 1) as [string];
  if (word === "") return { score: 0, isExclusive };
  const match = /^[ \t\n\v\f\r]*([+-]?)(?:(inf(?:inity)?)|((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?))$/i.exec(word);
  if (match === null) throw refuse("ERR min or max is not a float");
  const [, sign, infinite, digits] = match;
  const size = infinite === undefined ? Number(digits) : Number.POSITIVE_INFINITY;
  return { score: sign === "-" ? -size : size, isExclusive };
}

/** The positions from `start` to `stop`, as LRANGE has them: negative numbers count from the end. */
export function range(start: number, stop: number, length: number): { from: number; to: number } {
  const clamp = (index: number, low: number) =>
    Math.min(Math.max(index < 0 ? index + length : index, low), length);
  const from = clamp(start, 0);
  return { from, to: Math.max(from, Math.min(clamp(stop, -1) + 1, length)) };
}
