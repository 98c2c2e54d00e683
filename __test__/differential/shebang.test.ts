// A script's first line, `#!lua flags=no-writes`, must be read. Otherwise a script that must not write writes, and a typing error in a flag
// is no error.
import { test } from "node:test";
import fc from "fast-check";
import { unlike70 } from "../servers.js";
import { compareEvaluations, type Evaluation, scriptOf } from "./evaluations.js";
import { check, runs } from "./property.js";
import { useRedis } from "./redis.js";

const redis = useRedis();

const FLAGS = ["no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys"];

const flags = fc
  .array(
    fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(...FLAGS) },
      fc.constantFrom("", "No-Writes", "nowrites", "é"),
    ),
    {
      maxLength: 3,
    },
  )
  .map((flags) => `flags=${flags.join(",")}`);
const quotes = fc.constantFrom(
  '"flags=no-writes"',
  "'flags=no-writes'",
  '"fl\\x61gs=no-writes"',
  "'",
  '"a" b',
  '"a"b',
  "'a\\'b'",
);
const option = fc.oneof(
  { weight: 5, arbitrary: flags },
  quotes,
  fc.constantFrom("name=lib", "flags", "x", "FLAGS=no-writes"),
);
const engine = fc.oneof(
  { weight: 9, arbitrary: fc.constant("lua") },
  fc.constantFrom("", " lua", "LUA", "lua5", "js", '"lua"'),
);
const line = fc
  .tuple(
    engine,
    fc.array(fc.tuple(fc.constantFrom(" ", "  ", "\t"), option), { maxLength: 2 }),
    fc.constantFrom("", " ", "\r", "\0"),
  )
  .map(([engine, options, end]) => `#!${engine}${options.flat().join("")}${end}`);
const body = fc.constantFrom(
  "return 1",
  "return redis.call('SET', 'a', 'b')",
  "return redis.pcall('SET', 'a', 'b')",
  "return redis.call('GET', 'a')",
  "return redis.call('EXPIRE', 'a', 1)",
  "return redis.call('PUBLISH', 'a', 'b')",
  "return redis.call('SET')",
  "return redis.call('NOSUCH')",
  "return redis.call('EVAL', 'return 1', 0)",
  "return nope",
  "local function",
);
const evaluation: fc.Arbitrary<Evaluation> = fc
  .tuple(line, fc.constantFrom("\n", "\n", "\n", "\n\n", " "), body)
  .map(([line, newline, body]) => ({ script: `${line}${newline}${body}`, keys: [], args: [] }));

test("the first line of a script is as in Redis", { skip: unlike70("An error in a script") }, () =>
  check(
    fc.array(evaluation, { maxLength: 50, size: "max" }),
    runs(40),
    (evaluations) => compareEvaluations(redis.client, evaluations),
    scriptOf,
  ),
);
