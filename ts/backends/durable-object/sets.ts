import type { Table } from "./table.js";

export const sets = {
  async sadd(db, key, members) {
    return (await db.open(key, "set")).putMembers(new Map(members.map((member) => [member, 1])));
  },

  async srem(db, key, members) {
    return (await (await db.read(key, "set"))?.deleteMembers(members)) ?? 0;
  },

  async smembers(db, key) {
    return ((await (await db.read(key, "set"))?.all()) ?? []).map(([member]) => member);
  },

  async sismember(db, key, member) {
    return (await (await db.read(key, "set"))?.get(member)) !== undefined;
  },

  async scard(db, key) {
    return (await (await db.read(key, "set"))?.count()) ?? 0;
  },
} satisfies Partial<Table>;
