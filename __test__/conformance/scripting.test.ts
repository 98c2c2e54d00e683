// If one backend converts the arguments or replies of a script differently, the same script gives other results there.
import assert from "node:assert/strict";
import { eventually, onEveryBackend } from "../backends.js";
import { expectRefusal, expectReplies, refusal, wrongType } from "../replies.js";

/** Deletes a lock if its caller still owns it: the script of Redis's own documentation. */
const compareAndDelete = `
if redis.call("get",KEYS[1]) == ARGV[1] then
    return redis.call("del",KEYS[1])
else
    return 0
end
`;

/** A token bucket, as libraries for rate limits ship it. */
const tokenBucket = `
local tokens_key = KEYS[1]
local timestamp_key = KEYS[2]

local rate = tonumber(ARGV[1])
local capacity = tonumber(ARGV[2])
local now = tonumber(ARGV[3])
local requested = tonumber(ARGV[4])

local fill_time = capacity/rate
local ttl = math.floor(fill_time*2)

local last_tokens = tonumber(redis.call("get", tokens_key))
if last_tokens == nil then
  last_tokens = capacity
end

local last_refreshed = tonumber(redis.call("get", timestamp_key))
if last_refreshed == nil then
  last_refreshed = 0
end

local delta = math.max(0, now-last_refreshed)
local filled_tokens = math.min(capacity, last_tokens+(delta*rate))
local allowed = filled_tokens >= requested
local new_tokens = filled_tokens
local allowed_num = 0
if allowed then
  new_tokens = filled_tokens - requested
  allowed_num = 1
end

redis.call("setex", tokens_key, ttl, new_tokens)
redis.call("setex", timestamp_key, ttl, now)

return { allowed_num, new_tokens }
`;

/** The same token bucket in one hash. */
const hashBucket = `
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(bucket[1]) or tonumber(ARGV[1])
local at = tonumber(bucket[2]) or tonumber(ARGV[3])
tokens = math.min(tonumber(ARGV[1]), tokens + (tonumber(ARGV[3]) - at) * tonumber(ARGV[2]))
local ok = tokens >= 1
if ok then tokens = tokens - 1 end
redis.call('HMSET', KEYS[1], 'tokens', tokens, 'at', ARGV[3])
redis.call('PEXPIRE', KEYS[1], 60000)
return { ok, tostring(tokens) }
`;

/** Scripts, each with the value that its call resolves to. */
const results: [script: string, result: unknown][] = [
  ["return 1", 1],
  ["return -3.99", -3],
  ["return 3.99", 3],
  ["return 2^53", 2 ** 53],
  ["return 1e300", -(2 ** 63)],
  ["return 'text'", "text"],
  ["return ''", ""],
  ["return 'ä日👩'", "ä日👩"],
  ["return #'ä'", 2],
  ["return '\\0'", "\0"],
  ["return true", 1],
  ["return false", null],
  ["return nil", null],
  ["return", null],
  ["", null],
  ["return {}", []],
  ["return {1, 'a', {2, {3.5}}, true, false}", [1, "a", [2, [3]], 1, null]],
  ["return {1, nil, 3}", [1]],
  ["return {a = 1}", []],
  ["return {ok = 'FINE'}", "FINE"],
  ["return redis.status_reply('FINE')", "FINE"],
  ["return redis.call('set', KEYS[1], 'v')", "OK"],
  ["return redis.call('set', KEYS[1], 'v').ok", "OK"],
  ["return redis.call('get', KEYS[1])", null],
  ["return redis.call('get', KEYS[1]) == false", 1],
  ["return redis.call('incr', KEYS[1]) + 1", 2],
  ["return redis.call('hgetall', KEYS[1])", []],
  ["redis.call('rpush', KEYS[1], 'a', 'b'); return redis.call('lrange', KEYS[1], 0, -1)", ["a", "b"]],
  ["redis.call('zadd', KEYS[1], '1.5', 'm'); return redis.call('zscore', KEYS[1], 'm')", "1.5"],
  ["redis.call('set', KEYS[1], 1.5); return redis.call('get', KEYS[1])", "1.5"],
  ["redis.call('set', KEYS[1], 0.1); return redis.call('get', KEYS[1])", "0.10000000000000001"],
  ["redis.call('set', KEYS[1], 3); return redis.call('get', KEYS[1])", "3"],
  ["return redis.call('type', KEYS[1]).ok", "none"],
  ["return redis.call('PING')", "PONG"],
  ["return redis.sha1hex('')", "da39a3ee5e6b4b0d3255bfef95601890afd80709"],
  ["return type(redis.pcall('incr', KEYS[1]))", "number"],
  ["redis.call('set', KEYS[1], 'x'); return redis.pcall('incr', KEYS[1]).err ~= nil", 1],
  ["redis.call('set', KEYS[1], 'x'); local ok = pcall(redis.call, 'incr', KEYS[1]); return ok", null],
  [
    "return tostring(tonumber('0x10')) .. type(unpack) .. math.floor(2.7) .. table.concat({1, 2}, '-')",
    "16function21-2",
  ],
  ["return string.format('%s %d %5.2f', 'a', 3, 1.234)", "a 3  1.23"],
];

