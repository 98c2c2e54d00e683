import type { Collection } from "./collection.js";
import type { Entry } from "./entries.js";
import type { Keyspace } from "./keyspace.js";
import { position } from "./layout.js";
import { range } from "./numbers.js";
import type { Table } from "./table.js";

/** The values of a list have the indexes from `head` to before `tail`. */
function ends({ meta: { head = 0, tail = 0 } }: Collection) {
  return { head, tail, length: tail - head };
}

export const lists = {
  async lpush(db, key, values) {
    const list = await db.open(key, "list");
    const { head, length } = ends(list);
    const entries = values.map((value, i): Entry => [list.prefix + position(head - 1 - i), value]);
    await list.save({ head: head - values.length }, entries);
    return length + values.length;
  },

  async rpush(db, key, values) {
    const list = await db.open(key, "list");
    const { tail, length } = ends(list);
    const entries = values.map((value, i): Entry => [list.prefix + position(tail + i), value]);
    await list.save({ tail: tail + values.length }, entries);
    return length + values.length;
  },

  lpop: (db, key) => pop(db, key, "head"),

  rpop: (db, key) => pop(db, key, "tail"),

  async lrange(db, key, start, stop) {
    const list = await db.read(key, "list");
    if (list === undefined) return [];
    const { head, length } = ends(list);
    const { from, to } = range(start, stop, length);
    if (from === to) return [];
    const values = await db.entries.list<string>({
      prefix: list.prefix,
      start: list.prefix + position(head + from),
      end: list.prefix + position(head + to),
    });
    return values.map(([, value]) => value);
  },

  async llen(db, key) {
    const list = await db.read(key, "list");
    return list === undefined ? 0 : ends(list).length;
  },

  async ltrim(db, key, start, stop) {
    const list = await db.read(key, "list");
    if (list !== undefined) await keep(db, list, range(start, stop, ends(list).length));
  },
} satisfies Partial<Table>;

async function pop(db: Keyspace, key: string, end: "head" | "tail"): Promise<string | null> {
  const list = await db.read(key, "list");
  if (list === undefined) return null;
  const { head, tail, length } = ends(list);
  const index = end === "head" ? head : tail - 1;
  const value = await list.get<string>(position(index));
  await keep(db, list, end === "head" ? { from: 1, to: length } : { from: 0, to: length - 1 });
  return value ?? null;
}

/** Deletes all values but those from `from` to before `to`. */
async function keep(
  db: Keyspace,
  list: Collection,
  { from, to }: { from: number; to: number },
): Promise<void> {
  const { head, tail, length } = ends(list);
  if (from === 0 && to === length) return;
  const names: string[] = [];
  for (let index = head; index < tail; index++) {
    // Skips the kept values.
    if (index === head + from) index = head + to;
    if (index < tail) names.push(list.prefix + position(index));
  }
  await db.entries.delete(names);
  if (from === to) await list.vanish();
  else await list.save({ head: head + from, tail: head + to });
}
