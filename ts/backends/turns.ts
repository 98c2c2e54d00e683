interface Waiting<T> {
  readonly message: string;
  readonly resolve: (result: T) => void;
  readonly reject: (error: unknown) => void;
}

/** What became of each message of a batch. */
export type Outcomes<T> = Promise<readonly PromiseSettledResult<T>[]>;

/** Publishes the messages of each name one batch after the other. What comes meanwhile is the next batch. */
export class Turns<T> {
  readonly #most: number;
  readonly #publish: (name: string, messages: readonly string[]) => Outcomes<T>;
  /** What waits behind the batch of each name. */
  readonly #waiting = new Map<string, Waiting<T>[]>();

  /** `publish` takes at most so many messages. */
  constructor(most: number, publish: (name: string, messages: readonly string[]) => Outcomes<T>) {
    this.#most = most;
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
      if (waiting !== undefined) waiting.push({ message, resolve, reject });
      else void this.#run(name, { message, resolve, reject });
    });
  }

  async #run(name: string, first: Waiting<T>): Promise<void> {
    const waiting: Waiting<T>[] = [];
    this.#waiting.set(name, waiting);
    for (let batch = [first]; batch.length > 0; batch = waiting.splice(0, this.#most)) {
      const outcomes = await this.#publish(
        name,
        batch.map(({ message }) => message),
      );
      for (const [index, { resolve, reject }] of batch.entries()) {
        const outcome = outcomes[index];
        if (outcome?.status === "fulfilled") resolve(outcome.value);
        else reject(outcome?.reason);
      }
    }
    this.#waiting.delete(name);
  }
}
