import type { KVStore } from "../../adapter.js";
import { argumentsOf, type Command, type CommandMethod, commandOf, defineMethods } from "../../commands.js";
import { KVError } from "../../errors.js";
import { Deadlines, hasAlarms } from "./deadlines.js";
import { Entries, limitsOf, type Storage } from "./entries.js";
import { hashes } from "./hashes.js";
import { keysAndExpiry } from "./keys.js";
import { Keyspace } from "./keyspace.js";
import { lists } from "./lists.js";
import { sets } from "./sets.js";
import { sortedSets } from "./sorted-sets.js";
import { strings } from "./strings.js";
import type { Table } from "./table.js";
import type { DurableObjectStorageLike } from "./types.js";
import { type BatchOptions, noScripts, type Outcome, type WireCall } from "./wire.js";

const table: Table = {
  ...strings,
  ...keysAndExpiry,
  ...hashes,
  ...sets,
  ...lists,
  ...sortedSets,
  // Sent after the transaction is stored, by `#publishAll`, as it may still fail.
  publish: async () => 0,
  async eval() {
    throw noScripts();
  },
};

type Publish = (channel: string, message: string) => Promise<number>;

/** The commands as methods, with the results of the methods of a store. */
export interface DurableKVEngine extends Pick<KVStore, CommandMethod> {}

/** Redis's commands on the storage of a Durable Object. Concurrent calls run one after another. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: made from the command table
export class DurableKVEngine {
  readonly #storage: Storage;
  readonly #limits: ReturnType<typeof limitsOf>;
  readonly #publish: Publish;
  readonly #deadlines: Deadlines | undefined;
  /** Settles when all earlier calls have ended. */
  #last: Promise<unknown> = Promise.resolve();

  static {
    defineMethods(this.prototype, ({ method, returns }) => {
      return async function (this: DurableKVEngine, ...args: unknown[]) {
        const [outcome] = (await this.run([{ op: method, args }])) as [Outcome];
        if ("error" in outcome) throw outcome.error;
        return returns.ofValue === undefined ? outcome.value : returns.ofValue(outcome.value, "");
      };
    });
  }

  /** An engine on a storage. Without `publish` messages have no receivers. */
  constructor(storage: DurableObjectStorageLike, publish: Publish = async () => 0) {
    this.#storage = storage;
    this.#limits = limitsOf(storage);
    this.#publish = publish;
    if (hasAlarms(this.#storage)) {
      this.#deadlines = new Deadlines(this.#storage, (work) => this.#exclusively(false, work));
    }
  }

  /** @internal Runs calls as one. Resolves to the outcome of each call that was run. */
  async run(
    calls: readonly WireCall[],
    { strict = false, stopOnError = false }: Partial<BatchOptions> = {},
  ): Promise<Outcome[]> {
    await this.#deadlines?.start();
    const work = async (db: Keyspace) => {
      const outcomes: Outcome[] = [];
      for (const call of calls) {
        const outcome = await runOne(db, call);
        outcomes.push(outcome);
        if (stopOnError && "error" in outcome) break;
      }
      return outcomes;
    };
    return this.#exclusively(strict, work, (outcomes) => this.#publishAll(calls, outcomes));
  }

  async #publishAll(calls: readonly WireCall[], outcomes: readonly Outcome[]): Promise<Outcome[]> {
    const published = [...outcomes];
    for (const [i, outcome] of outcomes.entries()) {
      const { op, args } = calls[i] as WireCall;
      if (commandOf(op)?.publishes !== "message" || "error" in outcome) continue;
      const [channel, message] = args as [string, string];
      published[i] = { ...outcome, value: await this.#publish(channel, message) };
    }
    return published;
  }

  /** @internal Removes expired keys, on the alarm of the object. */
  async sweep(): Promise<void> {
    await this.#deadlines?.sweep();
  }

  /** @internal Sets the alarm of the object to a time, unless it is earlier already. */
  async wakeAt(time: number): Promise<void> {
    await this.#deadlines?.start();
    await this.#deadlines?.wakeAt(time);
  }

  /** Runs `work` in a transaction, if the storage has transactions, then `after`. Calls run one after another. */
  #exclusively<T>(
    isStrict: boolean,
    work: (db: Keyspace) => Promise<T>,
    after: (result: T) => T | Promise<T> = (result) => result,
  ): Promise<T> {
    const inKeyspace = async (storage: Storage) => {
      const db = new Keyspace({
        entries: new Entries(storage, this.#limits),
        isStrict,
        keepsDeadlines: this.#deadlines !== undefined,
      });
      return [await work(db), db.earliest] as const;
    };
    const turn = this.#last.then(async () => {
      const storage = this.#storage;
      const [result, earliest] = await (storage.transaction?.(inKeyspace) ?? inKeyspace(storage));
      await this.#deadlines?.wakeAt(earliest);
      return after(result);
    });
    this.#last = turn.catch(() => {});
    return turn;
  }
}

async function runOne(db: Keyspace, { op, args }: WireCall): Promise<Outcome> {
  const command = commandOf(op);
  try {
    if (command === undefined) throw new KVError("ERR", "ERR unknown command");
    db.mismatched = false;
    return { value: await perform(db, command, args), mismatched: db.mismatched };
  } catch (error) {
    // Any other error is a failure of the storage, which fails all calls.
    if (!(error instanceof KVError)) throw error;
    const { code, message } = error;
    return { error: new KVError(code, message, { command: command?.name }) };
  }
}

async function perform(db: Keyspace, command: Command, args: readonly unknown[]): Promise<unknown> {
  const read = argumentsOf(command, args, "");
  if (read === undefined) return command.none?.();
  const run = table[command.method as CommandMethod] as (
    db: Keyspace,
    ...args: unknown[]
  ) => Promise<unknown>;
  const { parameters, rest, pairs } = command;
  if (rest === undefined && pairs === undefined) return run(db, ...read);
  return run(db, ...read.slice(0, parameters.length), read.slice(parameters.length));
}
