import type { Entry, Storage } from "./entries.js";
import type { Keyspace } from "./keyspace.js";
import {
  COLLECTIONS,
  DEADLINES,
  DEADLINES_KNOWN,
  deadlineName,
  deadlineTime,
  type Found,
  NEVER,
  readDeadlineName,
  STRINGS,
} from "./layout.js";

/** The entries of one step, so that commands can run in between. */
const PAGE = 100;
/** The longest time of an alarm, in ms. An alarm that is too early sets the next one. */
const FARTHEST = 30 * 24 * 60 * 60 * 1000;

/** Runs `work` on all keys, with nothing in between. */
export type Exclusive = <T>(work: (db: Keyspace) => Promise<T>) => Promise<T>;

type AlarmStorage = Required<Pick<Storage, "getAlarm" | "setAlarm">>;

export function hasAlarms(storage: Storage): storage is Storage & AlarmStorage {
  return storage.getAlarm !== undefined && storage.setAlarm !== undefined;
}

/**
 * Removes expired keys on the alarm of the object. Without alarms a command that finds such a key removes it.
 */
export class Deadlines {
  readonly #storage: AlarmStorage;
  readonly #exclusively: Exclusive;
  #started: Promise<void> | undefined;
  /** When the alarm rings, in ms since the epoch. */
  #alarm = NEVER;

  constructor(storage: AlarmStorage, exclusively: Exclusive) {
    this.#storage = storage;
    this.#exclusively = exclusively;
  }

  /** Runs before the first command after the object woke: the alarm may be missing, or the index. */
  start(): Promise<void> {
    this.#started ??= this.#exclusively((db) => this.#look(db)).catch((error) => {
      this.#started = undefined;
      throw error;
    });
    return this.#started;
  }

  /** Sets the alarm to a time, unless it is earlier already. */
  async wakeAt(time: number): Promise<void> {
    if (time >= this.#alarm) return;
    this.#alarm = Math.min(time, Date.now() + FARTHEST);
    await this.#storage.setAlarm(this.#alarm).catch((error) => {
      // The next command tries again.
      this.#started = undefined;
      throw error;
    });
  }

  /** Removes expired keys, and sets the next alarm. */
  async sweep(): Promise<void> {
    this.#alarm = NEVER;
    if (!(await this.#exclusively((db) => db.entries.get(DEADLINES_KNOWN)))) await this.#indexAll();
    while (await this.#exclusively(sweepPage));
    await this.wakeAt(await this.#exclusively(firstDeadline));
  }

  async #look(db: Keyspace): Promise<void> {
    this.#alarm = (await this.#storage.getAlarm()) ?? NEVER;
    if (await db.entries.get(DEADLINES_KNOWN)) {
      db.earliest = await firstDeadline(db);
    } else if ((await db.entries.list({ prefix: "", limit: 1 })).length === 0) {
      await db.entries.put([[DEADLINES_KNOWN, 1]]);
    } else {
      // Old data without an index: the alarm builds it.
      db.earliest = db.now;
    }
  }

  async #indexAll(): Promise<void> {
    for (const area of [STRINGS, COLLECTIONS]) {
      let start: string | undefined = area;
      while (start !== undefined) {
        const from: string = start;
        start = await this.#exclusively((db) => indexPage(db, area, from));
      }
    }
    await this.#exclusively((db) => db.entries.put([[DEADLINES_KNOWN, 1]]));
  }
}

/** The name of the next entry. Undefined at the end. */
async function indexPage(db: Keyspace, area: string, start: string): Promise<string | undefined> {
  const page = await db.entries.list<Found["entry"]>({ prefix: area, start, limit: PAGE });
  const deadlines = page.flatMap(([name, { exp }]): Entry[] =>
    exp === undefined ? [] : [[deadlineName(exp, name.slice(area.length)), 1]],
  );
  await db.entries.put(deadlines);
  const last = page.at(-1);
  return last === undefined || page.length < PAGE ? undefined : `${last[0]}\0`;
}

/** True if there may be more. */
async function sweepPage(db: Keyspace): Promise<boolean> {
  const span = { prefix: DEADLINES, end: DEADLINES + deadlineTime(db.now + 1), limit: PAGE };
  const page = await db.entries.list(span);
  // `find` removes an expired key.
  for (const [name] of page) await db.find(readDeadlineName(name).key);
  await db.entries.delete(page.map(([name]) => name));
  return page.length === PAGE;
}

async function firstDeadline(db: Keyspace): Promise<number> {
  const [first] = await db.entries.list({ prefix: DEADLINES, limit: 1 });
  return first === undefined ? NEVER : readDeadlineName(first[0]).time;
}
