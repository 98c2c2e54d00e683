// Where servers differ from Redis 7.0, whose answers our own stores give: "Servers" in docs/compatibility.md has a row for each
// difference, and differential/servers.test.ts shows what each server answers.
import { type Software, software } from "./redis-server.js";

const isBefore =
  (...other: [major: number, minor: number, patch: number]) =>
  ({ version }: Software) => {
    const at = other.findIndex((number, index) => version[index] !== number);
    return at >= 0 && Number(version[at]) < Number(other[at]);
  };

/** Valkey's first version behaves as Redis 7.2. */
const isSince72 = (server: Software) => !isBefore(7, 2, 0)(server);
const isBefore70 = isBefore(7, 0, 0);
const isValkey = ({ name }: Software) => name === "Valkey";

/** The rows of that table, and the servers that each is about. */
const rows = {
  "A number in a script, and a score as text": isSince72,
  "A cursor of SCAN that is none": isSince72,
  "A negative offset of LIMIT": isSince72,
  "A blank before a bound of scores, hexadecimal digits": isValkey,
  "An error in a script": (server: Software) => isBefore70(server) || isValkey(server),
  "What a script may change": isBefore70,
  "The words of an expiry that is refused": isBefore70,
  "A pattern of many stars": isBefore(6, 2, 11),
  "What came with 7.0": isBefore70,
  "What came after 7.0": isSince72,
} as const;

export type Row = keyof typeof rows;
export const rowNames = Object.keys(rows) as Row[];

let known: Software | undefined;

/** Whether the server of the tests differs from Redis 7.0 in this row. */
export function differsIn(row: Row): boolean {
  known ??= software();
  return rows[row](known);
}

/** The reason to skip a test on the server of the tests, or false. */
export const unlike70 = (...differences: Row[]): string | false => {
  const row = differences.find(differsIn);
  return row !== undefined && `docs/compatibility.md, Servers: ${row}`;
};

/** The tests of __test__/conformance, as `family: name`, that each difference makes fail. */
const limited: Partial<Record<Row, readonly string[]>> = {
  "A number in a script, and a score as text": [
    "scripting: redis.call('set', KEYS[1], 0.1); return redis.call('get', KEYS[1])",
  ],
  "A cursor of SCAN that is none": ["scan: a cursor or a count that is none is refused"],
  "An error in a script": [
    "return redis.call('nope')",
    "return redis.call('get')",
    "return redis.call()",
    "return redis.call('get', {})",
    "return redis.call('eval', 'return 1', 0)",
  ].map((script) => `scripting: ${script} fails`),
  "What a script may change": [
    // Their errors differ too.
    ...[
      "return redis.error_reply('boom')",
      "error({err = 'MY own words'})",
      "error('boom')",
      "redis.call('set', KEYS[1], 'x'); return redis.call('incr', KEYS[1])",
      "newname = 1",
      "string.newname = 1",
      "return 1 + {}",
    ].map((script) => `scripting: ${script} fails`),
    "scripting: a key of another type is refused in a script too",
    "scripting: there is no print",
    "scripting: no state leaks from script to script",
  ],
  "The words of an expiry that is refused": [
    "strings: an expiry that is not positive is refused, and nothing changes",
  ],
  "A pattern of many stars": ["scan: a pattern of many stars takes linear time"],
};

/** The tests to skip on the server of the tests, with the reason. */
export const notHere = (): { test: string; reason: string }[] =>
  Object.entries(limited).flatMap(([row, tests]) => {
    const reason = unlike70(row as Row);
    return reason === false ? [] : tests.map((test) => ({ test, reason }));
  });
