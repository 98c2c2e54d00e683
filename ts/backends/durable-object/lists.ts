import type { Collection } from "./collection.js";
import type { Entry } from "./entries.js";
import type { Keyspace } from "./keyspace.js";
import { position } from "./layout.js";
import { range } from "./numbers.js";

/** Where the values of a list are: from `head` to before `tail`. */
function ends({ meta: { head = 0, tail = 0 } }: Collection) {
  return { head, tail, length: tail - head };
}

export async function lpush(db: Keyspace, key: string, ...values: string[]): Promise<number> {
  const list = await db.open(key, "list");
  const { head, length } = ends(list);
  const entries = values.map((value, i): Entry => [list.prefix + position(head - 1 - i), value]);
  await list.save({ head: head - values.length }, entries);
  return length + values.length;
}

export async function rpush(db: Keyspace, key: string, ...values: string[]): Promise<number> {
  const list = await db.open(key, "list");
  const { tail, length } = ends(list);
  const entries = values.map((value, i): Entry => [list.prefix + position(tail + i), value]);
  await list.save({ tail: tail + values.length }, entries);
  return length + values.length;
}

export const lpop = (db: Keyspace, key: string) => pop(db, key, "head");
export const rpop = (db: Keyspace, key: string) => pop(db, key, "tail");

async function pop(db: Keyspace, key: string, end: "head" | "tail"): Promise<string | null> {
  const list = await db.read(key, "list");
  if (list === undefined) return null;
  const { head, tail, length } = ends(list);
  const index = end === "head" ? head : tail - 1;
  const value = await list.get<string>(position(index));
  await keep(db, list, end === "head" ? { from: 1, to: length } : { from: 0, to: length - 1 });
  return value ?? null;
}

export async function lrange(db: Keyspace, key: string, start: number, stop: number): Promise<string[]> {
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
}

export async function llen(db: Keyspace, key: string): Promise<number> {
  const list = await db.read(key, "list");
  return list === undefined ? 0 : ends(list).length;
}

export async function ltrim(db: Keyspace, key: string, start: number, stop: number): Promise<void> {
  const list = await db.read(key, "list");
  if (list !== undefined) await keep(db, list, range(start, stop, ends(list).length));
}

/** Deletes what is not from `from` to before `to`. */
async function keep(
  db: Keyspace,
  list: Collection,
  { from, to }: { from: number; to: number },
): Promise<void> {
  const { head, tail, length } = ends(list);
  if (from === 0 && to === length) return;
  const names: string[] = [];
  for (let index = head; index < tail; index++) {
    // What is kept is stepped over.
    if (index === head + from) index = head + to;
    if (index < tail) names.push(list.prefix + position(index));
  }
  await db.entries.delete(...names);
  if (from === to) await list.vanish();
  else await list.save({ head: head + from, tail: head + to });
}
