// SCAN's cursors: the name of the entry to go on with, written as a number.
//
// The object keeps nothing of a scan. So it may sleep in between, and what stays from start to end is seen, whatever
// comes and goes.
import { utf8 } from "../../utf8.js";
import { refuse } from "./numbers.js";

/** `1`, so that no zero stands first, and the name's bytes. */
export function cursorAt(name: string): string {
  const hex = Array.from(utf8(name), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${BigInt(`0x1${hex}`)}`;
}

/**
 * The name to go on with; none for a scan from the start, which is also what a number means that no scan gave. Read as
 * by C's `strtoul`: a NUL ends it, nothing at all is 0.
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
  // Redis takes no more than that.
  if (name === undefined && number !== BigInt.asUintN(64, number)) throw refuse("ERR invalid cursor");
  return name;
}

/** None if it is not the name of a string or of a collection: these begin with `s` and `m`. */
function decode(hex: string): string | undefined {
  if (!/^1(?:73|6d)00(?:..)*$/.test(hex)) return undefined;
  try {
    return decodeURIComponent(hex.slice(1).replace(/../g, "%$&"));
  } catch {
    return undefined;
  }
}
