// A program that handles errors by their code breaks if a backend gives another code, or changes data before it refuses.
import assert from "node:assert/strict";
import { inspect } from "node:util";
import { onEveryBackend } from "../backends.js";
import { goodArguments } from "../methods.js";
import { contents, errorOf, expectReplies, type Method, type Step, send, wrongType } from "../replies.js";

type Type = "string" | "hash" | "set" | "list" | "zset";

const make: Record<Type, Step[0]> = {
  string: ["set", "string", "7"],
  hash: ["hset", "hash", "f", "v"],
  set: ["sadd", "set", "m"],
  list: ["rpush", "list", "v"],
  zset: ["zadd", "zset", 1, "m"],
};

/** The commands that need a key of one type, with the arguments that follow the key. */
const typed: [type: Type, method: Method, ...args: unknown[]][] = [
  ["string", "get"],
  ["string", "getdel"],
  ["string", "incr"],
  ["string", "incrBy", 2],
  ["string", "decr"],
  ["hash", "hget", "f"],
  ["hash", "hset", "f", "w"],
  ["hash", "hmset", { f: "w" }],
  ["hash", "hgetall"],
  ["hash", "hdel", "f"],
  ["hash", "hexists", "f"],
  ["hash", "hkeys"],
  ["hash", "hlen"],
  ["set", "sadd", "n"],
  ["set", "srem", "m"],
  ["set", "smembers"],
  ["set", "sismember", "m"],
  ["set", "scard"],
  ["list", "lpush", "w"],
  ["list", "rpush", "w"],
  ["list", "lpop"],
  ["list", "rpop"],
  ["list", "lrange", 0, -1],
  ["list", "llen"],
  ["list", "ltrim", 1, 0],
  ["zset", "zadd", 2, "m"],
  ["zset", "zrem", "m"],
  ["zset", "zscore", "m"],
  ["zset", "zrange", 0, -1],
  ["zset", "zrangebyscore", "-inf", "+inf"],
  ["zset", "zcard"],
  ["zset", "zincrby", 1, "m"],
];

const methods = Object.entries(goodArguments) as [Method, readonly unknown[]][];

const lone = ["\ud800", "\udc00", "a\ud800b", "\udc00\ud800"];
const neitherTextNorNumber = [
  undefined,
  null,
  true,
  {},
  Symbol("s"),
  1n,
  () => {},
  new String("k"),
  Buffer.from("k"),
  new Date(),
];
/** Wrong integers. Scores accept them. */
const noInteger = [Number.NaN, Number.POSITIVE_INFINITY, 1.5, 2 ** 53, -(2 ** 53), 1e300];
const scores = new Set<Method>(["zadd", "zincrby", "zrangebyscore"]);

/** The methods that take any number of strings, or arrays of them, with the number of arguments before these. */
const takesMany = new Map<Method, number>([
  ["mget", 0],
  ["del", 0],
  ["exists", 0],
  ["hdel", 1],
  ["sadd", 1],
  ["srem", 1],
  ["lpush", 1],
  ["rpush", 1],
  ["zrem", 1],
]);

/** Values that a method must refuse in the place of a good one. */
function wrongValues(method: Method, value: unknown, position: number): unknown[] {
  if (typeof value === "string") {
    const lists = position >= (takesMany.get(method) ?? 99) ? [[1], [["k"]], new Array(1)] : [[], ["k"]];
    return [...neitherTextNorNumber, 1, Number.NaN, ...lists, ...lone];
  }
  if (typeof value === "function") return [undefined, null, "f", 1, {}, []];
  if (Array.isArray(value)) {
    const items = [...neitherTextNorNumber, 1, ...lone].map((item) => ["k", item]);
    return [undefined, null, "k", 1, {}, { length: 1, 0: "k" }, new Set(["k"]), new Array(3), ...items];
  }
  if (typeof value === "object") {
    const items = [...neitherTextNorNumber, 1, ...lone].map((item) => ({ a: "1", f: item }));
    return [undefined, null, "f", 1, [], ["f", "v"], { "\ud800": "v" }, ...items];
  }
  const wrong = [...neitherTextNorNumber, Number.NaN, []];
  if (!scores.has(method)) return [...wrong, "1", ...noInteger];
  return method === "zrangebyscore" ? [...wrong, ...lone] : [...wrong, "1"];
}

/** Wrong options, and the call that they are appended to. */
const wrongOptions: [call: [Method, ...unknown[]], options: unknown[]][] = [
  [
    ["set", "k", "w"],
    [{ ex: "1" }, { ex: 1.5 }, { ex: Number.NaN }, { px: null }, { nx: 1 }, { xx: "yes" }, { keepttl: true }],
  ],
  [
    ["set", "k", "w"],
    [{ ex: 1, px: 1 }, { nx: true, xx: true }, { ex: 2 ** 53 }, null, "EX", ["ex", 1], 5],
  ],
  [
    ["setnx", "free", "w"],
    [{ ex: "1" }, { px: 1.5 }, { ex: 1, px: 1 }, { nx: true }, null, "EX", []],
  ],
  [
    ["scan", "0"],
    [{ match: 1 }, { match: "\ud800" }, { count: "10" }, { count: 1.5 }, { type: "hash" }, null, 10, "*"],
  ],
  [
    ["zrangebyscore", "z", 0, 9],
    [{ limit: 5 }, { limit: null }, { limit: {} }, { limit: { offset: 0 } }, { limit: [0, 1] }],
  ],
  [
    ["zrangebyscore", "z", 0, 9],
    [{ limit: { offset: 0.5, count: 1 } }, { limit: { offset: "0", count: 1 } }, { withScores: 1 }],
  ],
  [
    ["zrangebyscore", "z", 0, 9],
    [{ limit: { offset: 0, count: 1, more: 1 } }, { withscores: true }, null, "WITHSCORES", true],
  ],
  [
    ["listen", ["c"], () => {}],
    [{ patterns: "p" }, { patterns: [1] }, { onGap: 1 }, { gap: () => {} }, null, "p"],
  ],
];

