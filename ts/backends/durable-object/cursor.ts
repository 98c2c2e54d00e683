// The cursors of SCAN: the name of the next entry, written as a number.
//
// The object has no state of a scan. So it may hibernate in between, and a key that stays from start to end is seen.
import { utf8 } from "../../utf8.js";
import { refuse } from "./numbers.js";

/** The number is `1`, so that it has no leading zero, and the bytes of the name. */
export function cursorAt(name: string): string {
  const hex = Array.from(utf8(name), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${BigInt(`0x1${hex}`)}`;
}

/**
 * The name of the next entry. Undefined for a scan from the start, also for a number that no scan returned. Parsed as by C's
 * `strtoul`: a NUL ends it, empty text is 0.
 */
export function nameAt(cursor: string): string | undefined {
  const [word] = cursor.split("\0", 1) as [string];
  const [, sign, digits] = /^([+-]?)(\d+)$/.exec(word) ?? [];
  if (digits === undefined) {
    if (word === "") return undefined;
    throw refuse("ERR invalid cursor");
  }
  const number = BigInt(digits);
  const name = sign === "-" ? undefined : decode(number.toString(16));
  // The limit of Redis.
  if (name === undefined && number !== BigInt.asUintN(64, number)) throw refuse("ERR invalid cursor");
  return name;
}

/** Undefined unless it is the name of a string or a collection: these begin with `s` and `m`. */
function decode(hex: string): string | undefined {
  if (!/^1(?:73|6d)00(?:..)*$/.test(hex)) return undefined;
  try {
    return decodeURIComponent(hex.slice(1).replace(/../g, "%$&"));
  } catch {
    return undefined;
  }
}
