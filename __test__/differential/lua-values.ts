// Random texts, patterns and numbers of Lua, right and wrong ones.
import fc from "fast-check";

/** A string literal of any bytes. */
export function quoted(text: string): string {
  const bytes = [...Buffer.from(text)].map((byte) =>
    byte >= 97 && byte <= 122 ? String.fromCharCode(byte) : escaped(byte),
  );
  return `'${bytes.join("")}'`;
}

const escaped = (byte: number) => `\\${String(byte).padStart(3, "0")}`;

const TEXTS = [
  "",
  "a",
  "aa",
  "abc",
  "hello world",
  "key = value",
  " 12 ",
  "0x1F",
  "1e3",
  "-1.5",
  "a\0b",
  "é",
  "%d",
  "(a(b)c)",
];
const text = fc.oneof(
  fc.constantFrom(...TEXTS),
  fc.string({ unit: fc.constantFrom(..."abc 1-.,%\0(["), maxLength: 8 }),
  fc.string({ unit: "binary", maxLength: 4 }),
);

const PATTERN_PARTS = [
  "a",
  "b",
  ".",
  "%a",
  "%d",
  "%s",
  "%w",
  "%p",
  "%A",
  "%%",
  "%.",
  "%z",
  "[ab]",
  "[^a]",
  "[a-c]",
  "[%a_]",
  "[]]",
];
const SUFFIXES = ["", "", "*", "+", "-", "?"];
const NASTY_PARTS = [
  "(",
  ")",
  "()",
  "%1",
  "%2",
  "%b()",
  "%f[%a]",
  "%f",
  "%b",
  "[",
  "[a",
  "[%",
  "%",
  "^",
  "$",
  "*",
  "(.)%1",
  "\0",
];
export const pattern = fc
  .tuple(
    fc.constantFrom("", "", "^"),
    fc.array(
      fc.oneof(
        {
          weight: 5,
          arbitrary: fc
            .tuple(fc.constantFrom(...PATTERN_PARTS), fc.constantFrom(...SUFFIXES))
            .map((p) => p.join("")),
        },
        {
          weight: 2,
          arbitrary: fc
            .tuple(fc.constantFrom(...PATTERN_PARTS), fc.constantFrom(...SUFFIXES))
            .map((p) => `(${p.join("")})`),
        },
        { weight: 1, arbitrary: fc.constantFrom(...NASTY_PARTS) },
      ),
      { maxLength: 4 },
    ),
    fc.constantFrom("", "", "$"),
  )
  .map(([start, parts, end]) => start + parts.join("") + end);

const NUMBERS = [
  "0",
  "1",
  "-1",
  "2",
  "3",
  "10",
  "0.5",
  "-0.5",
  "1.5",
  "255",
  "256",
  "1e15",
  "2^53",
  "-2^53",
  "1e100",
  "-1e100",
  "0/0",
  "1/0",
  "-1/0",
  "-0",
  "2^31",
  "2^63",
  "0.1",
  "1/3",
];
export const number = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...NUMBERS) },
  { weight: 1, arbitrary: fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => `(${n})`) },
);
export const position = fc.integer({ min: -4, max: 9 }).map((n) => `(${n})`);
/** A position or a count. C leaves open what becomes of a number that 32 bits cannot hold, so those differ between machines. */
export const small = fc.oneof(
  { weight: 5, arbitrary: position },
  {
    weight: 1,
    arbitrary: fc.constantFrom("0.5", "-0.5", "1.9", "'2'", "' 0x3 '", "100", "-100", "2^31 - 1", "-2^31"),
  },
);

export const string = text.map(quoted);
export const anything = fc.oneof(
  { weight: 3, arbitrary: string },
  { weight: 3, arbitrary: small },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      "nil",
      "true",
      "false",
      "{}",
      "{1, 2, 3}",
      "{a = 1}",
      "tostring",
      "cjson.null",
    ),
  },
);
