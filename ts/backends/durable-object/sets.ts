import type { Keyspace } from "./keyspace.js";

export async function sadd(db: Keyspace, key: string, ...members: string[]): Promise<number> {
  return (await db.open(key, "set")).putMembers(new Map(members.map((member) => [member, 1])));
}

export async function srem(db: Keyspace, key: string, ...members: string[]): Promise<number> {
  return (await (await db.read(key, "set"))?.deleteMembers(members)) ?? 0;
}

export async function smembers(db: Keyspace, key: string): Promise<string[]> {
  return ((await (await db.read(key, "set"))?.all()) ?? []).map(([member]) => member);
}

export async function sismember(db: Keyspace, key: string, member: string): Promise<boolean> {
  return (await (await db.read(key, "set"))?.get(member)) !== undefined;
}

export async function scard(db: Keyspace, key: string): Promise<number> {
  return (await (await db.read(key, "set"))?.count()) ?? 0;
}
