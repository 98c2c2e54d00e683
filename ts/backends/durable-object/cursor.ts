// SCAN's cursors: the name of the entry to go on with, written as a number.
//
// The object keeps nothing of a scan. So it may sleep in between, and what stays from start to end is seen, whatever
// comes and goes.
import { COLLECTIONS, STRINGS } from "./layout.js";
import { refuse } from "./numbers.js";

const AREAS = new Set([STRINGS, COLLECTIONS].map((area) => area.charAt(0)));
/** The most that Redis takes. */
const MAX = 2n ** 64n - 1n;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** `1`, so that no zero stands first; the letter of the area; the key. */
export function cursorAt(name: string): string {
  const bytes = encoder.encode(name.charAt(0) + name.slice(2));
  return `${BigInt(`0x1${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`)}`;
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
  if (name === undefined && number > MAX) throw refuse("ERR invalid cursor");
  return name;
}

function decode(hex: string): string | undefined {
  const pairs = /^1((?:[0-9a-f]{2})+)$/.exec(hex)?.[1];
  if (pairs === undefined) return undefined;
  const bytes = Uint8Array.from({ length: pairs.length / 2 }, (_, i) =>
    Number.parseInt(pairs.slice(2 * i, 2 * i + 2), 16),
  );
  try {
    const text = decoder.decode(bytes);
    return AREAS.has(text.charAt(0)) ? `${text.charAt(0)}\0${text.slice(1)}` : undefined;
  } catch {
    return undefined;
  }
}
