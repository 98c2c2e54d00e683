/**
 * The object's own properties with these names, each read once: so no getter changes one after its check. A missing one is
 * undefined, whatever is on Object.prototype. `refused` makes the error for a property of another prototype, which would have
 * no effect.
 */
export function own<K extends string>(
  given: object,
  names: readonly K[],
  refused: (name: K) => Error,
): Record<K, unknown> {
  const read = {} as Record<K, unknown>;
  for (const name of names) {
    // Always set: else a prototype could provide it.
    read[name] = Object.hasOwn(given, name) ? (given as Record<K, unknown>)[name] : undefined;
  }
  for (const prototype of prototypesOf(given)) {
    const name = names.find((name) => Object.hasOwn(prototype, name) && read[name] === undefined);
    if (name !== undefined) throw refused(name);
  }
  return read;
}

/** The prototypes of an object, without the last, which is Object.prototype of some realm. */
export function prototypesOf(value: object): object[] {
  const prototypes: object[] = [];
  let prototype = Object.getPrototypeOf(value);
  while (prototype !== null) {
    const next = Object.getPrototypeOf(prototype);
    if (next !== null) prototypes.push(prototype);
    prototype = next;
  }
  return prototypes;
}

type Defined<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** A copy without undefined fields, and without a prototype that could provide them. */
export function defined<T extends object>(fields: T): Defined<T> {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.assign(Object.create(null), Object.fromEntries(entries));
}
