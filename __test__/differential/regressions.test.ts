// The memory store may differ from Redis in cases that random tests find and no other test covers.
import { test } from "node:test";
import { unlike70 } from "../servers.js";
import { CALL, compareEvaluations, type Evaluation } from "./evaluations.js";
import { showing } from "./lua.js";
import { useRedis } from "./redis.js";

/** Commands called by scripts, as most have words that no method accepts. */
const COMMANDS: Record<string, string[][]> = {
  "RPOPLPUSH of a list of one onto itself took away the list, and with it its expiry": [
    ["RPUSH", "l", "a"],
    ["EXPIREAT", "l", "99999999999"],
    ["RPOPLPUSH", "l", "l"],
  ],
  "RPOPLPUSH of nothing onto a string was refused": [
    ["SET", "s", "a"],
    ["RPOPLPUSH", "none", "s"],
  ],
  "LINDEX and LSET looked at the index before they looked for the list": [
    ["LINDEX", "none", "x"],
    ["LSET", "none", "x", "a"],
  ],
  "an end before the start of a string was no byte to GETRANGE, and not the first": [
    ["SET", "s", "abc"],
    ["GETRANGE", "s", "0", "-9"],
    ["GETRANGE", "s", "-8", "-9"],
  ],
  "SET refused an expiry that is given twice": [
    ["SET", "s", "a", "EX", "1000", "EX", "100000"],
    ["SET", "s", "a", "EX", "1000", "PX", "1000000"],
  ],
  "EXPIRE looked at the time before the options": [["EXPIRE", "none", "x", "NOPE"]],
  "HINCRBYFLOAT blamed the sum for an infinite increment": [["HINCRBYFLOAT", "h", "f", "inf"]],
  "ZADD took the last option for a score": [
    ["ZADD", "z", "GT", "1"],
    ["ZADD", "z", "INCR", "m"],
  ],
  "ZPOPMIN gave another reason to refuse a count that is no number": [["ZPOPMIN", "z", "x"]],
  "ZRANGE took an option twice, and a LIMIT of -1 by rank was refused": [
    ["ZADD", "z", "1", "a"],
    ["ZRANGE", "z", "0", "-1", "REV", "REV"],
    ["ZRANGE", "z", "0", "1", "BYSCORE", "BYSCORE"],
    ["ZRANGE", "z", "0", "-1", "LIMIT", "0", "-1"],
    ["ZREVRANGE", "z", "0", "-1", "LIMIT", "0", "1"],
  ],
  "bounds of scores were refused that C's strtod reads": [
    ["ZADD", "z", "0", "a", "1", "b"],
    ["ZRANGEBYSCORE", "z", "", " 1"],
    ["ZCOUNT", "z", "(-1e400", "1e400"],
  ],
  "a redis.call of EVAL was refused before its words were counted": [["EVAL"], ["EVAL", "return 1", "0"]],
};

const SCRIPTS: Record<string, string[]> = {
  "an error in a gmatch pattern named the sandbox": [
    showing("(function() for a in string.gmatch('a', '[') do end end)()"),
  ],
  "gsub looked at its third argument before its fourth": [showing("string.gsub('a', 'a', true, {})")],
  "find took a pattern with a NUL before its first magic character for one": [
    showing("string.find('a', '\\0%d')"),
  ],
  "cjson.decode refused -.5": [showing("cjson.decode('[-.5]')"), showing("cjson.decode('[.5]')")],
  "texts for RESP went past a NUL": [
    "error('a\\0b')",
    "error({err = 'MY a\\0b'})",
    "return {ok = 'a\\0b'}",
    "return redis.error_reply('MY a\\0b')",
  ],
  "errors kept their newlines at the end": [
    "return {err = 'MY a\\r\\n'}",
    "return {ok = 'a\\r\\n'}",
    "return redis.error_reply('\\na')",
    "return redis.error_reply('\\na b')",
  ],
};

const redis = useRedis();
/** All of them are compared as scripts, so errors have the form that Redis 7.0 gives them in scripts. */
const skip = unlike70("An error in a script");

for (const [story, commands] of Object.entries(COMMANDS)) {
  const evaluations = commands.map((args): Evaluation => ({ script: CALL, keys: [], args }));
  test(story, { skip }, () => compareEvaluations(redis.client, evaluations));
}

for (const [story, scripts] of Object.entries(SCRIPTS)) {
  const evaluations = scripts.map((script): Evaluation => ({ script, keys: [], args: [] }));
  test(story, { skip }, () => compareEvaluations(redis.client, evaluations));
}
