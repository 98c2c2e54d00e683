// A difference from Redis that is not pinned may grow unnoticed. These are on purpose, for the reasons in docs/compatibility.md.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createMemoryKV } from "covara-kv";
import { unlike70 } from "../servers.js";
import { failureOf } from "./outcome.js";
import { pipeline, useRedis } from "./redis.js";

interface Difference {
  readonly what: string;
  /** Returns a value or fails. Its one key is `key`. */
  readonly script: string;
  readonly memory: string | RegExp;
  readonly redis: string | RegExp;
}

const DIFFERENCES: Difference[] = [
  {
    what: "zero has no sign as a score; in Redis only a large set keeps it",
    script:
      "redis.call('ZADD', KEYS[1], '-0', string.rep('m', 65)) return redis.call('ZSCORE', KEYS[1], string.rep('m', 65))",
    memory: "0",
    redis: "-0",
  },
  {
    what: "floats are added as doubles, not as 80 bits",
    script: "redis.call('SET', KEYS[1], '0.1') return redis.call('INCRBYFLOAT', KEYS[1], '0.2')",
    memory: "0.30000000000000004",
    redis: "0.3",
  },
  {
    what: "scores are not read as hexadecimal",
    script: "redis.call('ZADD', KEYS[1], '0x10', 'm') return redis.call('ZSCORE', KEYS[1], 'm')",
    memory: /^ERR value is not a valid float script: /,
    redis: "16",
  },
  {
    what: "bounds are not read as hexadecimal",
    script:
      "redis.call('ZADD', KEYS[1], 16, 'm') return redis.call('ZRANGEBYSCORE', KEYS[1], '0x10', '0x10')[1]",
    memory: /^ERR min or max is not a float script: /,
    redis: "m",
  },
  {
    what: "JSON has no hexadecimal numbers",
    script: "return tostring(cjson.decode('0x10'))",
    memory: /^ERR user_script:1: Expected the end but found invalid token at character 2 script: /,
    redis: "16",
  },
  {
    what: "members are not ranged by their bytes",
    script: "redis.call('ZADD', KEYS[1], 0, 'm') return redis.call('ZRANGE', KEYS[1], '-', '+', 'BYLEX')[1]",
    memory: /^ERR syntax error script: /,
    redis: "m",
  },
  {
    what: "the libraries cannot be listed",
    script: "return type(next(string))",
    memory: "nil",
    redis: "string",
  },
  {
    what: "strings do not show their metatable",
    script: "return type(getmetatable(''))",
    memory: "boolean",
    redis: "table",
  },
  {
    what: "a script may set its own globals by rawset",
    script: "rawset(_G, 'own', 'value') return own",
    memory: "value",
    redis: /Attempt to modify a readonly table/,
  },
  {
    what: "what a script may not call is not there",
    script: "return redis.call('MULTI')",
    memory: /^ERR Unknown Redis command called from script/,
    redis: /^ERR This Redis command is not allowed from script/,
  },
  ...["setresp", "set_repl", "acl_check_cmd"].map((name) => ({
    what: `there is no redis.${name}`,
    script: `return type(redis.${name})`,
    memory: "nil",
    redis: "function",
  })),
  {
    what: "there is no redis.REDIS_VERSION",
    script: "return type(redis.REDIS_VERSION)",
    memory: "nil",
    redis: "string",
  },
  ...["gcinfo", "load", "loadstring", "collectgarbage"].map((name) => ({
    what: `there is no ${name}`,
    script: `return type(${name})`,
    memory: /^ERR .*Script attempted to access nonexistent global variable/,
    redis: "function",
  })),
  ...["struct", "cmsgpack", "coroutine"].map((library) => ({
    what: `there is no ${library}`,
    script: `return type(${library})`,
    memory: /^ERR .*Script attempted to access nonexistent global variable/,
    redis: "table",
  })),
];

const redis = useRedis();
const skip = unlike70("An error in a script");

for (const { what, script, memory, redis: expected } of DIFFERENCES) {
  test(what, { skip }, async () => {
    const kv = createMemoryKV("", { strict: true });
    const result = await kv.eval(script, ["key"], []).catch((error: unknown) => error);
    const [, reply] = await pipeline(redis.client, [["FLUSHALL"], ["EVAL", script, "1", "key"]]);
    answers(result, memory);
    answers(reply, expected);
    await kv.disconnect();
  });
}

test("a setting of cjson is for the script that makes it; Redis keeps it for all later scripts", async () => {
  const kv = createMemoryKV("", { strict: true });
  const [set, read] = ["cjson.encode_max_depth(7)", "return cjson.encode_max_depth()"];
  await kv.eval(set, [], []);
  assert.deepEqual(await kv.eval(read, [], []), 1000);
  const replies = await pipeline(redis.client, [
    ["EVAL", set, "0"],
    ["EVAL", read, "0"],
    ["EVAL", "cjson.encode_max_depth(1000)", "0"],
  ]);
  assert.equal(replies[1], 7);
  await kv.disconnect();
});

function answers(result: unknown, expected: string | RegExp): void {
  if (typeof expected === "string") assert.equal(result, expected);
  else assert.match(failureOf(result as Error).message, expected);
}
