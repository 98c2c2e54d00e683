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
  /** Keep the index of deadlines, which an alarm needs. */
  readonly keepsDeadlines: boolean;
}

/** All keys of an object, for the time of one turn, in which time stands still. */
export class Keyspace {
  readonly now = Date.now();
  readonly entries: Entries;
  readonly #isStrict: boolean;
  readonly #keepsDeadlines: boolean;
  /** A key of another type was taken as empty since this was last set to false. */
  mismatched = false;
  /** The earliest deadline that was set. */
  earliest = NEVER;

  constructor({ entries, isStrict, keepsDeadlines }: KeyspaceOptions) {
    this.entries = entries;
    this.#isStrict = isStrict;
    this.#keepsDeadlines = keepsDeadlines;
  }

  isDue(deadline: Deadline | undefined): boolean {
    return deadline !== undefined && Number(deadline) <= this.now;
  }

  /** What a key holds. One that has expired is removed. */
  async find(key: string, expected: KeyType = "string"): Promise<Found | undefined> {
    const found = await this.#look(key, expected);
    if (found === undefined || !this.isDue(found.entry.exp)) return found;
    await this.remove(key, found);
    return undefined;
  }

  /** The string at a key; none if there is none, or something else. */
  async readString(key: string): Promise<StringEntry | undefined> {
    const found = await this.find(key);
    if (found?.type === "string") return found.entry;
    if (found !== undefined) this.#mismatch();
    return undefined;
  }

  /** The collection at a key; none if there is none, or something else. */
  async read(key: string, type: CollectionType): Promise<Collection | undefined> {
    return this.#collection(key, type, await this.find(key, type));
  }

  /** The collection at a key, or one to be: it is there, in place of anything else, once it is saved. */
  async open(key: string, type: CollectionType): Promise<Collection> {
    const found = await this.find(key, type);
    return this.#collection(key, type, found) ?? Collection.create(this, key, type, found);
  }

  /** Puts a string in place of what was found. */
  async putString(key: string, value: string, exp?: Deadline, found?: Found): Promise<void> {
    const entry: Entry = [stringName(key), exp === undefined ? { v: value } : { v: value, exp }];
    this.#check(key, entry, exp);
    if (found !== undefined && found.type !== "string") await this.remove(key, found);
    await this.entries.put([entry]);
    await this.schedule(key, found?.entry.exp, exp);
  }

  /** Removes what was found at a key, with all its members. */
  async remove(key: string, { type, entry }: Found): Promise<void> {
    await this.schedule(key, entry.exp, undefined);
    if (type === "string") return this.entries.delete([stringName(key)]);
    await this.entries.deleteAll(membersOf(type, key));
    if (type === "zset") await this.entries.deleteAll(indexOf(key));
    return this.entries.delete([metaName(key)]);
  }

  /** Gives what was found at a key a deadline. One that has passed removes it. */
  async setDeadline(key: string, found: Found, exp: Deadline): Promise<void> {
    if (this.isDue(exp)) return this.remove(key, found);
    const name = found.type === "string" ? stringName(key) : metaName(key);
    const entry: Entry = [name, { ...found.entry, exp }];
    this.#check(key, entry, exp);
    await this.entries.put([entry]);
    await this.schedule(key, found.entry.exp, exp);
  }

  /** Keeps the index of deadlines. */
  async schedule(key: string, old: Deadline | undefined, exp: Deadline | undefined): Promise<void> {
    if (!this.#keepsDeadlines || old === exp) return;
    if (old !== undefined) await this.entries.delete([deadlineName(old, key)]);
    if (exp === undefined) return;
    await this.entries.put([[deadlineName(exp, key), 1]]);
    this.earliest = Math.min(this.earliest, Number(exp));
  }

  /** Throws for an entry that the storage would not take, or whose deadline it would not. */
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
