import type { Argument } from "../native.js";
import type { KVStoreTransaction } from "./adapter.js";
import { checkNoMore } from "./arguments.js";
import { type Command, defineMethods } from "./commands.js";
import { isError, KVError, mayHaveRun } from "./errors.js";

/** A command of a transaction. Without an argv no store runs it. */
interface Queued<Argv> {
  readonly command: Command;
  readonly argv: Argv | undefined;
}

/** A command with its argv. */
export interface Ready<Argv = Argument[]> extends Queued<Argv> {
  readonly argv: Argv;
}

/**
 * Runs commands as one. Returns the reply of each, or its error. Throws if none was run. `positionOf` is the position in the queue of
 * one of them.
 */
export type RunAll<Argv = Argument[]> = (
  commands: readonly Ready<Argv>[],
  positionOf: (index: number) => number,
) => unknown[] | Promise<unknown[]>;

/** Converts calls and answers for a store. */
export interface Codec<Argv> {
  /** Undefined for a call that no store runs. Throws INVALID_ARGUMENT. */
  encode(command: Command, args: readonly unknown[], prefix: string): Argv | undefined;
  /** The result or the error of an answer. */
  decode(command: Command, answer: unknown, prefix: string): unknown;
}

// biome-ignore lint/correctness/noUnusedVariables: both declarations of the class have its parameters
export interface Transaction<Argv> extends KVStoreTransaction {}

/** A transaction of any backend, which provides `runAll`. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: made from the command table
export class Transaction<Argv = Argument[]> {
  readonly #prefix: string;
  readonly #runAll: RunAll<Argv>;
  readonly #codec: Codec<Argv>;
  #queue: Queued<Argv>[] = [];
  /** The first wrong argument: then the transaction cannot run, and ignores further commands. */
  #refusal: KVError | undefined;

  static {
    defineMethods(
      this.prototype,
      (command) =>
        command.queued &&
        function (this: Transaction<unknown>, ...args: unknown[]) {
          return this.#push(command, args);
        },
    );
  }

  constructor(prefix: string, runAll: RunAll<Argv>, codec: Codec<Argv>) {
    this.#prefix = prefix;
    this.#runAll = runAll;
    this.#codec = codec;
  }

  async exec(...more: never[]): Promise<unknown[]> {
    checkNoMore("exec", 0, more);
    const queue = this.#queue;
    const refusal = this.#refusal;
    this.discard();
    if (refusal !== undefined) throw refusal;
    const ready = queue.filter((queued): queued is Ready<Argv> => queued.argv !== undefined);
    const positionOf = (index: number) => queue.indexOf(ready[index] as Ready<Argv>);
    const replies = ready.length === 0 ? [] : await this.#runAll(ready, positionOf);
    let next = 0;
    const results = queue.map(({ command, argv }) =>
      argv === undefined ? command.none?.() : this.#resultOf(command, replies[next++]),
    );
    const index = failureIn(results);
    if (index === -1) return results;
    const { code, reason, message, command, cause, node, slot } = results[index] as KVError;
    throw new KVError(code, message, { reason, command, cause, index, results, node, slot });
  }

  discard(): void {
    this.#queue = [];
    this.#refusal = undefined;
  }

  #resultOf(command: Command, answer: unknown): unknown {
    const result = this.#codec.decode(command, answer, this.#prefix);
    return command.returns.execGivesAnswer && !isError(result) ? answer : result;
  }

  #push(command: Command, args: unknown[]): this {
    if (this.#refusal !== undefined) return this;
    try {
      this.#queue.push({ command, argv: this.#codec.encode(command, args, this.#prefix) });
    } catch (error) {
      const { code, reason, message, cause } = error as KVError;
      const index = this.#queue.length;
      this.#refusal = new KVError(code, message, { reason, command: command.name, cause, index });
    }
    return this;
  }
}

/**
 * The index of the error to throw, -1 if there is none: the first that leaves open whether its part was run, as its caller must look.
 * Else the first, but one that has aborted others before those.
 */
function failureIn(results: readonly unknown[]): number {
  const failures = [...results.entries()].filter(([, result]) => isError(result));
  const [index] = failures.find(([, error]) => mayHaveRun(error)) ??
    failures.find(([, error]) => (error as KVError).code !== "EXECABORT") ??
    failures[0] ?? [-1];
  return index;
}
