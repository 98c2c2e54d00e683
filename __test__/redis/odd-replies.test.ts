// Replies that no Redis gives, but a proxy, a module, or a server that is none may.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { KVError, type KVStore } from "covara-kv";
import { type Answer, type FakeServer, startFake } from "../fake-server.js";
import { goodArguments } from "../methods.js";
import { errorOf, expectRefusal, type Method, refusal, send } from "../replies.js";
import { HOST, open } from "./servers.js";

let server: FakeServer;
let kv: KVStore;
/** What the server answers to everything. */
let reply: string;

beforeEach(async () => {
  let isQueued = false;
  const answer: Answer = ([name]) => {
    if (name === "MULTI") isQueued = true;
    if (name === "EXEC") isQueued = false;
    if (!isQueued) return reply;
    return name === "MULTI" ? "+OK\r\n" : "+QUEUED\r\n";
  };
  server = await startFake({ answer });
  kv = await open({ host: HOST, port: server.port });
});

afterEach(async () => {
  await kv.disconnect();
  await server.stop();
});

/** The methods that are one command each; a script's reply is whatever it is. */
const methods = (Object.keys(goodArguments) as Method[]).filter(
  (method) => !/connect|subscribe|listen|ping|eval/.test(method),
);

const odd = refusal("CONNECTION", "The server's reply is none that the command has");

const REPLIES = [
  "$-1\r\n",
  "*-1\r\n",
  "_\r\n",
  ":5\r\n",
  "+OK\r\n",
  "$3\r\nabc\r\n",
  "*0\r\n",
  "*1\r\n:5\r\n",
  "*1\r\n$1\r\na\r\n",
  "*2\r\n$1\r\na\r\n$-1\r\n",
  "*2\r\n$1\r\n0\r\n*1\r\n:5\r\n",
  "*2\r\n:0\r\n*0\r\n",
  "*1\r\n*1\r\n$1\r\na\r\n",
  ",1.5\r\n",
];

/** What TypeScript says that each method resolves to. */
function isResult(method: Method, result: unknown): boolean {
  const isText = (value: unknown) => typeof value === "string";
  const isTextOrNull = (value: unknown) => value === null || isText(value);
  const isNumber = (value: unknown) => typeof value === "number";
  if (/^(set|hmset|ltrim)$/.test(method)) return result === undefined;
  if (/^(setnx|expire|hexists|sismember)$/.test(method)) return typeof result === "boolean";
  if (/^(get|getdel|hget|lpop|rpop)$/.test(method)) return isTextOrNull(result);
  if (method === "type") return isText(result);
  if (method === "zscore") return result === null || isNumber(result);
  if (method === "mget") return Array.isArray(result) && result.every(isTextOrNull);
  if (/^(keys|hkeys|smembers|lrange|zrange|zrangebyscore)$/.test(method)) {
    return Array.isArray(result) && result.every(isText);
  }
  if (method === "hgetall") return Object.values(result as object).every(isText);
  if (method !== "scan") return isNumber(result);
  const { cursor, keys } = result as { cursor: unknown; keys: unknown[] };
  return isText(cursor) && keys.every(isText);
}

// hgetall and scan rejected with a TypeError; others resolved to null, or to numbers where text was to be.
test("a reply that the command does not have is CONNECTION; nothing else comes out", async () => {
  for (reply of REPLIES) {
    for (const method of methods) {
      if (kv[method] === undefined) continue;
      const what = `${method}: ${JSON.stringify(reply)}`;
      const outcome = await send(kv, [method, ...goodArguments[method]]).then(
        (result) => isResult(method, result),
        (error) => odd.check(error),
      );
      assert.ok(outcome, what);
    }
  }
  reply = "$-1\r\n";
  for (const method of ["hgetall", "scan", "smembers", "incr", "type"] as const) {
    const error = await errorOf(send(kv, [method, ...goodArguments[method]]), method);
    assert.deepEqual([error.code, error.command], ["CONNECTION", method.toUpperCase()]);
  }
  assert.equal(await kv.get("k"), null);
});

// Errors within arrays came as plain Errors, as if they were values.
test("an error within a reply rejects with that error", async () => {
  reply = "*2\r\n$1\r\na\r\n-MOVED 5 elsewhere\r\n";
  for (const method of [
    "mget",
    "smembers",
    "hgetall",
    "lrange",
    "keys",
    "zrange",
    "hkeys",
    "zrangebyscore",
  ]) {
    const error = await errorOf(send(kv, [method as Method, ...goodArguments[method as Method]]), method);
    assert.deepEqual([error.code, error.message], ["MOVED", "MOVED 5 elsewhere"], method);
  }
  reply = "*2\r\n$1\r\n0\r\n*1\r\n-OOPS no\r\n";
  await expectRefusal(kv.scan("0"), refusal("OOPS"));
  const result = (await kv.eval("return 1", [], [])) as [string, [unknown]];
  assert.ok(result[1][0] instanceof KVError);
});

test("a transaction with an odd reply has it as that command's error", async () => {
  reply = "*2\r\n*0\r\n*1\r\n-OOPS no\r\n";
  const error = await errorOf(kv.multi().get("k").sadd("s", "m").exec());
  assert.deepEqual([error.code, error.index, error.command], ["CONNECTION", 0, "GET"]);
  const [first, second] = error.results as KVError[];
  assert.deepEqual([first?.code, second?.code], ["CONNECTION", "OOPS"]);
  for (reply of ["$-1\r\n", "*-1\r\n", ":5\r\n", "+OK\r\n", "*0\r\n", "*3\r\n:1\r\n:1\r\n:1\r\n"]) {
    const { code, results } = await errorOf(kv.multi().incr("k").incr("l").exec(), JSON.stringify(reply));
    assert.ok(code !== undefined && results === undefined, JSON.stringify(reply));
  }
});