const json: [script: string, result: unknown][] = [
  ["return cjson.encode({})", "{}"],
  ["return cjson.encode({1, 2, {a = cjson.null}})", '[1,2,{"a":null}]'],
  [
    "return cjson.encode({1.5, true, 'é\"\\\\/\\n\\0', 0.1, 1e100})",
    '[1.5,true,"é\\"\\\\\\/\\n\\u0000",0.1,1e+100]',
  ],
  ["return cjson.encode('text')", '"text"'],
  ["return cjson.encode(cjson.decode(ARGV[1]))", '{"a":[1,2,{}]}'],
  ["return cjson.decode(ARGV[1]).a[2]", 2],
  ["return cjson.decode('[1, null]')[2] == cjson.null", 1],
  ["return cjson.decode('\"\\\\u00e9\\\\ud83d\\\\ude00\"')", "é😀"],
];

onEveryBackend("scripting", (test) => {
  test("a lock is released by its owner only", async ({ kv }) => {
    await kv.setnx("lock", "me", { ex: 100 });
    assert.equal(await kv.eval(compareAndDelete, ["lock"], ["you"]), 0);
    assert.equal(await kv.get("lock"), "me");
    assert.equal(await kv.eval(compareAndDelete, ["lock"], ["me"]), 1);
    assert.equal(await kv.exists("lock"), 0);
    assert.equal(await kv.eval(compareAndDelete, ["lock"], ["me"]), 0);
  });

  test("a token bucket lets through what its rate allows", async ({ kv }) => {
    const take = (now: number, requested = 1) =>
      kv.eval(tokenBucket, ["tokens", "at"], ["2", "5", `${now}`, `${requested}`]);
    for (const left of [4, 3, 2, 1, 0]) assert.deepEqual(await take(1_000), [1, left]);
    assert.deepEqual(await take(1_000), [0, 0]);
    assert.deepEqual(await take(1_001), [1, 1]);
    assert.deepEqual(await take(1_001, 3), [0, 1]);
    assert.deepEqual(await take(9_000, 5), [1, 0]);
    await expectReplies(kv, [[["ttl", "tokens"], 5]]);
    assert.equal(await kv.get("at"), "9000");
  });

  test("a token bucket in a hash", async ({ kv }) => {
    const take = (now: number) => kv.eval(hashBucket, ["bucket"], ["2", "0.5", `${now}`]);
    assert.deepEqual(await take(10), [1, "1"]);
    assert.deepEqual(await take(10), [1, "0"]);
    assert.deepEqual(await take(11), [null, "0.5"]);
    assert.deepEqual(await take(13), [1, "0.5"]);
    await expectReplies(kv, [[["ttl", "bucket"], 60]]);
  });

  for (const [script, result] of [...results, ...json]) {
    test(script, async ({ kv }) => {
      assert.deepEqual(await kv.eval(script, ["k"], ['{"a": [1, 2, {}]}']), result);
    });
  }

  test("a script sees its keys under the prefix, and its arguments as they are", async ({ open, unique }) => {
    const prefix = unique("p");
    const store = await open({ prefix });
    await store.set("a", "1");
    const result = await store.eval(
      "return {#KEYS, #ARGV, KEYS[1], KEYS[2], ARGV[1], ARGV[2]}",
      ["a", ""],
      ["a", "ä\0"],
    );
    assert.deepEqual(result, [2, 2, `${prefix}:a`, `${prefix}:`, "a", "ä\0"]);
    assert.equal(await store.eval("return redis.call('get', KEYS[1])", ["a"], []), "1");
    assert.equal(await store.eval("return redis.call('get', ARGV[1])", [], [`${prefix}:a`]), "1");
  });

  test("many keys and arguments", async ({ kv }) => {
    const many = Array.from({ length: 2_000 }, (_, index) => `${index}`);
    assert.deepEqual(await kv.eval("return {#KEYS, #ARGV, ARGV[2000]}", many, many), [2_000, 2_000, "1999"]);
    assert.deepEqual(await kv.eval("return ARGV", [], many), many);
    assert.equal(await kv.eval("return #ARGV[1]", [], ["x".repeat(1 << 20)]), 1 << 20);
  });

  test("the same script again and again", async ({ kv }) => {
    const counts = Array.from({ length: 1_000 }, () =>
      kv.eval("return redis.call('incr', KEYS[1])", ["n"], []),
    );
    assert.deepEqual(
      await Promise.all(counts),
      Array.from(counts, (_, index) => index + 1),
    );
  });

  test("nothing comes between the commands of a script", async ({ kv }) => {
    const script = "for i = 1, 10 do redis.call('incr', KEYS[1]) end return redis.call('get', KEYS[1])";
    const calls = Array.from({ length: 20 }, () => [kv.eval(script, ["n"], []), kv.incr("n")]).flat();
    const counts = (await Promise.all(calls)).map(Number);
    assert.deepEqual(
      counts,
      Array.from(counts, (_, index) => 11 * Math.floor(index / 2) + (index % 2 ? 11 : 10)),
    );
  });

  test("what a script did before it failed stays, as in Redis", async ({ kv }) => {
    const script = "redis.call('set', KEYS[1], 'done') error('boom')";
    await expectRefusal(kv.eval(script, ["k"], []), refusal("ERR", /boom/));
    assert.equal(await kv.get("k"), "done");
  });

  test("messages that a script publishes arrive", async ({ kv, unique }) => {
    const channel = unique("news");
    const received: string[] = [];
    await kv.subscribe(channel, (message) => void received.push(message));
    const script = "redis.call('publish', ARGV[1], 'a') return redis.call('publish', ARGV[1], 'b')";
    assert.equal(await kv.eval(script, [], [channel]), 1);
    await eventually(() => received.length === 2);
    assert.deepEqual(received, ["a", "b"]);
  });

  const failures: [script: string, code: string, message: string | RegExp][] = [
    ["return redis.error_reply('MY own words')", "MY", "MY own words"],
    ["return redis.error_reply('boom')", "ERR", "ERR boom"],
    ["return {err = 'MY own words'}", "MY", "MY own words"],
    ["error({err = 'MY own words'})", "MY", /^MY own words/],
    ["error('boom')", "ERR", /^ERR user_script:1: boom/],
    [
      "redis.call('set', KEYS[1], 'x'); return redis.call('incr', KEYS[1])",
      "ERR",
      /^ERR value is not an integer or out of range/,
    ],
    [
      "redis.call('set', KEYS[1], 'x'); return redis.pcall('incr', KEYS[1])",
      "ERR",
      "ERR value is not an integer or out of range",
    ],
    ["return redis.call('nope')", "ERR", /^ERR Unknown Redis command called from script/],
    ["return redis.call('get')", "ERR", /^ERR Wrong number of args calling Redis command from script/],
    ["return redis.call()", "ERR", /^ERR Please specify at least one argument for this redis lib call/],
    [
      "return redis.call('get', {})",
      "ERR",
      /^ERR Lua redis lib command arguments must be strings or integers/,
    ],
    ["return redis.call('eval', 'return 1', 0)", "ERR", /^ERR This Redis command is not allowed from script/],
    ["x x", "ERR", /^ERR Error compiling script \(new function\): user_script:1: /],
    ["return undefinedname", "ERR", /Script attempted to access nonexistent global variable 'undefinedname'/],
    ["newname = 1", "ERR", /Attempt to modify a readonly table/],
    ["string.newname = 1", "ERR", /Attempt to modify a readonly table/],
    ["return 1 + {}", "ERR", /^ERR user_script:1: attempt to perform arithmetic on a table value/],
    [
      "return cjson.decode('{bad')",
      "ERR",
      /Expected object key string but found invalid token at character 2/,
    ],
    ["return cjson.encode({[1] = 1, [1000] = 2})", "ERR", /Cannot serialise table: excessively sparse array/],
    ["local t = {} t[1] = t return cjson.encode(t)", "ERR", /Cannot serialise, excessive nesting/],
  ];
  for (const [script, code, message] of failures) {
    test(`${script} fails`, async ({ kv }) => {
      await expectReplies(kv, [[["eval", script, ["k"], []], refusal(code, message)]]);
      assert.equal(await kv.ping(), "PONG");
    });
  }

  test("a key of another type is refused in a script too", async ({ open }) => {
    const strict = await open({ strict: true });
    await strict.set("s", "v");
    await expectReplies(strict, [
      [["eval", "return redis.pcall('lpush', KEYS[1], 'x')", ["s"], []], wrongType],
      [["eval", "return redis.call('lpush', KEYS[1], 'x')", ["s"], []], refusal("WRONGTYPE", /^WRONGTYPE /)],
      [["get", "s"], "v"],
    ]);
  });

  for (const name of ["io", "dofile", "loadfile", "require", "print", "debug", "package"]) {
    test(`there is no ${name}`, async ({ kv }) => {
      const refused = refusal("ERR", new RegExp(`nonexistent global variable '${name}'`));
      await expectRefusal(kv.eval(`return ${name}`, [], []), refused);
    });
  }

  test("no state leaks from script to script", async ({ kv }) => {
    const leaks = [
      "leak = 1",
      "rawset(_G, 'leak', 1)",
      "KEYS.leak = 1",
      "redis.leak = 1",
      "math.floor = nil",
    ];
    for (const script of leaks) await kv.eval(`pcall(function() ${script} end)`, ["k"], []).catch(() => {});
    await kv.eval(leaks[0] as string, [], []).catch(() => {});
    const seen = "return {rawget(_G, 'leak') or 'none', KEYS.leak or 'none', type(math.floor)}";
    assert.deepEqual(await kv.eval(seen, ["k"], []), ["none", "none", "function"]);
  });
});
