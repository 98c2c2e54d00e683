import type { Table } from "./table.js";

export const hashes = {
  async hget(db, key, field) {
    return (await (await db.read(key, "hash"))?.get<string>(field)) ?? null;
  },

  async hset(db, key, field, value, pairs) {
    const members = new Map([[field, value]]);
    for (let i = 0; i < pairs.length; i += 2) members.set(pairs[i] as string, pairs[i + 1] as string);
    return (await db.open(key, "hash")).putMembers(members);
  },

  async hmset(db, key, data) {
    await (await db.open(key, "hash")).putMembers(new Map(Object.entries(data)));
  },

  async hgetall(db, key) {
    const hash = await db.read(key, "hash");
    // Not by assignment, which a field `__proto__` would take for the prototype.
    return Object.fromEntries((await hash?.all<string>()) ?? []);
  },

  async hdel(db, key, fields) {
    return (await (await db.read(key, "hash"))?.deleteMembers(fields)) ?? 0;
  },

  async hexists(db, key, field) {
    return (await (await db.read(key, "hash"))?.get(field)) !== undefined;
  },

  async hkeys(db, key) {
    return ((await (await db.read(key, "hash"))?.all()) ?? []).map(([field]) => field);
  },

  async hlen(db, key) {
    return (await (await db.read(key, "hash"))?.count()) ?? 0;
  },
} satisfies Partial<Table>;
