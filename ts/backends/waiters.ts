interface Waiter {
  /** The total number of deliveries that it waits for. */
  readonly until: number;
  readonly resolve: () => void;
}

/** Promises of publishers that wait until their messages are delivered. */
export class Waiters {
  #delivered = 0;
  /** In the order of `until`. */
  readonly #waiting: Waiter[] = [];

  /** Resolves once `count` more messages are delivered. */
  until(count: number): Promise<void> | undefined {
    if (count === 0) return undefined;
    const until = this.#delivered + count;
    return new Promise((resolve) => this.#waiting.push({ until, resolve }));
  }

  /** `count` messages were delivered. With `areAll` none is left, as some may have been dropped. */
  delivered(count: number, areAll: boolean): void {
    this.#delivered += count;
    if (areAll) this.none();
    while ((this.#waiting[0]?.until ?? Number.POSITIVE_INFINITY) <= this.#delivered) {
      this.#waiting.shift()?.resolve();
    }
  }

  /** No message will be delivered: all waiters resolve. */
  none(): void {
    this.#delivered = 0;
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }
}
