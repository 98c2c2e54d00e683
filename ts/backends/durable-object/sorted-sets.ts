import type { Collection } from "./collection.js";
import type { Entry, Span } from "./entries.js";
import type { Keyspace } from "./keyspace.js";
import {
  indexOf,
  membersOf,
  PLACE_DIGITS,
  readScore,
  type StoredScore,
  scorePlace,
  storeScore,
} from "./layout.js";
import { type Bound, bound, range, refuse } from "./numbers.js";
import type { Table } from "./table.js";

export const sortedSets = {
  async zadd(db, key, score, member, pairs) {
    const all = [score, member, ...pairs];
    const moves: [member: string, score: number][] = [];
    for (let i = 0; i < all.length; i += 2) moves.push([all[i + 1] as string, all[i] as number]);
    // Checked first, as each is written separately: one that is too large must stop all.
    db.entries.check(moves.flatMap(([member, score]) => entriesOf(key, member, score)));
    let added = 0;
    for (const [member, score] of moves) if ((await move(db, key, member, () => score)).isNew) added += 1;
    return added;
  },

  async zincrby(db, key, n, member) {
    const { score } = await move(db, key, member, (old = 0) => old + n);
    return score;
  },

  async zrem(db, key, members) {
    const zset = await readIndexed(db, key);
    if (zset === undefined) return 0;
    const distinct = [...new Set(members)];
    const scores = await Promise.all(distinct.map((member) => zset.get<StoredScore>(member)));
    const places = distinct.flatMap((member, i) => {
      const score = scores[i];
      return score === undefined ? [] : [placeName(key, readScore(score), member)];
    });
    await db.entries.delete(places);
    return zset.deleteMembers(distinct);
  },

  async zscore(db, key, member) {
    const score = await (await db.read(key, "zset"))?.get<StoredScore>(member);
    return score === undefined ? null : readScore(score);
  },

  async zcard(db, key) {
    return (await (await db.read(key, "zset"))?.count()) ?? 0;
  },

  async zrange(db, key, start, stop) {
    const zset = await readIndexed(db, key);
    if (zset === undefined) return [];
    const count = await zset.count();
    const { from, to } = range(start, stop, count);
    if (from === to) return [];
    // Read from the nearer end.
    if (to <= count - from) return (await ranked(db, key, { limit: to })).slice(from);
    const last = await ranked(db, key, { limit: count - from, reverse: true });
    return last.reverse().slice(0, to - from);
  },

  async zrangebyscore(
    db,
    key,
    min,
    max,
    { withScores = false, limit: { offset, count } = { offset: 0, count: -1 } } = {},
  ) {
    const span = between(key, bound(min), bound(max));
    const zset = await readIndexed(db, key);
    // As in Redis a negative offset gives nothing, a negative count all the rest.
    if (zset === undefined || offset < 0) return [];
    const total = await zset.count();
    const limit = count < 0 ? total : Math.min(offset + count, total);
    if (limit <= offset) return [];
    const found = (await db.entries.list<StoredScore>({ ...span, limit })).slice(offset);
    return found.flatMap(([name, score]) =>
      withScores ? [memberOf(key, name), `${score}`] : [memberOf(key, name)],
    );
  },
} satisfies Partial<Table>;

/** Sets the score of a member, computed from the old one. */
async function move(
  db: Keyspace,
  key: string,
  member: string,
  scoreOf: (old?: number) => number,
): Promise<{ isNew: boolean; score: number }> {
  const zset = await db.open(key, "zset");
  const stored = await zset.get<StoredScore>(member);
  const old = stored === undefined ? undefined : readScore(stored);
  const score = scoreOf(old);
  if (Number.isNaN(score)) throw refuse("ERR resulting score is not a number (NaN)");
  const isNew = old === undefined;
  if (score === old) return { isNew, score };
  await index(db, zset);
  await zset.save(isNew ? { count: (await zset.count()) + 1 } : {}, entriesOf(key, member, score));
  if (!isNew) await db.entries.delete([placeName(key, old, member)]);
  return { isNew, score };
}

async function readIndexed(db: Keyspace, key: string): Promise<Collection | undefined> {
  const zset = await db.read(key, "zset");
  if (zset !== undefined) await index(db, zset);
  return zset;
}

/** Builds the entries by score for old data without them. */
async function index(db: Keyspace, zset: Collection): Promise<void> {
  if (zset.meta.indexed) return;
  let count = 0;
  for await (const page of db.entries.pages<StoredScore>({ prefix: zset.prefix })) {
    const places = page.map(([name, stored]): Entry => {
      const score = readScore(stored);
      return [placeName(zset.key, score, name.slice(zset.prefix.length)), storeScore(score)];
    });
    await db.entries.put(places);
    count += page.length;
  }
  await zset.save({ count, indexed: true });
}

/** The two entries of a member: by its name, and by its score. */
const entriesOf = (key: string, member: string, score: number): Entry[] => [
  [membersOf("zset", key) + member, storeScore(score)],
  [placeName(key, score, member), storeScore(score)],
];

const placeName = (key: string, score: number, member: string) => indexOf(key) + scorePlace(score) + member;

const memberOf = (key: string, name: string) => name.slice(indexOf(key).length + PLACE_DIGITS);

/** The members in ascending or descending order. */
async function ranked(
  db: Keyspace,
  key: string,
  options: Pick<Span, "limit" | "reverse">,
): Promise<string[]> {
  const entries = await db.entries.list({ prefix: indexOf(key), ...options });
  return entries.map(([name]) => memberOf(key, name));
}

/** The range of entries by score between two bounds. */
function between(key: string, min: Bound, max: Bound): Span {
  const prefix = indexOf(key);
  return {
    prefix,
    start: prefix + scorePlace(min.score, min.isExclusive ? 1n : 0n),
    end: prefix + scorePlace(max.score, max.isExclusive ? 0n : 1n),
  };
}
