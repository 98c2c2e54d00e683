import { invalid } from "../../arguments.js";
import type { KVError } from "../../errors.js";
import { utf8 } from "../../utf8.js";
import type { DurableObjectStorageLike } from "./types.js";

/** A range of entries. Names are in the order of their UTF-8. */
export interface Span {
  prefix: string;
  /** The first name. */
  start?: string;
  /** The first name after the range. */
  end?: string;
  limit?: number;
  /** Whether the order is descending. */
  reverse?: boolean;
}

/** The storage of a Durable Object, with its optional functions. */
export interface Storage extends DurableObjectStorageLike {
  list<T>(options?: Partial<Span>): Promise<Map<string, T>>;
  transaction?<T>(closure: (transaction: Storage) => Promise<T>): Promise<T>;
  getAlarm?(): Promise<number | null>;
  setAlarm?(time: number): Promise<void>;
  readonly sql?: { readonly databaseSize: number };
}

export type Entry<T = unknown> = [name: string, value: T];

/** The limits of a storage, in bytes. */
interface Limits {
  readonly name: number;
  readonly value: number;
  /** Whether name and value together must not exceed `value`. */
  readonly isShared: boolean;
}

const KB = 1024;
/** The most bytes that a value has beside its text: its frame, the name of its field, a deadline. */
const FRAME = 128;
/** The entries of a page: each has a value of up to 2 MB. */
const PAGE = 32;

/** The entries of any storage. */
export class Entries {
  readonly #storage: Storage;
  readonly #limits: Limits | undefined;

  constructor(storage: Storage, limits: Limits | undefined) {
    this.#storage = storage;
    this.#limits = limits;
  }

  get<T>(name: string): Promise<T | undefined> {
    return this.#storage.get<T>(name);
  }

  /** Writes all entries, or none: one that is too large is refused before the first write. */
  async put(entries: readonly Entry[]): Promise<void> {
    this.check(entries);
    await Promise.all(entries.map(([name, value]) => this.#storage.put(name, value)));
  }

  async delete(names: readonly string[]): Promise<void> {
    await Promise.all(names.map((name) => this.#storage.delete(name)));
  }

  async deleteAll(prefix: string): Promise<void> {
    for await (const page of this.pages({ prefix })) await this.delete(page.map(([name]) => name));
  }

  async list<T>(span: Span): Promise<Entry<T>[]> {
    const entries = await this.#listAtLeast<T>(span);
    return span.limit === undefined ? entries : entries.slice(0, span.limit);
  }

  /** All entries of a range, page by page, to save memory. */
  async *pages<T>(span: Span): AsyncGenerator<Entry<T>[]> {
    let rest = { ...span, limit: PAGE };
    while (true) {
      const page = await this.#listAtLeast<T>(rest);
      yield page;
      const last = page.at(-1);
      // A storage that ignores `limit` has returned all entries.
      if (last === undefined || page.length !== PAGE) return;
      rest = { ...rest, start: `${last[0]}\0` };
    }
  }

  /** Throws for an entry that exceeds the limits of the storage. */
  check(entries: readonly Entry[]): void {
    if (this.#limits === undefined) return;
    const { name: forName, value: forValue, isShared } = this.#limits;
    for (const [name, value] of entries) {
      const nameBytes = utf8(name).length;
      if (nameBytes > forName) throw tooLarge("a key with its field or member", forName);
      const bytes = valueBytes(value) + FRAME + (isShared ? nameBytes : 0);
      if (bytes > forValue) throw tooLarge("a value", forValue);
    }
  }

  /**
   * The storage may ignore all options but `prefix`, and the order too: so its entries are filtered and sorted again, which costs little
   * if nothing changes.
   */
  async #listAtLeast<T>(span: Span): Promise<Entry<T>[]> {
    const { start, end, reverse = false } = span;
    if (start !== undefined && end !== undefined && compare(start, end) >= 0) return [];
    const listed = await this.#storage.list<T>(span);
    const entries = [...listed].filter(
      ([name]) =>
        (start === undefined || compare(name, start) >= 0) && (end === undefined || compare(name, end) < 0),
    );
    const sign = reverse ? -1 : 1;
    const inOrder = ([a]: Entry, [b]: Entry) => sign * compare(a, b);
    const isSorted = entries.every((entry, i) => i === 0 || inOrder(entries[i - 1] as Entry, entry) < 0);
    return isSorted ? entries : entries.sort(inOrder);
  }
}

/** The limits of Cloudflare's two storages. Undefined for any other storage. */
export function limitsOf(storage: Storage): Limits | undefined {
  if (hasSql(storage)) return { name: 2 * KB * KB, value: 2 * KB * KB, isShared: true };
  if (storage.transaction !== undefined) return { name: 2 * KB, value: 128 * KB, isShared: false };
  return undefined;
}

/** The old storage has `sql` too, but throws on access. */
function hasSql(storage: Storage): boolean {
  try {
    return storage.sql?.databaseSize !== undefined;
  } catch {
    return false;
  }
}

function tooLarge(what: string, limit: number): KVError {
  const size = limit < KB * KB ? `${limit / KB} KB` : `${limit / KB / KB} MB`;
  return invalid(`${what} is over the ${size} of the Durable Object's entries`);
}

/** The size of a text as V8 stores it: one byte for each code unit if all fit, else two. */
function valueBytes(value: unknown): number {
  const text = typeof value === "object" ? (value as { v?: unknown }).v : value;
  if (typeof text !== "string") return 0;
  return /^[\0-\xff]*$/.test(text) ? text.length : 2 * text.length;
}

/** Compares texts by their UTF-8, which is by code points: so surrogates come last. */
function compare(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  let i = 0;
  while (i < length && a.charCodeAt(i) === b.charCodeAt(i)) i++;
  if (i === length) return a.length - b.length;
  return rank(a.charCodeAt(i)) - rank(b.charCodeAt(i));
}

const rank = (unit: number) => (unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800);
