// Random commands as words, right and wrong: `redis.call` accepts them, where a method would refuse them earlier.
import fc from "fast-check";
import { anyKey, keyOf, member, value } from "./pools.js";

type Word = fc.Arbitrary<string>;
type Words = fc.Arbitrary<string[]>;

const word = (...words: string[]): Word => fc.constantFrom(...words);
const one = (word: Word): Words => word.map((word) => [word]);

const NONE: Words = fc.constant([]);

/** Mostly a right word, sometimes a wrong one. */
const mostly = (right: string[], wrong: string[]): Word =>
  fc.oneof({ weight: 8, arbitrary: word(...right) }, { weight: 1, arbitrary: word(...wrong) });

const NO_INTEGERS = [
  "",
  " 1",
  "1 ",
  "01",
  "-0",
  "+1",
  "1.5",
  "1e3",
  "0x10",
  "x",
  "1\0",
  "9223372036854775808",
];
const integer = mostly(
  ["0", "1", "-1", "2", "10", "-3", "9223372036854775807", "-9223372036854775808"],
  NO_INTEGERS,
);
const few = mostly(["0", "1", "2", "3", "-1", "-2"], NO_INTEGERS);
/** Past, far away or too large: nothing expires while the test runs. */
const TIMES = ["1000000", "99999999999", "99999999999999", "0", "-1", "-9223372036854775808"];
const time = mostly([...TIMES, "9223372036854775807", "9223372036854775", "9223372036854776"], NO_INTEGERS);

/** Scores that 17 digits and the fewest digits write alike: see differences.test.ts. */
const SCORES = [
  "0",
  "1",
  "1",
  "-1",
  "1.5",
  "2",
  "1e3",
  "1.",
  ".5",
  "+2",
  "1e308",
  "-1e308",
  "inf",
  "-inf",
  "Infinity",
];
const NO_SCORES = ["", " 1", "1 ", "nan", "x", "1e400", "1e-400", "1_0", "-", ".", "e5", "1e", "1\0"];
const score = mostly(SCORES, NO_SCORES);
const bound = fc.oneof(mostly(["(1", "(0", "(-inf", "-inf", "+inf", "0", "2", "("], NO_SCORES), score);
/** Their sums are exact both in Redis's long double and in a double: see differences.test.ts. */
const addend = mostly(
  ["0.5", "-0.25", "1", "3", "1e3", "-0.5"],
  ["", " 1", "1 ", "nan", "x", "1_0", "-", ".", "inf"],
);

/** Some of these options, in any order and case, and now and then an unknown one. */
function options(...names: (string | [name: string, ...Word[]])[]): Words {
  const each = names.map((option) => {
    const [name, ...words] = [option].flat() as [string, ...Word[]];
    return fc.tuple(word(name, name, name.toLowerCase()), ...words) as Words;
  });
  const wrong = word("NOPE", "", "1").map((word) => [word]);
  const option = fc.oneof(...each.map((arbitrary) => ({ weight: 5, arbitrary })), {
    weight: 1,
    arbitrary: wrong,
  });
  return fc.oneof(
    NONE,
    fc.array(option, { maxLength: 4 }).map((options) => options.flat()),
  );
}

/** The item one to three times. */
const some = (...item: Word[]): Words =>
  fc.array(fc.tuple(...item), { minLength: 1, maxLength: 3 }).map((items) => items.flat());

function exactly(name: string, ...parts: (Word | Words)[]): Words {
  return fc.tuple(...(parts as fc.Arbitrary<string | string[]>[])).map((parts) => [name, ...parts.flat()]);
}

/** A command in which now and then a word is missing or too many. */
function command(name: string, ...parts: (Word | Words)[]): Words {
  const right = exactly(name, ...parts);
  const less = fc.tuple(right, fc.nat(4)).map(([words, length]) => words.slice(0, length + 1));
  const more = fc.tuple(right, word("extra", "", "1")).map(([words, extra]) => [...words, extra]);
  return fc.oneof(
    { weight: 20, arbitrary: right },
    { weight: 1, arbitrary: less },
    { weight: 1, arbitrary: more },
  );
}

const string = keyOf("string");
const hash = keyOf("hash");
const set = keyOf("set");
const list = keyOf("list");
const zset = keyOf("zset");

/** No GT and LT, which compare deadlines: of two relative ones the later depends on the clock. */
const relative = options("NX", "XX");
const absolute = options("NX", "XX", "GT", "LT");
const times = [
  ["EX", time],
  ["PX", time],
  ["EXAT", time],
  ["PXAT", time],
] as [string, Word][];
const limit: [string, Word, Word] = ["LIMIT", few, few];

