// Tests that depend on the realm, on timers and on globals. They run in each environment, beside the conformance tests.
import assert from "node:assert/strict";
import { after, before, describe } from "node:test";
import realTimers from "node:timers";
import * as kvModule from "covara-kv";
import { createKV, createMemoryKV, KVError, type KVStore, RedisKVStore, registerHandler } from "covara-kv";
import { type RedisServer, startRedis } from "../redis-server.js";
import { errorOf, expectRefusal, refusal, wrongType } from "../replies.js";
import { test as define, loadCopy, timers } from "./environment.js";

const test = (name: string, body: () => Promise<void>) =>
  define(name, { skip: false, timeout: 30_000 }, body);

const turn = () => new Promise<void>((resolve) => void realTurn(resolve));
const { setImmediate: realTurn } = realTimers;

let server: RedisServer;
const redis = { host: "127.0.0.1", port: 0 };

before(async () => {
  server = await startRedis();
  redis.port = server.port;
});

after(() => server?.stop());

/** Runs `work` while timers, ticks and the clock are faked. */
async function withFakeTimers(work: () => Promise<void>): Promise<void> {
  timers.useFakeTimers();
  try {
    await work();
  } finally {
    timers.useRealTimers();
  }
}

const stores: [name: string, open: () => Promise<KVStore>][] = [
  ["memory", () => createKV({ type: "memory", strict: true })],
  ["memory, shared", () => createKV({ type: "memory", strict: true, shared: "checks" })],
  ["Redis", () => createKV({ type: "redis", redis, prefix: `checks-${Math.random()}` })],
];

// In Jest, Vitest's vm pools and node:vm `instanceof Error` is false for errors that the addon makes. Without this createKV with a closed
// port resolves.
test("createKV rejects if there is no server", async () => {
  const config = { ...redis, port: 1, maxRetries: 0, retryDelay: 1 };
  await expectRefusal(createKV({ type: "redis", redis: config }), refusal("CONNECTION"));
});

test("what is wrong with an address or a certificate is CONFIG", async () => {
  for (const url of ["http://localhost", "redis://", "nonsense"]) {
    await expectRefusal(createKV({ type: "redis", redis: { url } }), refusal("CONFIG"));
  }
  const ca = Uint8Array.from([45, 45, 45]);
  const open = () => new RedisKVStore({ options: { ...redis, tls: { ca } } });
  assert.throws(open, (error) => refusal("CONFIG").check(error));
});

for (const [name, open] of stores) {
  describe(`realm, ${name}`, () => {
    let kv: KVStore;
    before(async () => {
      kv = await open();
    });
    after(() => kv.disconnect());

    test("a command that is refused rejects with a KVError that names it", async () => {
      await kv.set("text", "abc");
      await expectRefusal(kv.lpush("text", "a"), wrongType);
      const error = await errorOf(kv.incr("text"));
      assert.deepEqual([error.command, error.code, error.name], ["INCR", "ERR", "KVError"]);
      assert.ok(error instanceof Error && error instanceof KVError);
      assert.equal((await errorOf(kv.get(5 as never))).code, "INVALID_ARGUMENT");
      await assert.rejects(kv.lpop("text"), KVError);
    });

    test("a transaction with a command that fails rejects, and has all results", async () => {
      await kv.set("text", "abc");
      const error = await errorOf(kv.multi().set("a", "1").incr("text").set("a", "2", { nx: true }).exec());
      assert.deepEqual([error.code, error.index, error.command], ["ERR", 1, "INCR"]);
      const [set, refused, unset] = error.results ?? [];
      assert.deepEqual([set, unset], ["OK", null]);
      assert.ok(refused instanceof KVError);
      assert.equal((await errorOf(kv.multi().get("a").lpush("a", "b").exec())).code, "WRONGTYPE");
    });

    test("NX", async () => {
      await kv.del("lock");
      const taken = () => kv.setnx("lock", "me", { ex: 10 });
      assert.deepEqual([await taken(), await taken()], [true, false]);
      assert.deepEqual(await kv.multi().set("lock", "x", { nx: true }).setnx("lock", "x").exec(), [
        null,
        false,
      ]);
    });

    test("a script's errors are KVErrors, alone and in arrays", async () => {
      const error = await errorOf(kv.eval("return redis.error_reply('OOPS no')", [], []));
      assert.deepEqual([error.code, error.message], ["OOPS", "OOPS no"]);
      const reply = (await kv.eval("return {1, {redis.error_reply('OOPS no')}}", [], [])) as [
        number,
        [unknown],
      ];
      assert.ok(reply[1][0] instanceof KVError);
      await errorOf(kv.eval("syntax error", [], []));
    });

    test("what is given back is of this realm", async () => {
      await kv.del("l", "h", "s");
      await kv.rpush("l", "a");
      await kv.hset("h", "f", "v");
      const lists = [
        await kv.lrange("l", 0, -1),
        await kv.lrange("none", 0, -1),
        await kv.smembers("none"),
        await kv.mget("none"),
        await kv.mget(),
        await kv.keys("none"),
        (await kv.scan("0")).keys,
        await kv.multi().get("none").exec(),
        await kv.multi().exec(),
        await kv.eval("return {{}, {1}}", [], []),
        ((await kv.eval("return {{}, {1}}", [], [])) as unknown[])[0],
      ];
      for (const list of lists) assert.equal(Object.getPrototypeOf(list), Array.prototype);
      assert.equal(Object.getPrototypeOf(await kv.hgetall("h")), Object.prototype);
      assert.ok(kv.ping() instanceof Promise);
    });

    test("messages come, and what a callback throws is an error event", async () => {
      const heard: unknown[] = [];
      const channel = `c-${Math.random()}`;
      const thrown = new TypeError("on purpose");
      kv.once("error", (error) => void heard.push(error === thrown));
      await kv.subscribe(channel, (message) => {
        heard.push(message);
        throw thrown;
      });
      assert.equal(await kv.publish(channel, "hello"), 1);
      while (heard.length < 2) await turn();
      assert.deepEqual(heard, ["hello", true]);
      await kv.unsubscribe(channel);
    });

    // If the tick that sends a batch is a fake one, the store never answers again after one call under jest.useFakeTimers().
    test("a store works while timers are faked, and after", async () => {
      await withFakeTimers(async () => {
        await kv.set("k", "1");
        assert.deepEqual(await Promise.all([kv.get("k"), kv.incr("k"), kv.multi().get("k").exec()]), [
          "1",
          2,
          ["2"],
        ]);
        const heard: string[] = [];
        const subscription = await kv.listen([`d-${name}`], (message) => void heard.push(message));
        await kv.publish(`d-${name}`, "hello");
        while (heard.length < 1) await turn();
        await subscription.close();
        const other = await open();
        await other.disconnect();
      });
      assert.equal(await kv.get("k"), "2");
    });
  });
}

