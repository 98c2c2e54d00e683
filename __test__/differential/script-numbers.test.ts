// No server prints a score that a script reads like Redis 7.2 ("0.1"), and a number that it gives like Redis 7.0 ("0.10000000000000001").
// The memory store prints both like Redis 7.0.
import { test } from "node:test";
import fc from "fast-check";
import { unlike70 } from "../servers.js";
import { compareEvaluations, type Evaluation, scriptOf } from "./evaluations.js";
import { check, runs } from "./property.js";
import { useRedis } from "./redis.js";

const redis = useRedis();

const number = fc.oneof(
  fc.double({ noNaN: true }).map((n) => `${n === Infinity ? "1/0" : n === -Infinity ? "-1/0" : n}`),
  fc.integer().map(String),
  fc.constantFrom(
    "0.1",
    "1/3",
    "1e15",
    "1e16",
    "1e17",
    "2^53",
    "2^53 + 1",
    "2^63",
    "-2^63",
    "1e-5",
    "1e-7",
    "5e-324",
    "1e308",
    "3.0",
    "100000000000000000000",
  ),
);
// The memory store drops the sign of a zero.
const SCRIPTS = [
  "redis.call('SET', 'k', $) return redis.call('GET', 'k')",
  "redis.call('ZADD', 'z', $, 'm') return redis.call('ZSCORE', 'z', 'm')",
  "redis.call('ZADD', 'z', $, 'm', 1, 'n') return redis.call('ZRANGE', 'z', 0, -1, 'WITHSCORES')",
  "redis.call('ZADD', 'z', $, 'm') return redis.call('ZRANGEBYSCORE', 'z', $, $, 'WITHSCORES')",
  "return {redis.call('ZINCRBY', 'z', $, 'm'), redis.call('ZINCRBY', 'z', 0.1, 'm')}",
  "return redis.call('ZADD', 'z', 'INCR', $, 'm')",
  "redis.call('HSET', 'h', $, $) return redis.call('HGETALL', 'h')",
  "return redis.pcall('INCRBY', 'i', $)",
  "return redis.pcall('EXPIRE', 'i', $)",
  "return tostring($)",
  "return $",
];
const evaluation: fc.Arbitrary<Evaluation> = fc
  .tuple(fc.constantFrom(...SCRIPTS), number)
  .filter(([script, n]) => !(/Z/.test(script) && Object.is(Number(n), -0)))
  .map(([script, n]) => ({ script: script.replaceAll("$", `(${n})`), keys: [], args: [] }));

const skip = unlike70("An error in a script", "A number in a script, and a score as text");

test("numbers in scripts are printed as by Redis 7.0", { skip }, () =>
  check(
    fc.array(evaluation, { maxLength: 60, size: "max" }),
    runs(60),
    (evaluations) => compareEvaluations(redis.client, evaluations),
    scriptOf,
  ),
);
