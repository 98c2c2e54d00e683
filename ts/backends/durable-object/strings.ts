import type { ExpiryOptions, SetOptions } from "../../adapter.js";
import type { Keyspace } from "./keyspace.js";
import type { Deadline, Found } from "./layout.js";
import { add, deadlineAfter, integer, refuse } from "./numbers.js";
import type { Table } from "./table.js";

export const strings = {
  async get(db, key) {
    return (await db.readString(key))?.v ?? null;
  },

  async mget(db, keys) {
    const values: (string | null)[] = [];
    for (const key of keys) {
      const found = await db.find(key);
      // As in Redis a key of another type reads as missing, strict or not.
      values.push(found?.type === "string" ? found.entry.v : null);
    }
    return values;
  },

  async set(db, key, value, options) {
    return (await put(db, key, value, options)) ? "OK" : null;
  },

  setnx: (db, key, value, options) => put(db, key, value, { ...options, nx: true }),

  async getdel(db, key) {
    const entry = await db.readString(key);
    if (entry === undefined) return null;
    await db.remove(key, { type: "string", entry });
    return entry.v;
  },

  incr: (db, key) => increase(db, key, 1),
  decr: (db, key) => increase(db, key, -1),
  incrBy: (db, key, n) => increase(db, key, n),
} satisfies Partial<Table>;

/** False if `nx` or `xx` forbids it. */
async function put(db: Keyspace, key: string, value: string, options: SetOptions = {}): Promise<boolean> {
  const deadline = deadlineOf(db, options);
  const found = await db.find(key);
  if (found === undefined ? options.xx : options.nx) return false;
  await db.putString(key, value, deadline, found);
  return true;
}

async function increase(db: Keyspace, key: string, n: number): Promise<number> {
  const entry = await db.readString(key);
  const sum = add(integer(entry?.v ?? "0"), BigInt(n));
  const found: Found | undefined = entry ? { type: "string", entry } : await db.find(key);
  await db.putString(key, `${sum}`, entry?.exp, found);
  return Number(sum);
}

/** Unlike EXPIRE, a command that sets a value with its expiry refuses an expiry that is not positive. */
function deadlineOf(db: Keyspace, { ex, px }: ExpiryOptions): Deadline | undefined {
  const number = ex ?? px;
  if (number === undefined) return undefined;
  if (number <= 0) throw refuse("ERR invalid expire time in 'set' command");
  return deadlineAfter(db.now, number, ex === undefined ? 1 : 1000);
}
