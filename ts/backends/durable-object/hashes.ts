import type { Keyspace } from "./keyspace.js";

export async function hget(db: Keyspace, key: string, field: string): Promise<string | null> {
  return (await (await db.read(key, "hash"))?.get<string>(field)) ?? null;
}

export async function hset(db: Keyspace, key: string, field: string, value: string): Promise<number> {
  return (await db.open(key, "hash")).putMembers(new Map([[field, value]]));
}

export async function hmset(db: Keyspace, key: string, data: Record<string, string>): Promise<void> {
  await (await db.open(key, "hash")).putMembers(new Map(Object.entries(data)));
}

export async function hgetall(db: Keyspace, key: string): Promise<Record<string, string>> {
  const hash = await db.read(key, "hash");
  // Not by assignment, which a field `__proto__` would take for the prototype.
  return Object.fromEntries((await hash?.all<string>()) ?? []);
}

export async function hdel(db: Keyspace, key: string, ...fields: string[]): Promise<number> {
  return (await (await db.read(key, "hash"))?.deleteMembers(fields)) ?? 0;
}

export async function hexists(db: Keyspace, key: string, field: string): Promise<boolean> {
  return (await hget(db, key, field)) !== null;
}

export async function hkeys(db: Keyspace, key: string): Promise<string[]> {
  return ((await (await db.read(key, "hash"))?.all()) ?? []).map(([field]) => field);
}

export async function hlen(db: Keyspace, key: string): Promise<number> {
  return (await (await db.read(key, "hash"))?.count()) ?? 0;
}
