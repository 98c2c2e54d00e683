// A proxy, a module, or a server of another kind may give a reply that no Redis gives. Taken as it is, it becomes a wrong result.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { KVError, type KVStore, type ScanResult } from "covara-kv";
import { commandOf } from "../../ts/commands.js";
import { type Conversions, conversions, type ResultKind } from "../../ts/results.js";
import { type Answer, type FakeServer, startFake } from "../fake-server.js";
import { goodArguments } from "../methods.js";
import { errorOf, expectRefusal, type Method, refusal, send } from "../replies.js";
import { HOST } from "../sockets.js";
import { open } from "./servers.js";

let server: FakeServer;
let kv: KVStore;
/** The server's reply to every command. */
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

/** The methods of one command each. `eval` is not among them, as a script may reply anything. */
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

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === "string";
const isNumber: Check = (value) => typeof value === "number";
const isBoolean: Check = (value) => typeof value === "boolean";
const isNothing: Check = (value) => value === undefined;
const orNull = (check: Check) => (value: unknown) => value === null || check(value);
const listOf = (check: Check) => (value: unknown) => Array.isArray(value) && value.every(check);

/** The type of the results, as TypeScript declares it for each kind. */
const results: Record<ResultKind, Check> = {
  text: isText,
  textOrNull: orNull(isText),
  texts: listOf(isText),
  textsOrNulls: listOf(orNull(isText)),
  number: isNumber,
  score: isNumber,
  scoreOrNull: orNull(isNumber),
  scores: listOf(orNull(isNumber)),
  flag: isBoolean,
  done: isBoolean,
  outcome: isNothing,
  nothing: isNothing,
  hash: (value) => Object.values(value as object).every(isText),
  keys: listOf(isText),
  page: (value) => isText((value as ScanResult).cursor) && listOf(isText)((value as ScanResult).keys),
  any: () => true,
};

const kindOf = new Map(
  Object.entries(conversions).map(([kind, conversion]): [Conversions, ResultKind] => [
    conversion,
    kind as ResultKind,
  ]),
);

function isResult(method: Method, result: unknown): boolean {
  const { returns } = commandOf(method) ?? assert.fail(`${method} is no command`);
  return results[kindOf.get(returns) ?? assert.fail(`${method} has no kind`)](result);
}

// An odd reply makes hgetall and scan reject with a TypeError. Other methods resolve to null, or to numbers in place of texts.
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

// A proxy of a cluster may take keys of all slots, or not (Upstash, Redis Cloud). Its own words then say what must change.
test("CROSSSLOT of a single endpoint is passed on as it is", async () => {
  const text = "CROSSSLOT Keys in request don't hash to the same slot";
  reply = `-${text}\r\n`;
  const error = await errorOf(kv.mget("a", "b"));
  assert.deepEqual([error.code, error.message, error.command], ["CROSSSLOT", text, "MGET"]);
  const asked = server.commands.filter(([name]) => name === "MGET");
  assert.deepEqual(asked, [["MGET", "a", "b"]]);
});

// An error inside an array becomes a plain Error among the values.
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
