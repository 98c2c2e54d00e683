// Storages of Durable Objects, in plain Node.js.
import type { DurableObjectStorageLike } from "covara-kv";

interface ListOptions {
  prefix?: string;
  start?: string;
  end?: string;
  limit?: number;
  reverse?: boolean;
}

/** Entries by name, which also knows the order of their names in UTF-8. */
class Entries extends Map<string, unknown> {
  #sorted: string[] = [];
  /** Names that `#sorted` lacks, and those that it has though they are deleted. */
  readonly #added = new Set<string>();
  readonly #deleted = new Set<string>();

  override set(name: string, value: unknown): this {
    if (!this.has(name) && !this.#deleted.delete(name)) this.#added.add(name);
    return super.set(name, value);
  }

  override delete(name: string): boolean {
    if (!super.delete(name)) return false;
    if (!this.#added.delete(name)) this.#deleted.add(name);
    return true;
  }

  override clear(): void {
    super.clear();
    this.#sorted = [];
    this.#added.clear();
    this.#deleted.clear();
  }

  /** The names that begin with `prefix`, from `start` on and before `end`. */
  names(prefix: string, start = "", end?: string): { from: number; to: number; sorted: readonly string[] } {
    this.#sort();
    const sorted = this.#sorted;
    const from = this.#place(compare(start, prefix) > 0 ? start : prefix);
    const isWanted = (name: string) =>
      name.startsWith(prefix) && (end === undefined || compare(name, end) < 0);
    return { from, to: firstWithout(sorted, isWanted, from), sorted };
  }

  #place(name: string): number {
    return firstWithout(this.#sorted, (other) => compare(other, name) < 0);
  }

  #sort(): void {
    if (this.#added.size + this.#deleted.size < 20) {
      for (const name of this.#deleted) this.#sorted.splice(this.#place(name), 1);
      for (const name of this.#added) this.#sorted.splice(this.#place(name), 0, name);
    } else {
      const kept = this.#sorted.filter((name) => !this.#deleted.has(name));
      this.#sorted = [...kept, ...[...this.#added].sort(compare)].sort(compare);
    }
    this.#added.clear();
    this.#deleted.clear();
  }
}

/** The place of the first item, from a place on, that does not have what all before it have and none after it. */
function firstWithout(items: readonly string[], has: (item: string) => boolean, from = 0): number {
  let [low, high] = [from, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (has(items[middle] as string)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** In the order of UTF-8. JavaScript's own is another only if there are surrogates. */
function compare(a: string, b: string): number {
  if (surrogate.test(a) || surrogate.test(b)) return Buffer.compare(Buffer.from(a), Buffer.from(b));
  return a < b ? -1 : a > b ? 1 : 0;
}

const surrogate = /[\ud800-\udfff]/;

/** A copy, as the storage serializes what it holds. */
function copyOf<T>(value: unknown): T {
  return (typeof value === "object" && value !== null ? structuredClone(value) : value) as T;
}

/** Only what `DurableObjectStorageLike` has: the five methods, and `list` with no option but the prefix. */
export class FakeStorage implements DurableObjectStorageLike {
  readonly entries = new Entries();
  /** The number of calls. */
  operations = 0;
  /** The number of entries that have been returned or changed. */
  touched = 0;

  constructor(entries: Record<string, unknown> = {}) {
    for (const [name, value] of Object.entries(entries)) this.entries.set(name, value);
  }

  async get<T>(name: string): Promise<T | undefined> {
    this.count(1);
    return copyOf(this.entries.get(name));
  }

  async put(name: string, value: unknown): Promise<void> {
    this.count(1);
    this.entries.set(name, copyOf(value));
  }

  async delete(name: string): Promise<boolean> {
    this.count(1);
    return this.entries.delete(name);
  }

  async list<T>({ prefix = "" }: { prefix?: string } = {}): Promise<Map<string, T>> {
    const found = new Map<string, T>();
    for (const [name, value] of this.entries) if (name.startsWith(prefix)) found.set(name, copyOf(value));
    this.count(found.size);
    return found;
  }

  async deleteAll(): Promise<void> {
    this.entries.clear();
  }

  /** What `work` adds to both counters. */
  async counting(work: () => Promise<unknown>): Promise<{ operations: number; touched: number }> {
    const before = { operations: this.operations, touched: this.touched };
    await work();
    return { operations: this.operations - before.operations, touched: this.touched - before.touched };
  }

  protected count(touched: number): void {
    this.operations += 1;
    this.touched += touched;
  }
}

/** An object with SQLite adds: `list` in the order of UTF-8 with all its options, transactions, alarms. */
export class FakeSqlStorage extends FakeStorage {
  readonly sql: { databaseSize: number | undefined } = { databaseSize: 4096 };
  alarm: number | null = null;
  /** The entries that the transaction has changed, with their values before. */
  #undo: [name: string, before: unknown][] | undefined;

  override async put(name: string, value: unknown): Promise<void> {
    this.#undo?.push([name, this.entries.get(name)]);
    return super.put(name, value);
  }

  override async delete(name: string): Promise<boolean> {
    this.#undo?.push([name, this.entries.get(name)]);
    return super.delete(name);
  }

  override async list<T>(options: ListOptions = {}): Promise<Map<string, T>> {
    const { prefix = "", start, end, limit, reverse = false } = options;
    const { from, to, sorted } = this.entries.names(prefix, start, end);
    const found = new Map<string, T>();
    for (let place = 0; place < Math.min(to - from, limit ?? to); place++) {
      const name = sorted[reverse ? to - 1 - place : from + place] as string;
      found.set(name, copyOf(this.entries.get(name)));
    }
    this.count(found.size);
    return found;
  }

  async transaction<T>(closure: (transaction: this) => Promise<T>): Promise<T> {
    this.#undo = [];
    try {
      return await closure(this);
    } catch (error) {
      for (const [name, before] of this.#undo.reverse()) {
        if (before === undefined) this.entries.delete(name);
        else this.entries.set(name, before);
      }
      throw error;
    } finally {
      this.#undo = undefined;
    }
  }

  async getAlarm(): Promise<number | null> {
    return this.alarm;
  }

  async setAlarm(time: number): Promise<void> {
    this.alarm = time;
  }
}
