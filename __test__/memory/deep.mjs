// Scripts with deep recursion, called from JavaScript that has used up nearly all of its stack in a worker thread.
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { createMemoryKV } from "covara-kv";

const SCRIPTS = [
  "local function f() return (('a'):gsub('a', f)) end return f()",
  "local t t = setmetatable({}, {__index = function(_, k) return (('a'):gsub('a', t)) end}) return (('a'):gsub('a', t))",
  "local function f() table.sort({2, 1}, function(a, b) f() return a < b end) end f()",
  "local function f() return pcall(f) end return f()",
  "local function f() pcall(string.find, ('x'):rep(1000), ('x?'):rep(1000)) redis.call('HGETALL', 'h') return (('a'):gsub('a', f)) end return f()",
  `return ${"(".repeat(190)}1${")".repeat(190)}`,
  "local t = 1 for i = 1, 990 do t = {t} end return t",
  `local t = 1 for i = 1, 900 do t = {t} end return cjson.encode(cjson.decode(cjson.encode(t)))`,
];

if (isMainThread) {
  const worker = new Worker(new URL(import.meta.url), {
    resourceLimits: { stackSizeMb: Number(process.argv[2]) },
    // Node.js writes a line to stderr for each Promise that is rejected without stack.
    stderr: true,
  });
  worker.on("message", (frames) => console.log(frames));
  worker.on("error", (error) => {
    throw error;
  });
} else {
  const kv = createMemoryKV();
  await kv.eval("return 1", [], []);
  const calls = [];
  const dive = () => {
    try {
      dive();
    } catch {
      // The deepest frame continues first, then each of those above it.
    }
    if (calls.length === 400) return;
    try {
      calls.push(kv.eval(SCRIPTS[calls.length % SCRIPTS.length], [], []));
    } catch {
      // Too little stack is left even for the call.
    }
  };
  dive();
  const outcomes = await Promise.allSettled(calls);
  await kv.set("k", "still here");
  const fits = (outcome) => outcome.status === "fulfilled" || !(outcome.reason instanceof RangeError);
  parentPort.postMessage(outcomes.filter(fits).length);
}
