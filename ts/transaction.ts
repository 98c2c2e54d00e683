import type { KVTransaction } from "./adapter.js";
import { argvOf, type Command, defineMethods } from "./commands.js";
import { decode, KVError } from "./errors.js";
import type { Argument, Reply } from "./native.js";

/** A command of a transaction. Without an argv it is answered without asking the store. */
interface Queued {
  readonly command: Command;
  readonly argv: Argument[] | undefined;
}

/** A command to be run, and what Redis is to be told. */
export interface Ready extends Queued {
  readonly argv: Argument[];
}

/** A command was refused before anything was run. */
export class Refusal {
  constructor(
    readonly error: Error,
    /** The command's position among those that were to be run. */
    readonly index: number,
  ) {}
}

/** Runs commands with nothing in between. A reply for each; for one that failed, its error. */
export type RunAll = (commands: readonly Ready[]) => unknown[] | Promise<unknown[] | Refusal>;

export interface Transaction extends KVTransaction {}

/** The same on every backend, which gives only `runAll`. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: made from the command table
export class Transaction {
  readonly #prefix: string;
  readonly #runAll: RunAll;
  #queue: Queued[] = [];
  /** Why the transaction cannot run. Nothing that is queued after a wrong argument matters. */
  #refusal: KVError | undefined;

  static {
    defineMethods(
      Transaction.prototype,
      (command) =>
        command.queued &&
        function (this: Transaction, ...args: unknown[]) {
          return this.#push(command, args);
        },
    );
  }

  constructor(prefix: string, runAll: RunAll) {
    this.#prefix = prefix;
    this.#runAll = runAll;
  }

  async exec(): Promise<unknown[]> {
    const queue = this.#queue;
    const refusal = this.#refusal;
    this.discard();
    if (refusal !== undefined) throw refusal;
    const ready = queue.filter((queued): queued is Ready => queued.argv !== undefined);
    const replies = ready.length === 0 ? [] : await this.#runAll(ready);
    if (replies instanceof Refusal) {
      const refused = ready[replies.index] as Ready;
      const { code, message } = decode(replies.error) as KVError;
      throw new KVError(code, message, { command: refused.command.name, index: queue.indexOf(refused) });
    }
    let next = 0;
    const results = queue.map(({ command, argv }) =>
      argv === undefined ? command.none?.() : this.#result(command, replies[next++]),
    );
    const index = results.findIndex((result) => result instanceof Error);
    if (index === -1) return results;
    const { code, message, command } = results[index] as KVError;
    throw new KVError(code, message, { command, index, results });
  }

  discard(): void {
    this.#queue = [];
    this.#refusal = undefined;
  }

  #result({ name, reply, queued }: Command, answer: unknown): unknown {
    if (answer instanceof Error) return decode(answer, name);
    const convert = typeof queued === "function" ? queued : reply;
    return convert === undefined ? answer : convert(answer as Reply, this.#prefix);
  }

  #push(command: Command, args: unknown[]): this {
    if (this.#refusal !== undefined) return this;
    try {
      this.#queue.push({ command, argv: argvOf(command, args, this.#prefix) });
    } catch (error) {
      const { code, message, cause } = error as KVError;
      this.#refusal = new KVError(code, message, { command: command.name, cause, index: this.#queue.length });
    }
    return this;
  }
}