const COMMANDS: Words[] = [
  command("GET", string),
  command("SET", string, value, options("NX", "XX", "GET", "KEEPTTL", ...times)),
  command("SETNX", string, value),
  command("SETEX", string, time, value),
  command("PSETEX", string, time, value),
  command("GETDEL", string),
  command("GETSET", string, value),
  command("MGET", some(anyKey)),
  command("MSET", some(string, value)),
  command("APPEND", string, value),
  command("STRLEN", string),
  command("GETRANGE", string, integer, integer),
  command("INCR", string),
  command("DECR", string),
  command("INCRBY", string, integer),
  command("DECRBY", string, integer),
  command("INCRBYFLOAT", word("float"), addend),

  command("DEL", some(anyKey)),
  command("UNLINK", some(anyKey)),
  command("EXISTS", some(anyKey)),
  command("TYPE", anyKey),
  command("EXPIRE", anyKey, time, relative),
  command("PEXPIRE", anyKey, time, relative),
  command("EXPIREAT", anyKey, time, absolute),
  command("PEXPIREAT", anyKey, time, absolute),
  command("PERSIST", anyKey),
  command("KEYS", word("*", "s", "?", "[hs]")),
  // A count that gets all keys in one page, as Redis cuts smaller pages in its own way.
  exactly(
    "SCAN",
    word("0", "x"),
    options(["MATCH", word("*", "s")], ["TYPE", word("hash", "ZSET", "no")]),
    word("COUNT"),
    word("1000", "0", "x"),
  ),
  command("RENAME", anyKey, anyKey),
  command("PING"),
  command("ECHO", value),
  command("PUBLISH", value, value),

  command("HGET", hash, member),
  command("HSET", hash, some(member, value)),
  command("HMSET", hash, some(member, value)),
  command("HSETNX", hash, member, value),
  command("HMGET", hash, some(member)),
  command("HGETALL", hash),
  command("HDEL", hash, some(member)),
  command("HEXISTS", hash, member),
  command("HKEYS", hash),
  command("HVALS", hash),
  command("HLEN", hash),
  command("HSTRLEN", hash, member),
  command("HINCRBY", hash, member, integer),
  command("HINCRBYFLOAT", hash, word("float"), addend),

  command("SADD", set, some(member)),
  command("SREM", set, some(member)),
  command("SMEMBERS", set),
  command("SISMEMBER", set, member),
  command("SMISMEMBER", set, some(member)),
  command("SCARD", set),

  command("LPUSH", list, some(member)),
  command("RPUSH", list, some(member)),
  command("LPOP", list, fc.oneof(NONE, one(few))),
  command("RPOP", list, fc.oneof(NONE, one(few))),
  command("LRANGE", list, integer, integer),
  command("LLEN", list),
  command("LTRIM", list, integer, integer),
  command("LINDEX", list, integer),
  command("LSET", list, few, value),
  command("LREM", list, integer, member),
  command("RPOPLPUSH", list, list),

  command("ZADD", zset, some(score, member)),
  command("ZADD", zset, options("NX", "XX", "GT", "LT", "CH", "INCR"), some(score, member)),
  command("ZINCRBY", zset, score, member),
  command("ZREM", zset, some(member)),
  command("ZSCORE", zset, member),
  command("ZMSCORE", zset, some(member)),
  command("ZCARD", zset),
  command("ZCOUNT", zset, bound, bound),
  command("ZRANK", zset, member),
  command("ZREVRANK", zset, member),
  command("ZRANGE", zset, few, few, options("WITHSCORES", "REV")),
  command("ZRANGE", zset, bound, bound, options("BYSCORE", "WITHSCORES", "REV", limit)),
  command("ZREVRANGE", zset, few, few, options("WITHSCORES")),
  command("ZRANGEBYSCORE", zset, bound, bound, options("WITHSCORES", limit)),
  command("ZREVRANGEBYSCORE", zset, bound, bound, options("WITHSCORES", limit)),
  command("ZREMRANGEBYSCORE", zset, bound, bound),
  command("ZREMRANGEBYRANK", zset, few, few),
  command("ZPOPMIN", zset, fc.oneof(NONE, one(few))),
  command("ZPOPMAX", zset, fc.oneof(NONE, one(few))),

  command("eval", word("return 1"), word("0")),
  command("nope", value),
];

export const commandWords: Words = fc.oneof(...COMMANDS);

/** Commands whose replies have no order in Redis. */
export const IN_NO_ORDER = new Set(["KEYS", "SCAN", "HGETALL", "HKEYS", "HVALS", "SMEMBERS"]);
