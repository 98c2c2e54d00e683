// Calls as data, each with the result that it must have.
import assert from "node:assert/strict";
import { inspect } from "node:util";
import { KVError, type KVStore } from "covara-kv";

/** The methods of KVStore that resolve to a value, and may reject. */
export type Method = Exclude<
  {
    [M in keyof KVStore]-?: NonNullable<KVStore[M]> extends (...args: never[]) => Promise<unknown>
      ? M
      : never;
  }[keyof KVStore & string],
  "health"
>;

/** A method and its arguments. */
type Call = { [M in Method]: readonly [M, ...Parameters<NonNullable<KVStore[M]>>] }[Method];

/** A call and its result: a value, a Refusal, or a list in any order. */
export type Step = readonly [call: Call, result: unknown];

/** A rejection with a KVError. */
export class Refusal {
  constructor(
    readonly code: string,
    readonly message?: string | RegExp,
  ) {}

  /** Fails unless `error` is this refusal. Returns true, as `assert.throws` requires. */
  check(error: unknown): true {
    assert.ok(error instanceof KVError, `not a KVError: ${inspect(error)}`);
    assert.equal(error.code, this.code, error.stack);
    if (typeof this.message === "string") assert.equal(error.message, this.message);
    if (this.message instanceof RegExp) assert.match(error.message, this.message);
    return true;
  }
}

/** `message` is the whole text, or a pattern that it matches. */
export const refusal = (code: string, message?: string | RegExp) => new Refusal(code, message);

export const syntaxError = refusal("ERR", "ERR syntax error");
export const notAnInteger = refusal("ERR", "ERR value is not an integer or out of range");
export const wrongType = refusal(
  "WRONGTYPE",
  "WRONGTYPE Operation against a key holding the wrong kind of value",
);
export const invalidArgument = refusal("INVALID_ARGUMENT");

class InAnyOrder {
  constructor(readonly items: readonly string[]) {}
}

/** A list whose order is not defined by Redis. */
export const inAnyOrder = (...items: string[]) => new InAnyOrder(items);

/** The error with which a Promise rejects, which must be a KVError. */
export async function errorOf(promise: Promise<unknown>, what = "the call"): Promise<KVError> {
  const outcome = await promise.then(
    (result) => ({ result }),
    (error: unknown) => ({ error }),
  );
  if ("result" in outcome) assert.fail(`${what} must fail, and gave ${inspect(outcome.result)}`);
  assert.ok(outcome.error instanceof KVError, `${what}: not a KVError: ${inspect(outcome.error)}`);
  return outcome.error;
}

export async function expectRefusal(promise: Promise<unknown>, expected: Refusal): Promise<void> {
  expected.check(await errorOf(promise));
}

/** Makes the calls one after the other, and compares each result. */
export async function expectReplies(kv: KVStore, steps: readonly Step[]): Promise<void> {
  for (const [call, expected] of steps) {
    const shown = inspect(call, { breakLength: Number.POSITIVE_INFINITY, maxStringLength: 100 });
    const reply = send(kv, call);
    if (expected instanceof Refusal) {
      expected.check(await errorOf(reply, shown));
    } else if (expected instanceof InAnyOrder) {
      assert.deepEqual([...((await reply) as string[])].sort(), [...expected.items].sort(), shown);
    } else {
      // assert's own message shows the difference of the values, so the call is named besides.
      const actual = withoutElapsed(await reply, call, expected);
      assert.deepEqual({ call: shown, reply: actual }, { call: shown, reply: expected });
    }
  }
}

/** Times to live get shorter while a slow machine makes the calls: a difference of up to two seconds is ignored. */
function withoutElapsed(reply: unknown, [method]: Call, expected: unknown): unknown {
  const elapsed = method === "ttl" ? Number(expected) - Number(reply) : 0;
  return elapsed > 0 && elapsed <= 2 && Number(reply) > 0 ? expected : reply;
}

/** Makes a call with any arguments, without a check of their types. */
export function send(kv: KVStore, [method, ...args]: readonly [Method, ...unknown[]]): Promise<unknown> {
  return (kv[method] as (...args: unknown[]) => Promise<unknown>).apply(kv, args);
}

/** All data of a store. */
export async function contents(kv: KVStore): Promise<Record<string, unknown>> {
  const keys = (await kv.keys("*")).sort();
  const entries = keys.map(async (key) => [key, await kv.ttl(key), await value(kv, key)]);
  return { entries: await Promise.all(entries) };
}

async function value(kv: KVStore, key: string): Promise<unknown> {
  switch (await kv.type(key)) {
    case "string":
      return kv.get(key);
    case "hash":
      return kv.hgetall(key);
    case "set":
      return (await kv.smembers(key)).sort();
    case "list":
      return kv.lrange(key, 0, -1);
    case "zset":
      return kv.zrangebyscore(key, "-inf", "+inf", { withScores: true });
    default:
      throw new Error("a key of keys() has no type");
  }
}

/** The promise itself. If it fails before the test awaits it, the test goes on until it does, and fails there. */
export function watched<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
