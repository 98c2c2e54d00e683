// Random numbers. The same seed gives the same numbers.

export interface Random {
  /** From 0 to 1. */
  next(): number;
  /** An integer from `first` to `last`. */
  integer(first: number, last: number): number;
  pick<T>(items: readonly T[]): T;
  shuffled<T>(items: readonly T[]): T[];
}

/** mulberry32. */
export function randomFrom(seed: number): Random {
  let state = seed | 0;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const integer = (first: number, last: number) => first + Math.floor(next() * (last - first + 1));
  return {
    next,
    integer,
    pick: <T>(items: readonly T[]) => items[integer(0, items.length - 1)] as T,
    shuffled<T>(items: readonly T[]) {
      const left = [...items];
      return items.map(() => left.splice(integer(0, left.length - 1), 1)[0] as T);
    },
  };
}
