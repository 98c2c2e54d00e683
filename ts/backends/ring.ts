/** Ids wrap around here: below it they are small integers for V8, and fit into 32 bits for native code. */
const IDS = 2 ** 30;

/** From this length on most slots must be in use before there are more. */
const SPARSE = 2 ** 16;

/** Items by consecutive ids. They are mostly taken in the order of their addition, so no hash is needed. */
export class Ring<T> {
  /** The length is a power of two. */
  #slots: (T | undefined)[] = new Array(64);
  /** The number of slots in use. */
  #used = 0;
  /** The items that stayed while many others came and went: their slots would keep the others from being used again. */
  readonly #late = new Map<number, T>();
  /** The smallest id that has a slot and was not taken. */
  #first: number;
  #next: number;

  constructor(first = 0) {
    this.#first = first;
    this.#next = first;
  }

  add(item: T): number {
    const id = this.#next;
    if (this.#span() === this.#slots.length) this.#makeRoom();
    this.#slots[id & (this.#slots.length - 1)] = item;
    this.#used += 1;
    this.#next = (id + 1) % IDS;
    return id;
  }

  /** Takes the item of an id, if there is one. */
  take(id: number): T | undefined {
    // The sum of an id near the end and a count may be beyond it.
    if ((id - this.#first + 2 * IDS) % IDS >= this.#span()) return this.#takeLate(id % IDS);
    const mask = this.#slots.length - 1;
    const item = this.#slots[id & mask];
    this.#slots[id & mask] = undefined;
    if (item !== undefined) this.#used -= 1;
    while (this.#first !== this.#next && this.#slots[this.#first & mask] === undefined) {
      this.#first = (this.#first + 1) % IDS;
    }
    return item;
  }

  #takeLate(id: number): T | undefined {
    const item = this.#late.get(id);
    if (item !== undefined) this.#late.delete(id);
    return item;
  }

  #span(): number {
    return (this.#next - this.#first + IDS) % IDS;
  }

  #makeRoom(): void {
    if (this.#slots.length >= SPARSE && this.#used < this.#slots.length / 4) this.#setAside();
    else this.#grow();
  }

  #setAside(): void {
    const mask = this.#slots.length - 1;
    for (; this.#first !== this.#next; this.#first = (this.#first + 1) % IDS) {
      const item = this.#slots[this.#first & mask];
      if (item !== undefined) this.#late.set(this.#first, item);
      this.#slots[this.#first & mask] = undefined;
    }
    this.#used = 0;
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
