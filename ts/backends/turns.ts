import { KVError } from "../errors.js";
import { monotonic } from "../timers.js";
import { isUnanswered } from "../unawaited.js";

interface WaitingMessage<T> {
  readonly message: string;
  readonly since: number;
  readonly resolve: (result: T) => void;
  readonly reject: (error: unknown) => void;
}

/** What became of each message of a batch. */
export type Outcomes<T> = Promise<readonly PromiseSettledResult<T>[]>;

/** How messages wait. */
export interface TurnLimits {
  /** The most messages of one batch. */
  readonly most: number;
  /** How long a message may wait behind batches without an answer, in milliseconds. */
  readonly longest: number;
}

/** Publishes the messages of each name one batch after the other. What comes meanwhile is the next batch. */
export class Turns<T> {
  readonly #limits: TurnLimits;
  readonly #publish: (name: string, messages: readonly string[]) => Outcomes<T>;
  /** What waits behind the batch of each name. */
  readonly #waiting = new Map<string, WaitingMessage<T>[]>();

  constructor(limits: TurnLimits, publish: (name: string, messages: readonly string[]) => Outcomes<T>) {
    this.#limits = limits;
    this.#publish = publish;
  }

  /** Whether messages of a name are on their way. */
  has(name: string): boolean {
    return this.#waiting.has(name);
  }

  /** Resolves to what became of the message. */
  add(name: string, message: string): Promise<T> {
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(name);
      const mine = { message, since: monotonic(), resolve, reject };
      if (waiting !== undefined) waiting.push(mine);
      else void this.#run(name, mine);
    });
  }

  async #run(name: string, first: WaitingMessage<T>): Promise<void> {
    const waiting: WaitingMessage<T>[] = [];
    this.#waiting.set(name, waiting);
    for (let batch = [first]; batch.length > 0; batch = waiting.splice(0, this.#limits.most)) {
      const messages = batch.map(({ message }) => message);
      const outcomes = await this.#publish(name, messages).catch((reason) =>
        batch.map((): PromiseSettledResult<T> => ({ status: "rejected", reason })),
      );
      for (const [index, { resolve, reject }] of batch.entries()) {
        const outcome = outcomes[index];
        if (outcome?.status === "fulfilled") resolve(outcome.value);
        else reject(outcome?.reason);
      }
      const unanswered = outcomes.find(({ status }) => status === "rejected") as
        | PromiseRejectedResult
        | undefined;
      if (isUnanswered(unanswered?.reason)) this.#expire(waiting, unanswered.reason);
    }
    this.#waiting.delete(name);
  }

  /** Each batch may wait for as long as a command does: those behind it do not wait for one after the other. */
  #expire(waiting: WaitingMessage<T>[], cause: KVError): void {
    const { longest } = this.#limits;
    const until = monotonic() - longest;
    const expired = waiting.findIndex(({ since }) => since > until);
    for (const { reject } of waiting.splice(0, expired < 0 ? waiting.length : expired))
      reject(
        new KVError(
          "TIMEOUT",
          `The message waited for ${longest} ms (queueTimeout) behind others without an answer, and was not published`,
          { reason: "queue-timeout", cause },
        ),
      );
  }
}
