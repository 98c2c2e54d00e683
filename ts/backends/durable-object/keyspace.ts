import { Collection } from "./collection.js";
import type { Entries, Entry } from "./entries.js";
import {
  type CollectionType,
  type Deadline,
  deadlineName,
  type Found,
  indexOf,
  type KeyType,
  type Meta,
  membersOf,
  metaName,
  NEVER,
  type StringEntry,
  stringName,
} from "./layout.js";
import { refuse } from "./numbers.js";

export interface KeyspaceOptions {
  readonly entries: Entries;
  /** Refuse a key of another type. */
  readonly isStrict: boolean;
  /** Keep the index of deadlines, for alarms. */
  readonly keepsDeadlines: boolean;
}

/** All keys of an object during one transaction, in which time stands still. */
export class Keyspace {
  readonly now = Date.now();
  readonly entries: Entries;
  readonly #isStrict: boolean;
  readonly #keepsDeadlines: boolean;
  /** Whether a key of another type was taken as empty since this was last reset. */
  mismatched = false;
  /** The earliest deadline that was set during the transaction. */
  earliest = NEVER;

  constructor({ entries, isStrict, keepsDeadlines }: KeyspaceOptions) {
    this.entries = entries;
    this.#isStrict = isStrict;
    this.#keepsDeadlines = keepsDeadlines;
  }

  isDue(deadline: Deadline | undefined): boolean {
    return deadline !== undefined && Number(deadline) <= this.now;
  }

  /** The value of a key. An expired key is removed. */
  async find(key: string, expected: KeyType = "string"): Promise<Found | undefined> {
    const found = await this.#look(key, expected);
    if (found === undefined || !this.isDue(found.entry.exp)) return found;
    await this.remove(key, found);
    return undefined;
  }

  /** The string at a key. Undefined if there is none, or a value of another type. */
  async readString(key: string): Promise<StringEntry | undefined> {
    const found = await this.find(key);
    if (found?.type === "string") return found.entry;
    if (found !== undefined) this.#mismatch();
    return undefined;
  }

  /** The collection at a key. Undefined if there is none, or a value of another type. */
  async read(key: string, type: CollectionType): Promise<Collection | undefined> {
    return this.#collection(key, type, await this.find(key, type));
  }

  /** The collection at a key, or a new one, which replaces the value at the key once it is saved. */
  async open(key: string, type: CollectionType): Promise<Collection> {
    const found = await this.find(key, type);
    return this.#collection(key, type, found) ?? Collection.create(this, key, type, found);
  }

  /** Sets a string in place of `found`. */
  async putString(key: string, value: string, exp?: Deadline, found?: Found): Promise<void> {
    const entry: Entry = [stringName(key), exp === undefined ? { v: value } : { v: value, exp }];
    this.#check(key, entry, exp);
    if (found !== undefined && found.type !== "string") await this.remove(key, found);
    await this.entries.put([entry]);
    await this.schedule(key, found?.entry.exp, exp);
  }

  /** Removes the value of a key, with all its members. */
  async remove(key: string, { type, entry }: Found): Promise<void> {
    await this.schedule(key, entry.exp, undefined);
    if (type === "string") return this.entries.delete([stringName(key)]);
    await this.entries.deleteAll(membersOf(type, key));
    if (type === "zset") await this.entries.deleteAll(indexOf(key));
    return this.entries.delete([metaName(key)]);
  }

  /** Sets the deadline of a key. A deadline in the past removes the key. */
  async setDeadline(key: string, found: Found, exp: Deadline): Promise<void> {
    if (this.isDue(exp)) return this.remove(key, found);
    const name = found.type === "string" ? stringName(key) : metaName(key);
    const entry: Entry = [name, { ...found.entry, exp }];
    this.#check(key, entry, exp);
    await this.entries.put([entry]);
    await this.schedule(key, found.entry.exp, exp);
  }

  /** Updates the index of deadlines. */
  async schedule(key: string, old: Deadline | undefined, exp: Deadline | undefined): Promise<void> {
    if (!this.#keepsDeadlines || old === exp) return;
    if (old !== undefined) await this.entries.delete([deadlineName(old, key)]);
    if (exp === undefined) return;
    await this.entries.put([[deadlineName(exp, key), 1]]);
    this.earliest = Math.min(this.earliest, Number(exp));
  }

  /** Throws for an entry, or an entry of its deadline, that exceeds the limits of the storage. */
  #check(key: string, entry: Entry, exp: Deadline | undefined): void {
    this.entries.check([entry]);
    if (this.#keepsDeadlines && exp !== undefined) this.entries.check([[deadlineName(exp, key), 1]]);
  }

  async #look(key: string, expected: KeyType): Promise<Found | undefined> {
    const names = [stringName(key), metaName(key)];
    if (expected !== "string") names.reverse();
    for (const name of names) {
      const entry = await this.entries.get<StringEntry | Meta>(name);
      if (entry !== undefined) return { type: "type" in entry ? entry.type : "string", entry } as Found;
    }
    return undefined;
  }

  #collection(key: string, type: CollectionType, found: Found | undefined): Collection | undefined {
    if (found?.type === type) return new Collection(this, key, found.entry as Meta);
    if (found !== undefined) this.#mismatch();
    return undefined;
  }

  #mismatch(): void {
    if (this.#isStrict) throw refuse("WRONGTYPE Operation against a key holding the wrong kind of value");
    this.mismatched = true;
  }
}
