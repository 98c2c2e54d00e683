import { cursorAt, nameAt } from "./cursor.js";
import { globOf, literalStart } from "./glob.js";
import { COLLECTIONS, type Found, STRINGS } from "./layout.js";
import { deadlineAfter, refuse, secondsUntil } from "./numbers.js";
import type { Table } from "./table.js";

/** The most keys of a page: a list of entries always loads their values too. */
const MAX_PAGE = 1_000;

const AREAS = [STRINGS, COLLECTIONS];

export const keysAndExpiry = {
  async ping() {
    return "PONG";
  },

  async del(db, keys) {
    let count = 0;
    for (const key of keys) {
      const found = await db.find(key);
      if (found === undefined) continue;
      await db.remove(key, found);
      count += 1;
    }
    return count;
  },

  async exists(db, keys) {
    let count = 0;
    for (const key of keys) if ((await db.find(key)) !== undefined) count += 1;
    return count;
  },

  async expire(db, key, seconds) {
    const found = await db.find(key);
    if (found === undefined) return false;
    await db.setDeadline(key, found, deadlineAfter(db.now, seconds, 1000));
    return true;
  },

  async ttl(db, key) {
    const found = await db.find(key);
    if (found === undefined) return -2;
    const { exp } = found.entry;
    return exp === undefined ? -1 : secondsUntil(exp, db.now);
  },

  async type(db, key) {
    return (await db.find(key))?.type ?? "none";
  },

  async keys(db, pattern) {
    const { isWanted, literal } = filterOf(pattern);
    const found: string[] = [];
    for (const area of AREAS) {
      for await (const page of db.entries.pages<Found["entry"]>({ prefix: area + literal })) {
        for (const [name, { exp }] of page) if (!db.isDue(exp)) found.push(name.slice(area.length));
      }
    }
    return found.filter(isWanted);
  },

  async scan(db, cursor, { match = "*", count = 10 } = {}) {
    const start = nameAt(cursor);
    if (count < 1) throw refuse("ERR syntax error");
    const { isWanted, literal } = filterOf(match);
    const found: string[] = [];
    let left = Math.min(count, MAX_PAGE);
    for (const area of AREAS.slice(start?.startsWith(COLLECTIONS) ? 1 : 0)) {
      const from = start?.startsWith(area) && { start };
      const span = { prefix: area + literal, ...from, limit: left + 1 };
      const page = await db.entries.list<Found["entry"]>(span);
      const next = page.splice(left)[0];
      for (const [name, { exp }] of page) if (!db.isDue(exp)) found.push(name.slice(area.length));
      if (next !== undefined) return { cursor: cursorAt(next[0]), keys: found.filter(isWanted) };
      left -= page.length;
    }
    return { cursor: "0", keys: found.filter(isWanted) };
  },
} satisfies Partial<Table>;

/** The matcher and the literal prefix of a glob. In Redis `*` alone also matches an empty key. */
function filterOf(pattern: string): { isWanted: (key: string) => boolean; literal: string } {
  return { isWanted: pattern === "*" ? () => true : globOf(pattern), literal: literalStart(pattern) };
}
