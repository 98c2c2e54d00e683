// The words of random calls: few enough to collide, and odd enough to find bugs.
import fc from "fast-check";
import { differsIn } from "../servers.js";

export type Kind = "string" | "hash" | "set" | "list" | "zset";

const KEYS: Record<Kind, [string, string]> = {
  string: ["s", "nul\0"],
  hash: ["h", ""],
  set: ["t", "schlüssel\u{1f600}"],
  list: ["l", "l*[a-z]?\\"],
  zset: ["z", "a:b"],
};

/** A key of any type, or one that does not exist. */
export const anyKey = fc.constantFrom(...Object.values(KEYS).flat(), "missing");

/** Mostly a key of this type, now and then one of another. */
export const keyOf = (kind: Kind) =>
  fc.oneof({ weight: 7, arbitrary: fc.constantFrom(...KEYS[kind]) }, { weight: 1, arbitrary: anyKey });

/** Too long for Redis's compact encodings: Redis converts the collection when it arrives. */
const LONG = "long".repeat(30);

const INTEGERS = [
  ["0", "-0", "1", "-1", "+1", "01", " 1", "1 ", "1.0", "1e3", "0x10", "", "-", "\u0661"],
  ["9007199254740991", "-9007199254740991", "9007199254740993"],
  ["9223372036854775806", "9223372036854775807", "9223372036854775808"],
  ["-9223372036854775807", "-9223372036854775808", "-9223372036854775809"],
  ["9223363000000000000", "-9223363000000000000"],
].flat();

const TEXTS = [
  "a",
  "\0",
  "a\0b",
  "\r\n",
  "é",
  "e\u0301",
  "\ufffd",
  "\u{10ffff}",
  "\u{1f600}",
  "nan",
  "inf",
  "OK",
  LONG,
];

/** Any text, often one that looks like a number. */
export const value = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...TEXTS) },
  { weight: 4, arbitrary: fc.constantFrom(...INTEGERS) },
  { weight: 1, arbitrary: fc.maxSafeInteger().map(String) },
  { weight: 2, arbitrary: fc.string({ unit: "binary", maxLength: 9 }) },
);

/** A field or a member, from a few, so that calls meet. U+FFFD is after U+1F600 in UTF-16, and before it in UTF-8. */
export const member = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.constantFrom(
      "a",
      "b",
      "",
      "\0",
      "a\0",
      "1",
      "-1",
      "01",
      "\ufffd",
      "\u{1f600}",
      "__proto__",
      "constructor",
    ),
  },
  { weight: 2, arbitrary: value },
);

/** Usually few of them, sometimes none, and sometimes more than Redis keeps in a compact encoding. */
export const several = <T>(item: fc.Arbitrary<T>) =>
  fc.oneof(
    { weight: 30, arbitrary: fc.array(item, { minLength: 1, maxLength: 4 }) },
    { weight: 1, arbitrary: fc.constant<T[]>([]) },
    { weight: 1, arbitrary: fc.array(item, { minLength: 130, maxLength: 150, size: "max" }) },
  );

const SAFE = Number.MAX_SAFE_INTEGER;

export const increment = fc.oneof(fc.constantFrom(0, 1, -1, 10, SAFE, -SAFE), fc.maxSafeInteger());

/** An index of a list, or a rank. */
export const index = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: -6, max: 6 }) },
  { weight: 1, arbitrary: fc.constantFrom(SAFE, -SAFE, 2 ** 31, -(2 ** 31) - 1, 200, -200) },
);

export const score = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(0, 1, 1, 2, -1, 0.1, -0, Infinity, -Infinity) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(SAFE, 2 ** 53, -(2 ** 53) - 2, 2 ** 63, -(2 ** 63), 1e21, 1e20, 1e-6, 1e-7),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(Number.MAX_VALUE, -Number.MAX_VALUE, Number.MIN_VALUE, 2 ** -1022, 0.1 + 0.2),
  },
  { weight: 2, arbitrary: fc.double({ noNaN: true }) },
);

/** Bounds as C's `strtod` reads them, and some that it refuses. */
const BOUNDS_OF_STRTOD = [
  ["-inf", "+inf", "inf", "(inf", "(-inf", "Infinity", "-INFINITY", "INF", "infx", "in"],
  [
    "0",
    "(0",
    "1",
    "(1",
    "((1",
    "-0",
    "+2",
    "1.",
    ".5",
    "(.5",
    ".",
    "-.5e1",
    "5e",
    "1e+",
    "1e400",
    "(-1e400",
    "1e-400",
  ],
  [
    "",
    "(",
    " 1",
    "( 1",
    "1 ",
    "\t2",
    "\v\f\r\n2",
    "\u00a01",
    "1\0",
    "1\0x",
    "1x",
    "abc",
    "nan",
    "-nan",
    "[1",
  ],
  ["0x", "0xg", "1_000", "1d", "9007199254740993", "4.9e-324", "2e-324"],
].flat();

const BOUNDS = differsIn("A blank before a bound of scores, hexadecimal digits")
  ? BOUNDS_OF_STRTOD.filter((bound) => !/^\(?\s/.test(bound))
  : BOUNDS_OF_STRTOD;

export const bound = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom("-inf", "+inf", "(1", "1", "(0", "0", "-1", "2", "(2") },
  { weight: 3, arbitrary: score },
  { weight: 3, arbitrary: fc.constantFrom(...BOUNDS) },
);

/** A time that is over at once, or lasts longer than the test; the largest in seconds that fits into Redis's milliseconds. */
export const seconds = fc.constantFrom(1000, 86_400, 2 ** 31, 1e11, SAFE, 0, -1, -1000, -SAFE);
export const milliseconds = fc.constantFrom(1e6, 86_400_000, 2 ** 40, SAFE, 0, -1, -SAFE);

const GLOB_CHARACTERS = [..."*?[]^-\\!abcz\0é\u{1f600}"];

/** Text in which many characters have a meaning in globs. */
export const globText = (maxLength: number) =>
  fc.string({ unit: fc.constantFrom(...GLOB_CHARACTERS), maxLength });

/**
 * Any pattern but `**` and longer runs of stars. In Redis only `*` matches the empty key, which is not empty under a prefix. See
 * globs.test.ts.
 */
export const pattern = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom("*", "?", "[a-z]", "*:*", "nul\0", "[^s]*", "\\*", "") },
  { weight: 1, arbitrary: globText(6).filter((text) => !/^\*{2,}$/.test(text)) },
);
