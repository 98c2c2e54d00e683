interface Waiter {
  /** How many are to be delivered before it, of all that ever were. */
  readonly until: number;
  readonly resolve: () => void;
}

/** Those who wait until what they published is delivered, behind what was there before. */
export class Waiters {
  #delivered = 0;
  /** In the order of what they wait for. */
  readonly #waiting: Waiter[] = [];

  /** Resolves once so many more are delivered. */
  until(count: number): Promise<void> | undefined {
    if (count === 0) return undefined;
    const until = this.#delivered + count;
    return new Promise((resolve) => this.#waiting.push({ until, resolve }));
  }

  /** So many were delivered, and perhaps none is left: some may have been taken away. */
  delivered(count: number, areAll: boolean): void {
    this.#delivered += count;
    if (areAll) this.none();
    while ((this.#waiting[0]?.until ?? Number.POSITIVE_INFINITY) <= this.#delivered) {
      this.#waiting.shift()?.resolve();
    }
  }

  /** There is nothing that could be delivered. */
  none(): void {
    this.#delivered = 0;
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }
}
