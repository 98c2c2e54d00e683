// Storages of Durable Objects, in plain Node.js.
import type { DurableObjectStorageLike } from "covara-kv";

interface ListOptions {
  prefix?: string;
  start?: string;
  end?: string;
  limit?: number;
  reverse?: boolean;
}

/** Only what `DurableObjectStorageLike` has: the five methods, and `list` with no option but the prefix. */
export class FakeStorage implements DurableObjectStorageLike {
  readonly entries = new Map<string, unknown>();
  /** The number of calls. */
  operations = 0;
  /** The number of entries that have been returned or changed. */
  touched = 0;

  constructor(entries: Record<string, unknown> = {}) {
    for (const [name, value] of Object.entries(entries)) this.entries.set(name, value);
  }

  async get<T>(name: string): Promise<T | undefined> {
    this.count(1);
    return structuredClone(this.entries.get(name)) as T | undefined;
  }

  async put(name: string, value: unknown): Promise<void> {
    this.count(1);
    this.entries.set(name, structuredClone(value));
  }

  async delete(name: string): Promise<boolean> {
    this.count(1);
    return this.entries.delete(name);
  }

  async list<T>({ prefix = "" }: { prefix?: string } = {}): Promise<Map<string, T>> {
    const found = [...this.entries].filter(([name]) => name.startsWith(prefix));
    this.count(found.length);
    return new Map(structuredClone(found) as [string, T][]);
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
    const isWanted = (name: string) =>
      name.startsWith(prefix) &&
      (start === undefined || compare(name, start) >= 0) &&
      (end === undefined || compare(name, end) < 0);
    const names = [...this.entries.keys()].filter(isWanted).sort(compare);
    const found = (reverse ? names.reverse() : names).slice(0, limit);
    this.count(found.length);
    return new Map(found.map((name) => [name, structuredClone(this.entries.get(name)) as T]));
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

const compare = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));
