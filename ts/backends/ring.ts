/** Ids wrap around here: below it they are small integers for V8, and fit into 32 bits for native code. */
const IDS = 2 ** 30;

/** Items by consecutive ids. They are mostly taken in the order of their addition, so no hash is needed. */
export class Ring<T> {
  /** The length is a power of two. */
  #slots: (T | undefined)[] = new Array(64);
  /** The smallest id that was not taken. */
  #first: number;
  #next: number;

  constructor(first = 0) {
    this.#first = first;
    this.#next = first;
  }

  add(item: T): number {
    const id = this.#next;
    if (this.#span() === this.#slots.length) this.#grow();
    this.#slots[id & (this.#slots.length - 1)] = item;
    this.#next = (id + 1) % IDS;
    return id;
  }

  /** Takes the item of an id, if there is one. */
  take(id: number): T | undefined {
    // The sum of an id near the end and a count may be beyond it.
    if ((id - this.#first + 2 * IDS) % IDS >= this.#span()) return undefined;
    const mask = this.#slots.length - 1;
    const item = this.#slots[id & mask];
    this.#slots[id & mask] = undefined;
    while (this.#first !== this.#next && this.#slots[this.#first & mask] === undefined) {
      this.#first = (this.#first + 1) % IDS;
    }
    return item;
  }

  #span(): number {
    return (this.#next - this.#first + IDS) % IDS;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Array(old.length * 2);
    for (let i = 0; i < old.length; i++) {
      const id = (this.#first + i) % IDS;
      this.#slots[id & (this.#slots.length - 1)] = old[id & (old.length - 1)];
    }
  }
}
