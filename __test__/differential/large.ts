// Steps on collections that are too large for the compact forms in which both stores keep small ones.
import fc from "fast-check";
import type { Method } from "./commands.js";
import type { Call, Step } from "./steps.js";

const word = fc.nat(700).map((number) => `m${number}`);
/** Words with a stride between them: made of three numbers, which shrink to a small case sooner than hundreds of words. */
const many = fc
  .tuple(fc.nat(300), fc.integer({ min: 1, max: 400 }), fc.constantFrom(1, 1, 2, 3, 7))
  .map(([first, count, stride]) =>
    Array.from({ length: count }, (_, at) => `m${(first + at * stride) % 700}`),
  );
const index = fc.integer({ min: -400, max: 400 });
/** Few values, so that many members share a score. */
const score = fc.oneof(fc.nat(5), fc.constantFrom(Infinity, -Infinity, 0.5));
const bound = fc.constantFrom("-inf", "+inf", "(1", "1", "(3", 4, 0.5);

const call = (method: Method, key: string, ...args: fc.Arbitrary<unknown>[]): fc.Arbitrary<Step> =>
  fc.tuple(...args).map((args): Call => ({ method, args: [key, ...args] }));

/** A call with a list of words as its further arguments. */
const callOfMany = (method: Method, key: string): fc.Arbitrary<Step> =>
  many.map((words): Call => ({ method, args: [key, ...words] }));

const fields = fc
  .tuple(many, word)
  .map(([names, value]) => Object.fromEntries(names.map((name, at) => [name, `${value} ${at}`])));

/** ZADD of many, in one transaction. */
const zadds = fc.tuple(many, fc.array(score, { minLength: 1, maxLength: 7 })).map(
  ([members, scores]): Step => ({
    queue: members.map(
      (member, at): Call => ({ method: "zadd", args: ["z", scores[at % scores.length], member] }),
    ),
  }),
);

const limited = fc.record({
  withScores: fc.boolean(),
  limit: fc.record({ offset: fc.nat(400), count: fc.integer({ min: -1, max: 400 }) }),
});

export const largeSteps: fc.Arbitrary<Step> = fc.oneof(
  call("hmset", "h", fields),
  callOfMany("hdel", "h"),
  call("hget", "h", word),
  call("hset", "h", word, word),
  call("hgetall", "h"),
  call("hlen", "h"),

  callOfMany("sadd", "t"),
  callOfMany("srem", "t"),
  call("sismember", "t", word),
  call("smembers", "t"),

  callOfMany("rpush", "l"),
  callOfMany("lpush", "l"),
  call("lrange", "l", index, index),
  call("ltrim", "l", index, index),
  call("lpop", "l"),
  call("rpop", "l"),

  zadds,
  zadds,
  callOfMany("zrem", "z"),
  call("zadd", "z", score, word),
  call("zincrby", "z", fc.constantFrom(1, -1, 0.5), word),
  call("zscore", "z", word),
  call("zrange", "z", index, index),
  call("zrangebyscore", "z", bound, bound, limited),
  call("zcard", "z"),
);
