// Values for arguments, most of them made to break the code that reads them.
import fc from "fast-check";

const thrower = (): never => {
  throw new Error("thrown by a hostile argument");
};
const traps = new Proxy({}, { get: () => thrower });
const hostileProxy = (target: object) => new Proxy(target, traps);

/** Values made to break the code that reads them. They are made anew each time, as reading changes some of them. */
const hostile = fc.constantFrom<(() => unknown)[]>(
  () => hostileProxy({}),
  () => hostileProxy([]),
  () => hostileProxy(() => {}),
  () => {
    const { proxy, revoke } = Proxy.revocable([], {});
    revoke();
    return proxy;
  },
  () => ({
    get ex() {
      return thrower();
    },
    get match() {
      return thrower();
    },
    get limit() {
      return thrower();
    },
  }),
  () => ({ toString: thrower, valueOf: thrower, toJSON: thrower, [Symbol.toPrimitive]: thrower }),
  () => Object.defineProperty(["a"], 0, { get: thrower }),
  () => Object.assign(["a"], { [Symbol.iterator]: thrower }),
  () => Object.defineProperty([], "constructor", { get: thrower }),
  () => new Array(2 ** 32 - 1),
  () => Object.assign(new Array(3), { 1: "a" }),
  () => Object.create(null),
  () => new (class extends String {})("k"),
  () => new Uint8Array(8),
  () => Object.defineProperty(() => thrower(), "length", { value: -1 }),
  // biome-ignore lint/suspicious/noThenProperty: an await by mistake must show itself
  () => ({ then: thrower }),
  () => Symbol("s"),
  () => 10n ** 400n,
  () => "\ud800",
  () => "a\udc00\0",
  () => new Date(Number.NaN),
  () => new Map([["k", "v"]]),
  () => Object.fromEntries([["__proto__", "v"]]),
);

/** Values that are valid for some method, so that a call passes its first check. */
const plausible = fc.constantFrom<unknown[]>(
  "string",
  "hash",
  "set",
  "list",
  "zset",
  "none",
  "f",
  "m",
  "",
  "0",
  "*",
  "-inf",
  "+inf",
  "(1",
  "return ARGV",
  "a".repeat(5_000),
  0,
  1,
  -1,
  2,
  100,
  1.5,
  -0,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  2 ** 53,
  -(2 ** 63),
  1e308,
  5e-324,
  { ex: 1000 },
  { nx: true },
  { f: "v" },
  { match: "*", count: 5 },
  { limit: { offset: 0, count: 1 } },
  { withScores: true },
  ["a"],
  ["string", "hash"],
  [],
  () => {},
  true,
  null,
  undefined,
);

/** One argument, as a function that makes it. */
export const argument: fc.Arbitrary<() => unknown> = fc.oneof(
  { weight: 4, arbitrary: plausible.map((value) => () => value) },
  { weight: 2, arbitrary: hostile },
  { weight: 1, arbitrary: fc.string({ unit: "binary" }).map((value) => () => value) },
  { weight: 1, arbitrary: fc.double().map((value) => () => value) },
  {
    weight: 2,
    arbitrary: fc
      .anything({
        withBigInt: true,
        withDate: true,
        withMap: true,
        withSet: true,
        withSparseArray: true,
        withTypedArray: true,
      })
      .map((value) => () => value),
  },
  {
    weight: 1,
    arbitrary: fc.array(hostile, { maxLength: 3 }).map((makers) => () => makers.map((make) => make())),
  },
);
/** The arguments of a call. */
export const values = fc.array(argument, { maxLength: 5 });