// If the thread's own timer is a fake one, no expired key is swept.
test("expired keys are swept while timers are faked, and after", async () => {
  const kv = createMemoryKV();
  const isSwept = async () => {
    await kv.set("k", "v", { px: 1 });
    timers.advanceTimersByTime(1_000);
    while ((await kv.eval("return redis.call('DBSIZE')", [], [])) !== 0) await turn();
  };
  await withFakeTimers(async () => {
    await isSwept();
    await isSwept();
  });
  await kv.set("k", "v", { px: 1 });
  while ((await kv.eval("return redis.call('DBSIZE')", [], [])) !== 0) await turn();
  await kv.disconnect();
});

test("a signal of this realm unregisters a handler", async () => {
  const { getActiveHandlerCount } = kvModule;
  const controller = new AbortController();
  const before = getActiveHandlerCount();
  registerHandler("realm", () => {}, { signal: controller.signal });
  assert.equal(getActiveHandlerCount(), before + 1);
  controller.abort();
  assert.equal(getActiveHandlerCount(), before);
});

if (loadCopy !== undefined) {
  test("what a copy of the package publishes is heard by this one before publish resolves", async () => {
    const copy = loadCopy?.() as typeof kvModule;
    const [here, there] = [
      createMemoryKV("", { shared: "copies" }),
      copy.createMemoryKV("", { shared: "copies" }),
    ];
    const heard: string[] = [];
    await here.subscribe("channel", (message) => heard.push(`here ${message}`));
    await there.subscribe("channel", (message) => heard.push(`there ${message}`));
    assert.equal(await there.publish("channel", "1"), 2);
    assert.equal(await here.publish("channel", "2"), 2);
    assert.deepEqual(heard.sort(), ["here 1", "here 2", "there 1", "there 2"]);
    await here.disconnect();
    await there.disconnect();
  });

  test("a copy that is loaded while timers are faked works, and knows the errors of this one", async () => {
    await withFakeTimers(async () => {
      const copy = loadCopy?.() as typeof kvModule;
      assert.notEqual(copy.KVError, KVError);
      const kv = await copy.createKV({ type: "redis", redis });
      const error = await errorOf(kv.eval("return redis.error_reply('OOPS no')", [], []));
      assert.ok(error instanceof copy.KVError && new KVError("A", "b") instanceof copy.KVError);
      assert.ok(!(new Error("b") instanceof copy.KVError));
      class Narrower extends KVError {}
      assert.ok(!(error instanceof Narrower) && new Narrower("A", "b") instanceof Narrower);
      await kv.disconnect();
      const memory = copy.createMemoryKV();
      await memory.set("k", "v", { px: 1 });
      timers.advanceTimersByTime(1_000);
      while ((await memory.eval("return redis.call('DBSIZE')", [], [])) !== 0) await turn();
      await memory.disconnect();
    });
  });
}