onEveryBackend("errors", (test) => {
  test("a key of another type is refused by every command that wants one, and nothing changes", async ({
    open,
  }) => {
    const kv = await open({ strict: true });
    for (const call of Object.values(make)) await send(kv, call);
    const before = await contents(kv);
    for (const [type, method, ...args] of typed) {
      for (const other of Object.keys(make).filter((key) => key !== type)) {
        await expectReplies(kv, [[[method, other, ...args] as unknown as Step[0], wrongType]]);
      }
    }
    assert.deepEqual(await contents(kv), before);
  });

  test("a command that fails is named, and the error is an Error", async ({ kv }) => {
    await kv.set("k", "abc");
    const error = await errorOf(kv.incr("k"));
    assert.ok(error instanceof Error);
    assert.deepEqual([error.name, error.command, error.code], ["KVError", "INCR", "ERR"]);
    assert.equal(`${error}`, "KVError: ERR value is not an integer or out of range");
    assert.equal("index" in error || "results" in error || "cause" in error, false);
  });

  for (const [method, args] of methods) {
    test(`${method} refuses wrong arguments, and nothing changes`, async ({ kv }) => {
      if (kv[method] === undefined) return;
      const steps: Step[] = [
        ["set", "k", "v"],
        ["set", "n", "1"],
        ["hset", "h", "f", "v"],
        ["zadd", "z", 1, "m"],
      ].map((call) => [call as unknown as Step[0], undefined]);
      for (const [call] of steps) await send(kv, call);
      const before = await contents(kv);
      for (const [position, value] of args.entries()) {
        for (const wrong of wrongValues(method, value, position)) {
          const call = [method, ...Object.assign([...args], { [position]: wrong })] as const;
          await expectRefusedArgument(() => send(kv, call), method, wrong);
        }
      }
      assert.deepEqual(await contents(kv), before);
    });
  }

  for (const [[method, ...args], values] of wrongOptions) {
    test(`${method} refuses options such as ${inspect(values[0])}, and nothing changes`, async ({ kv }) => {
      if (kv[method] === undefined) return;
      await kv.set("k", "v");
      const before = await contents(kv);
      for (const options of values) {
        await expectRefusedArgument(() => send(kv, [method, ...args, options]), method, options);
      }
      assert.deepEqual(await contents(kv), before);
    });
  }

  // A refusal must be a KVError. Otherwise listen rejects with whatever a getter of its channels throws, and subscribe with a TypeError for
  // a revoked proxy.
  test("what the arguments throw when they are read does not come out", async ({ kv }) => {
    const thrower = () => {
      throw new Error("boom");
    };
    const hostile = new Proxy({}, { get: thrower, ownKeys: thrower, getPrototypeOf: thrower, has: thrower });
    const getter = { get: thrower, enumerable: true };
    const list = Object.defineProperty(["a", "b"], 1, getter);
    const { proxy: revoked, revoke } = Proxy.revocable([], {});
    revoke();
    const calls: [Method, ...unknown[]][] = [
      ["get", hostile],
      ["get", revoked],
      ["get", { toString: thrower, valueOf: thrower, [Symbol.toPrimitive]: thrower }],
      ["set", "k", "v", hostile],
      ["set", "k", "v", revoked],
      ["set", "k", "v", Object.defineProperty({}, "ex", getter)],
      ["hmset", "h", hostile],
      ["hmset", "h", Object.defineProperty({}, "f", getter)],
      ["scan", "0", hostile],
      ["zrangebyscore", "z", 0, 1, { limit: hostile }],
      ["eval", "return 1", list, []],
      ["eval", "return 1", [], revoked],
      ["publish", revoked, "m"],
      ["subscribe", revoked, () => {}],
      ["subscribe", "c", revoked],
      ["psubscribe", revoked, () => {}],
      ["unsubscribe", revoked],
      ["punsubscribe", revoked],
      ["listen", list, () => {}],
      ["listen", revoked, () => {}],
      ["listen", ["c"], () => {}, hostile],
      ["listen", ["c"], () => {}, { patterns: list }],
      ["subscribeScoped", list, () => {}],
    ];
    for (const call of calls.filter(([method]) => kv[method] !== undefined)) {
      const error = await errorOf(send(kv, call), call[0]);
      assert.equal(error.code, "INVALID_ARGUMENT", call[0]);
    }
    assert.deepEqual(await kv.keys("*"), []);
  });

  test("an option is read once, so that it cannot change after it was checked", async ({ kv }) => {
    let reads = 0;
    const options = {
      get ex() {
        return (reads++ === 0 ? 100 : "1 NX") as number;
      },
    };
    await kv.set("k", "v", options);
    assert.deepEqual([reads, await kv.ttl("k")], [1, 100]);
  });
});

/** Fails unless the call gives a Promise that rejects with INVALID_ARGUMENT, and its message begins with the method. */
async function expectRefusedArgument(
  call: () => Promise<unknown>,
  method: Method,
  value: unknown,
): Promise<void> {
  const shown = `${method} with ${inspect(value)}`;
  let promise: Promise<unknown>;
  try {
    promise = call();
  } catch (error) {
    assert.fail(`${shown} throws: ${error}`);
  }
  assert.ok(promise instanceof Promise, shown);
  const error = await errorOf(promise, shown);
  assert.equal(error.code, "INVALID_ARGUMENT", shown);
  assert.ok(error.message.startsWith(`${method}: `), `${shown}: ${error.message}`);
}
