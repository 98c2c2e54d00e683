import type { Entries, Entry } from "./entries.js";
import { type CollectionType, type Deadline, type Found, type Meta, membersOf, metaName } from "./layout.js";

/** What a collection needs of the keyspace that it is in. */
export interface Owner {
  readonly entries: Entries;
  /** Removes the value of a key. */
  remove(key: string, found: Found): Promise<void>;
  /** Moves a key in the index of deadlines. */
  schedule(key: string, old: Deadline | undefined, exp: Deadline | undefined): Promise<void>;
}

/** A hash, a set, a list or a sorted set at a key: its metadata, and its members, an entry each. */
export class Collection {
  readonly #db: Owner;
  /** The value of another type at the key, which `save` removes. */
  #replaced: Found | undefined;
  /** The prefix of the names of the members' entries. */
  readonly prefix: string;
  readonly key: string;
  meta: Meta;
  /** Whether the key did not exist. */
  readonly isNew: boolean;

  constructor(db: Owner, key: string, meta: Meta, isNew = false, replaced?: Found) {
    this.#db = db;
    this.prefix = membersOf(meta.type, key);
    this.key = key;
    this.meta = meta;
    this.isNew = isNew;
    this.#replaced = replaced;
  }

  static create(db: Owner, key: string, type: CollectionType, replaced: Found | undefined): Collection {
    const meta: Meta = type === "list" ? { type, head: 0, tail: 0 } : { type, count: 0 };
    if (type === "zset") meta.indexed = true;
    return new Collection(db, key, meta, true, replaced);
  }

  async get<T>(member: string): Promise<T | undefined> {
    return this.isNew ? undefined : this.#db.entries.get<T>(this.prefix + member);
  }

  /** The members, with the values of their entries. */
  async all<T>(): Promise<Entry<T>[]> {
    const listed = await this.#db.entries.list<T>({ prefix: this.prefix });
    return listed.map(([name, value]) => [name.slice(this.prefix.length), value]);
  }

  /** The members among these that exist. */
  async present(members: readonly string[]): Promise<Set<string>> {
    const distinct = [...new Set(members)];
    const values = await Promise.all(distinct.map((member) => this.get(member)));
    return new Set(distinct.filter((_, i) => values[i] !== undefined));
  }

  /** The number of members. Old data without that number is counted once. */
  async count(): Promise<number> {
    if (this.meta.count !== undefined) return this.meta.count;
    let count = 0;
    for await (const page of this.#db.entries.pages({ prefix: this.prefix })) count += page.length;
    await this.save({ count });
    return count;
  }

  /** Sets members. Resolves to the number of new ones. */
  async putMembers(members: ReadonlyMap<string, unknown>): Promise<number> {
    const present = await this.present([...members.keys()]);
    const added = members.size - present.size;
    const entries = [...members].map(([member, value]): Entry => [this.prefix + member, value]);
    const { count } = this.meta;
    await this.save(count === undefined || added === 0 ? {} : { count: count + added }, entries);
    return added;
  }

  /** Deletes members. Resolves to the number that existed. */
  async deleteMembers(members: readonly string[]): Promise<number> {
    const present = await this.present(members);
    if (present.size === 0) return 0;
    const count = await this.count();
    await this.#db.entries.delete([...present].map((member) => this.prefix + member));
    if (present.size === count) await this.vanish();
    else await this.save({ count: count - present.size });
    return present.size;
  }

  /** Writes all changes, or nothing if an entry is too large. */
  async save(change: Partial<Meta>, entries: Entry[] = []): Promise<void> {
    const isChanged = this.isNew || Object.keys(change).length > 0;
    if (isChanged) this.meta = { ...this.meta, ...change };
    const all: Entry[] = isChanged ? [...entries, [metaName(this.key), this.meta]] : entries;
    this.#db.entries.check(all);
    if (this.#replaced !== undefined) await this.#db.remove(this.key, this.#replaced);
    this.#replaced = undefined;
    await this.#db.entries.put(all);
  }

  /** Removes the key after its last member. */
  async vanish(): Promise<void> {
    await this.#db.schedule(this.key, this.meta.exp, undefined);
    await this.#db.entries.delete([metaName(this.key)]);
  }
}
