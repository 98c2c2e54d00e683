// The entries in the storage of an object, and their names. An "addition" did not exist before covara-kv: data without it is read,
// and gets it at the first use that needs it.
const SEP = "\0";

export type CollectionType = "hash" | "set" | "list" | "zset";
export type KeyType = "string" | CollectionType;

/** Milliseconds since the epoch. Above 2^53 - 1 a string of digits, so that TTL returns what EXPIRE was given. */
export type Deadline = number | string;

/** A string, at `s SEP key`. */
export interface StringEntry {
  v: string;
  exp?: Deadline;
}

/** A collection, at `m SEP key`. */
export interface Meta {
  type: CollectionType;
  exp?: Deadline;
  /** The index of the first value of a list. */
  head?: number;
  /** The index after the last value of a list. */
  tail?: number;
  /** An addition: the number of members of a hash, a set or a sorted set. */
  count?: number;
  /** An addition: a sorted set has an entry by score for each member. */
  indexed?: true;
}

/** The value of a key: its type, and its entry. */
export type Found =
  | { readonly type: "string"; readonly entry: StringEntry }
  | { readonly type: CollectionType; readonly entry: Meta };

/** A score. An infinite one is stored as Redis's word, as JSON has no infinite numbers. */
export type StoredScore = number | "inf" | "-inf";

const tags = { hash: "h", set: "e", list: "l", zset: "z" } as const;

export const STRINGS = `s${SEP}`;
export const COLLECTIONS = `m${SEP}`;
/** An addition: an entry for each key that expires, in the order of their deadlines. */
export const DEADLINES = `t${SEP}`;
/** An addition: the names that a socket subscribes, if they are too long for its attachment. */
export const SOCKETS = `w${SEP}`;
/** An addition: present if the index of deadlines is complete. */
export const DEADLINES_KNOWN = "t";

export const stringName = (key: string) => STRINGS + key;
export const metaName = (key: string) => COLLECTIONS + key;

/** The prefix of the entries of the members of a collection. */
export const membersOf = (type: CollectionType, key: string) => scope(tags[type], key);

/** An addition: the prefix of the entries by score of a sorted set. The score follows, then the member. */
export const indexOf = (key: string) => scope("x", key);

/**
 * A key with a NUL would be confused with the members of another key. Such keys have tags of their own, in upper case, so that the names
 * of all other keys stay as they were.
 */
function scope(tag: string, key: string): string {
  if (!key.includes(SEP)) return `${tag}${SEP}${key}${SEP}`;
  const escaped = key.replace(/[\0%]/g, (character) => (character === SEP ? "%00" : "%25"));
  return `${tag.toUpperCase()}${SEP}${escaped}${SEP}`;
}

/** The position of index 0: lists grow to both sides. */
const MIDDLE = 2 ** 42;

export const position = (index: number) => `${MIDDLE + index}`.padStart(14, "0");

/** A time that never comes. */
export const NEVER = Number.POSITIVE_INFINITY;

const DEADLINE_DIGITS = 19;

export const deadlineTime = (deadline: Deadline) => `${deadline}`.padStart(DEADLINE_DIGITS, "0");
export const deadlineName = (deadline: Deadline, key: string) =>
  DEADLINES + deadlineTime(deadline) + SEP + key;

/** Parses the name of an entry of the index. */
export function readDeadlineName(name: string): { time: number; key: string } {
  const from = DEADLINES.length;
  const to = from + DEADLINE_DIGITS;
  return { time: Number(name.slice(from, to)), key: name.slice(to + SEP.length) };
}

export function storeScore(score: number): StoredScore {
  // Zero has no sign, as in Redis's small sets.
  if (Number.isFinite(score)) return score + 0;
  return score > 0 ? "inf" : "-inf";
}

export function readScore(stored: StoredScore): number {
  if (stored === "inf") return Number.POSITIVE_INFINITY;
  return stored === "-inf" ? Number.NEGATIVE_INFINITY : Number(stored);
}

const HALF = 1n << 63n;
const view = new DataView(new ArrayBuffer(8));

/** The position of a score among all doubles, or the next one, as digits that sort like the scores. */
export function scorePlace(score: number, next: 0n | 1n = 0n): string {
  view.setFloat64(0, score + 0);
  const bits = view.getBigInt64(0);
  // The bits of a positive double sort by size. The bits of a negative one are inverted, and sort below.
  const place = bits < 0n ? ~bits : bits + HALF;
  return (place + next).toString(16).padStart(16, "0");
}

export const PLACE_DIGITS = 16;
