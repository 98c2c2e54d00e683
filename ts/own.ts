/**
 * What an object itself says under these names, each read once: no getter changes one after its check. A name that is not
 * there is undefined, whatever somebody has put on Object.prototype. `refused` makes the error for a name that a prototype
 * of the caller's own has: it would not be heard.
 */
export function own<K extends string>(
  given: object,
  names: readonly K[],
  refused: (name: K) => Error,
): Record<K, unknown> {
  const read = {} as Record<K, unknown>;
  for (const name of names) {
    // Set in any case: then no prototype of this object answers in its place.
    read[name] = Object.hasOwn(given, name) ? (given as Record<K, unknown>)[name] : undefined;
  }
  for (const prototype of prototypesOf(given)) {
    const name = names.find((name) => Object.hasOwn(prototype, name) && read[name] === undefined);
    if (name !== undefined) throw refused(name);
  }
  return read;
}

/** Its prototypes but for the root of them all, which is Object.prototype of any realm. */
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
