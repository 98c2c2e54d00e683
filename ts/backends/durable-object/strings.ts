import type { ExpiryOptions, SetOptions } from "../../adapter.js";
import type { Found, Keyspace } from "./keyspace.js";
import type { Deadline } from "./layout.js";
import { add, deadlineAfter, integer, refuse } from "./numbers.js";

export async function get(db: Keyspace, key: string): Promise<string | null> {
  return (await db.readString(key))?.v ?? null;
}

export async function mget(db: Keyspace, ...keys: string[]): Promise<(string | null)[]> {
  const values: (string | null)[] = [];
  for (const key of keys) {
    const found = await db.find(key);
    // As in Redis a key of another type reads as none, under either policy.
    values.push(found?.type === "string" ? found.entry.v : null);
  }
  return values;
}

export async function set(
  db: Keyspace,
  key: string,
  value: string,
  options: SetOptions = {},
): Promise<"OK" | null> {
  const deadline = deadlineOf(db, options);
  const found = await db.find(key);
  if (found === undefined ? options.xx : options.nx) return null;
  await db.putString(key, value, deadline, found);
  return "OK";
}

export async function setnx(
  db: Keyspace,
  key: string,
  value: string,
  options?: ExpiryOptions,
): Promise<boolean> {
  return (await set(db, key, value, { ...options, nx: true })) === "OK";
}

export async function getdel(db: Keyspace, key: string): Promise<string | null> {
  const entry = await db.readString(key);
  if (entry === undefined) return null;
  await db.remove(key, { type: "string", entry });
  return entry.v;
}

export const incr = (db: Keyspace, key: string) => incrBy(db, key, 1);
export const decr = (db: Keyspace, key: string) => incrBy(db, key, -1);

export async function incrBy(db: Keyspace, key: string, n: number): Promise<number> {
  const entry = await db.readString(key);
  const sum = add(integer(entry?.v ?? "0"), BigInt(n));
  const found: Found | undefined = entry ? { type: "string", entry } : await db.find(key);
  await db.putString(key, `${sum}`, entry?.exp, found);
  return Number(sum);
}

/** Like every command that sets a value with its expiry, and unlike EXPIRE, refuses what is not in the future. */
function deadlineOf(db: Keyspace, { ex, px }: ExpiryOptions): Deadline | undefined {
  const number = ex ?? px;
  if (number === undefined) return undefined;
  if (number <= 0) throw refuse("ERR invalid expire time in 'set' command");
  return deadlineAfter(db.now, number, ex === undefined ? 1 : 1000);
}
