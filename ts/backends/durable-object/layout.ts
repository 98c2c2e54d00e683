// What stands in the storage of an object, and under which names. What the comments call an addition was not there
// before covara-kv: data without it is read, and gets it at the first use that needs it.
const SEP = "\0";

export type CollectionType = "hash" | "set" | "list" | "zset";
export type KeyType = "string" | CollectionType;

/** Milliseconds since the epoch. Past 2^53 - 1 its digits, so that TTL can give back what EXPIRE was given. */
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
  /** A list's first value has this index. */
  head?: number;
  /** A list's last value is before this index. */
  tail?: number;
  /** An addition: how many members a hash, a set or a sorted set has. */
  count?: number;
  /** An addition: a sorted set has an entry by score for each member. */
  indexed?: true;
}

/** What a key holds. */
export type Found =
  | { readonly type: "string"; readonly entry: StringEntry }
  | { readonly type: CollectionType; readonly entry: Meta };

/** A score, which JSON must not lose: an infinite one is Redis's word for it. */
export type StoredScore = number | "inf" | "-inf";

const tags = { hash: "h", set: "e", list: "l", zset: "z" } as const;

export const STRINGS = `s${SEP}`;
export const COLLECTIONS = `m${SEP}`;
/** An addition: an entry for each key that expires, in the order of their deadlines. */
export const DEADLINES = `t${SEP}`;
/** An addition: the names that a socket has subscribed, if they are too long for its attachment. */
export const SOCKETS = `w${SEP}`;
/** An addition: says that every key that expires has its entry among the deadlines. */
export const DEADLINES_KNOWN = "t";

export const stringName = (key: string) => STRINGS + key;
export const metaName = (key: string) => COLLECTIONS + key;

/** What the names of a collection's members begin with. */
export const membersOf = (type: CollectionType, key: string) => scope(tags[type], key);

/** An addition: what the entries of a sorted set by score begin with. The score follows, then the member. */
export const indexOf = (key: string) => scope("x", key);

/**
 * A key with a NUL would end early, in front of members of another key. Such keys have tags of their own, in upper
 * case, so that all others stand where they always did.
 */
function scope(tag: string, key: string): string {
  if (!key.includes(SEP)) return `${tag}${SEP}${key}${SEP}`;
  const escaped = key.replace(/[\0%]/g, (character) => (character === SEP ? "%00" : "%25"));
  return `${tag.toUpperCase()}${SEP}${escaped}${SEP}`;
}

/** Lists grow to both sides of this position. */
const MIDDLE = 2 ** 42;

export const position = (index: number) => `${MIDDLE + index}`.padStart(14, "0");

/** A time that does not come. */
export const NEVER = Number.POSITIVE_INFINITY;

const DEADLINE_DIGITS = 19;

export const deadlineTime = (deadline: Deadline) => `${deadline}`.padStart(DEADLINE_DIGITS, "0");
export const deadlineName = (deadline: Deadline, key: string) =>
  DEADLINES + deadlineTime(deadline) + SEP + key;

/** The deadline and the key that such a name is of. */
export function readDeadlineName(name: string): { time: number; key: string } {
  const from = DEADLINES.length;
  const to = from + DEADLINE_DIGITS;
  return { time: Number(name.slice(from, to)), key: name.slice(to + SEP.length) };
}

export function storeScore(score: number): StoredScore {
  // Zero has no sign: Redis's small sets do not keep it.
  if (Number.isFinite(score)) return score + 0;
  return score > 0 ? "inf" : "-inf";
}

export function readScore(stored: StoredScore): number {
  if (stored === "inf") return Number.POSITIVE_INFINITY;
  return stored === "-inf" ? Number.NEGATIVE_INFINITY : Number(stored);
}

const HALF = 1n << 63n;
const view = new DataView(new ArrayBuffer(8));

/** The digits of a score's place in the order of all scores, or of the next place. They sort as the scores do. */
export function scorePlace(score: number, next: 0n | 1n = 0n): string {
  view.setFloat64(0, score + 0);
  const bits = view.getBigInt64(0);
  // Those of a double grow with its size: negative ones are turned round, and stand below the others.
  const place = bits < 0n ? ~bits : bits + HALF;
  return (place + next).toString(16).padStart(16, "0");
}

export const PLACE_DIGITS = 16;
