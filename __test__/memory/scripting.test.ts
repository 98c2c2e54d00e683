// A script without limits fills the memory of the application's process, or stops its event loop. These limits go beyond Redis's.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createMemoryKV } from "covara-kv";
import { timeoutFactor } from "../backends.js";
import { errorOf } from "../replies.js";

for (const name of [
  "io",
  "os",
  "load",
  "loadstring",
  "dofile",
  "loadfile",
  "collectgarbage",
  "require",
  "ffi",
  "newproxy",
]) {
  test(`there is no ${name}`, async () => {
    assert.match(
      (await errorOf(createMemoryKV().eval(`return ${name}`, [], []))).message,
      new RegExp(`nonexistent global variable '${name}'`),
    );
  });
}

test("a script that does not end is stopped after 5 s, and no pcall keeps it from that", {
  timeout: 60_000 * timeoutFactor,
}, async () => {
  const script = `
    redis.call("set", KEYS[1], "begun")
    while true do
      pcall(function() while true do end end)
    end`;
  const kv = createMemoryKV();
  const started = Date.now();
  const error = await errorOf(kv.eval(script, ["k"], []));
  assert.deepEqual([error.name, error.code, error.command], ["KVError", "TIMEOUT", "EVAL"]);
  assert.ok(Date.now() - started >= 4_900);
  assert.equal(await kv.get("k"), "begun");
  assert.equal(await kv.eval("return 1", [], []), 1);
});

const greedy: Record<string, string> = {
  "a table that grows": "local t = {} while true do t[#t + 1] = string.rep('x', 1000000) .. #t end",
  "a string that grows": "local s = 'x' while true do s = s .. s end",
  "a string of a huge size": "return string.rep('x', 2^40)",
  "endless recursion": "local function f() return 1 + f() end return f()",
  "a pattern that backtracks": "return string.find(string.rep('a', 100000), string.rep('.-', 1000) .. 'b')",
  "a result within itself": "local t = {} t[1] = t return t",
};
for (const [what, script] of Object.entries(greedy)) {
  test(`${what} fails, and the store goes on`, { timeout: 60_000 * timeoutFactor }, async () => {
    const kv = createMemoryKV();
    await errorOf(kv.eval(script, ["k"], []));
    assert.equal(await kv.eval("return redis.call('set', KEYS[1], 'v').ok", ["k"], []), "OK");
    assert.equal(await kv.get("k"), "v");
  });
}

/** Ways in which a script could leave something behind for the next one. */
const leaks = [
  "getmetatable('').__index = function() return 'leaked' end",
  "getmetatable('').leak = 1",
  "setmetatable(_G, {__index = function() return 'leaked' end})",
  "getmetatable(_G).__index = function() return 'leaked' end",
  "string.rep = function() return 'leaked' end",
  "rawset(string, 'rep', function() return 'leaked' end)",
  "redis.call = function() return 'leaked' end",
  "cjson.encode = function() return 'leaked' end",
  "rawset(redis, 'call', nil)",
  "_G.leak = 'leaked'",
  "rawset(_G, 'leak', 'leaked')",
  "setfenv(0, {})",
  "math.randomseed(1)",
];
for (const leak of leaks) {
  test(`nothing is left behind by ${leak}`, async () => {
    const kv = createMemoryKV();
    await kv.eval(leak, [], []).catch(() => {});
    await kv.eval(`pcall(function() ${leak} end)`, [], []).catch(() => {});
    const script = `
      return { ("x"):rep(2), type(redis.call), cjson.encode({1}), tostring(rawget(_G, "leak")), redis.call("ping").ok,
               tostring((""):len()) }`;
    assert.deepEqual(await kv.eval(script, [], []), ["xx", "function", "[1]", "nil", "PONG", "0"]);
    await assert.rejects(kv.eval("return leak", [], []), /nonexistent global variable 'leak'/);
  });
}

test("scripts of two stores know nothing of each other", async () => {
  const [a, b] = [createMemoryKV("a"), createMemoryKV("b")];
  const script = "return {KEYS[1], redis.call('incr', KEYS[1])}";
  assert.deepEqual(await a.eval(script, ["n"], []), ["a:n", 1]);
  assert.deepEqual(await b.eval(script, ["n"], []), ["b:n", 1]);
  assert.deepEqual(await a.eval(script, ["n"], []), ["a:n", 2]);
});

test("10,000 different scripts", async () => {
  const kv = createMemoryKV();
  for (let index = 0; index < 10_000; index++) assert.equal(await kv.eval(`return ${index}`, [], []), index);
  assert.equal(await kv.eval("return 7", [], []), 7);
});

// If TIME has whole milliseconds, calls within the same one add the same member, and 254 of 500 pass.
test("a limiter that takes TIME for its members lets through as many as it should", async () => {
  const limiter = `
    local time = redis.call('TIME')
    if redis.call('ZCARD', KEYS[1]) >= 10 then return 0 end
    redis.call('ZADD', KEYS[1], time[1] * 1000000 + time[2], time[1] .. '-' .. time[2])
    return 1`;
  const kv = createMemoryKV("", { strict: true });
  const passed = await Promise.all(Array.from({ length: 500 }, () => kv.eval(limiter, ["calls"], [])));
  assert.equal(passed.flat().filter((pass) => pass === 1).length, 10);
  await kv.disconnect();
});
