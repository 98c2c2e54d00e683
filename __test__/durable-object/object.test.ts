// Stores and objects of different versions must understand each other. Requests are as existing stores make them, and answers as they
// understand them.
import assert from "node:assert/strict";
import { describe, mock, test } from "node:test";
import { createDurableObjectKV, DurableObjectKVStore, type DurableObjectStubLike } from "covara-kv";
import { eventually } from "../backends.js";
import { errorOf } from "../replies.js";
import { FakeNamespace } from "./fake-namespace.js";
import { FakeSqlStorage } from "./fake-storage.js";

const namespace = new FakeNamespace();

function fetch(path: string, init?: RequestInit): Promise<Response> {
  return namespace.object("wire").fetch(new Request(`https://covara-kv${path}`, init));
}

async function batch(commands: unknown, more: object = {}): Promise<unknown> {
  const body = JSON.stringify({ commands, stopOnError: false, ...more });
  const response = await fetch("/batch", { method: "POST", body });
  assert.equal(response.status, 200);
  return ((await response.json()) as { results: unknown }).results;
}

const ok = (value: unknown) => ({ ok: true, value });

describe("requests", () => {
  // An older object knows `hset` with one pair, and would have stored only the first of several pairs.
  test("several pairs go by an op that older objects refuse", async () => {
    const sent: unknown[] = [];
    const stub: DurableObjectStubLike = {
      fetch(input, init) {
        sent.push(...JSON.parse(init?.body ?? "").commands);
        return namespace.object("pairs").fetch(new Request(input, init));
      },
    };
    const kv = new DurableObjectKVStore(stub, { prefix: "p" });
    assert.equal(await kv.hset("h", "a", "1"), 1);
    assert.equal(await kv.hset("h", "a", "1", "b", "2"), 1);
    assert.equal(await kv.zadd("z", 1, "inf", Number.POSITIVE_INFINITY, "-inf"), 2);
    assert.deepEqual(sent, [
      { op: "hset", args: ["p:h", "a", "1"] },
      { op: "hsetPairs", args: ["p:h", "a", "1", "b", "2"] },
      { op: "zaddPairs", args: ["p:z", 1, "inf", "inf", "-inf"] },
    ]);
    assert.deepEqual(await kv.zrange("z", 0, -1), ["inf", "-inf"]);
    assert.equal(await kv.zscore("z", "-inf"), Number.POSITIVE_INFINITY);
    const [unknown] = (await batch([{ op: "hsetNothing", args: ["h", "a", "1"] }])) as { ok: boolean }[];
    assert.equal(unknown?.ok, false);
  });

  test("a command is the adapter's method, and so is its result", async () => {
    const calls: [op: string, args: unknown[], value: unknown][] = [
      ["set", ["s", "1", { ex: 100 }], "OK"],
      ["set", ["s", "1", { nx: true }], null],
      ["set", ["n", "1", null], "OK"],
      ["incr", ["s"], 2],
      ["ttl", ["s"], 100],
      ["expire", ["s", 50], true],
      ["hset", ["h", "__proto__", "v"], 1],
      ["hexists", ["h", "__proto__"], true],
      ["sadd", ["m", "a", "b"], 2],
      ["sismember", ["m", "x"], false],
      ["zadd", ["z", "inf", "last"], 1],
      ["zadd", ["z", 1.5, "first"], 1],
      ["zscore", ["z", "last"], "inf"],
      ["zrangebyscore", ["z", "-inf", "+inf", { withScores: true }], ["first", "1.5", "last", "inf"]],
      ["zrangebyscore", ["z", 0, 2, null], ["first"]],
      ["scan", ["0", { match: "h*" }], { cursor: "0", keys: ["h"] }],
      ["scan", ["0", null], { cursor: "0", keys: ["n", "s", "h", "m", "z"] }],
      ["del", ["s", "m", "z"], 3],
    ];
    assert.deepEqual(
      await batch(calls.map(([op, args]) => ({ op, args }))),
      calls.map(([, , value]) => ok(value)),
    );
    assert.equal(
      JSON.stringify(await batch([{ op: "hgetall", args: ["h"] }])),
      '[{"ok":true,"value":{"__proto__":"v"}}]',
    );
  });

  test("a command that fails says why, and the others run", async () => {
    const commands = [
      { op: "set", args: ["text", "abc"] },
      { op: "incr", args: ["text"] },
      { op: "nope", args: [] },
      { op: "constructor", args: [] },
      { op: "get", args: [1] },
      { op: "set", args: ["text", "abc", { ex: 1, px: 1 }] },
      { op: "eval", args: ["return 1", [], []] },
      { op: "get", args: ["text"] },
    ];
    const results = (await batch(commands)) as { ok: boolean; error?: string; code?: string }[];
    assert.deepEqual(
      results.map(({ ok, code }) => (ok ? "ok" : code)),
      ["ok", "ERR", "ERR", "ERR", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "UNSUPPORTED", "ok"],
    );
    assert.equal(results[1]?.error, "ERR value is not an integer or out of range");
    const stopped = (await batch(commands, { stopOnError: true })) as unknown[];
    assert.equal(stopped.length, 2);
  });

  test("what is malformed, or nowhere, is refused", async () => {
    const status = async (path: string, init?: RequestInit) => (await fetch(path, init)).status;
    for (const body of ["", "{", "null", "[]", "{}", '{"commands":1}', '{"commands":[1]}']) {
      assert.equal(await status("/batch", { method: "POST", body }), 400, body);
    }
    assert.equal(await status("/subscribe?channels=a"), 426);
    const headers = { Upgrade: "websocket" };
    assert.equal(await status("/subscribe?channels=%E0%A4%A", { headers }), 400);
    for (const path of ["/", "/batch", "/other"]) assert.equal(await status(path), 404, path);
  });

  test("a key of another type is told, or refused", async () => {
    await batch([{ op: "set", args: ["string", "v"] }]);
    const call = [{ op: "hget", args: ["string", "f"] }];
    assert.deepEqual(await batch(call), [{ ok: true, value: null, mismatched: true }]);
    const error = "WRONGTYPE Operation against a key holding the wrong kind of value";
    assert.deepEqual(await batch(call, { strict: true }), [{ ok: false, error, code: "WRONGTYPE" }]);
  });
});

describe("the store", () => {
  test("asks for a fresh stub for every request, and one request is enough for a tick", async () => {
    const namespace = new FakeNamespace();
    const kv = createDurableObjectKV(namespace);
    await Promise.all([kv.set("a", "1"), kv.incr("a"), kv.incr("n")]);
    assert.deepEqual(namespace.requests, ["POST /batch"]);
    await kv.get("a");
    await kv.multi().incr("a").incr("a").exec();
    assert.equal(namespace.requests.length, 3);
    assert.equal(await kv.get("a"), "4");
  });

  test("takes a stub too, and understands an object of today", async () => {
    const bodies: unknown[] = [];
    const results = [
      { ok: true, value: true },
      { ok: false, error: "WRONGTYPE Operation against …" },
      { ok: false, error: "Something else" },
    ];
    const stub: DurableObjectStubLike = {
      async fetch(input, init) {
        assert.equal(input, "https://covara-kv/batch");
        bodies.push(JSON.parse(init?.body ?? ""));
        return Response.json({ results });
      },
    };
    const kv = new DurableObjectKVStore(stub, { prefix: "app" });
    const [exists, wrong, other] = await Promise.allSettled([
      kv.hexists("h", "f"),
      kv.hset("h", "f", "v"),
      kv.mget("a", "b"),
    ]);
    assert.deepEqual(exists, { status: "fulfilled", value: true });
    assert.deepEqual(
      [wrong, other].map((result) => (result as PromiseRejectedResult).reason.code),
      ["WRONGTYPE", "ERR"],
    );
    const commands = [
      { op: "hexists", args: ["app:h", "f"] },
      { op: "hset", args: ["app:h", "f", "v"] },
      { op: "mget", args: ["app:a", "app:b"] },
    ];
    assert.deepEqual(bodies, [{ commands, stopOnError: false }]);
  });

  test("a request that fails rejects its commands, with the cause", async () => {
    const namespace = new FakeNamespace();
    const kv = createDurableObjectKV(namespace);
    namespace.failure = new Error("The object is overloaded");
    const failures = [kv.get("k"), kv.multi().get("k").exec(), kv.subscribe("c", () => {})];
    for (const failure of failures) {
      const error = await errorOf(failure);
      assert.deepEqual([error.code, error.cause], ["CONNECTION", namespace.failure]);
    }
    namespace.failure = undefined;
    assert.equal(await kv.ping(), "PONG");
    for (const response of [
      new Response("", { status: 500 }),
      new Response("{"),
      Response.json({ results: [] }),
    ]) {
      const broken = new DurableObjectKVStore({ fetch: async () => response });
      assert.equal((await errorOf(broken.get("k"))).code, "CONNECTION");
    }
  });

  test("one that is made wrongly says how", () => {
    const stub: DurableObjectStubLike = { fetch: async () => new Response() };
    const invalid = { name: "KVError", code: "INVALID_ARGUMENT" };
    for (const options of [{ prefix: 1 }, { strict: "yes" }, { reconnectDelay: 5 }, { nope: true }, null]) {
      assert.throws(() => new DurableObjectKVStore(stub, options as never), invalid);
      assert.throws(() => createDurableObjectKV(new FakeNamespace(), options as never), invalid);
    }
    assert.throws(() => createDurableObjectKV(new FakeNamespace(), { name: 1 as never }), invalid);
    for (const nothing of [undefined, null, "stub"] as never[]) {
      assert.throws(() => new DurableObjectKVStore(nothing), invalid);
      assert.throws(() => createDurableObjectKV(nothing), { code: "CONFIG" });
    }
  });

  test("the name chooses the object", async () => {
    const namespace = new FakeNamespace();
    await createDurableObjectKV(namespace, { name: "a" }).set("k", "v");
    assert.equal(await createDurableObjectKV(namespace, { name: "b" }).get("k"), null);
    assert.equal(await createDurableObjectKV(namespace, { name: "a" }).get("k"), "v");
  });

  // If each command has a transaction of its own, 10,000 calls at once wait for the disk 10,000 times, for 20 s in workerd.
  test("commands that are called at once share a transaction", async () => {
    const storage = new FakeSqlStorage();
    const kv = createDurableObjectKV(new FakeNamespace(() => storage));
    // The first request after the object wakes also looks for expired keys.
    await kv.ping();
    let transactions = 0;
    const transaction = storage.transaction.bind(storage);
    storage.transaction = (closure) => {
      transactions += 1;
      return transaction(closure);
    };
    const settled = await Promise.allSettled([kv.set("a", "x"), kv.incr("a"), kv.set("b", "y")]);
    assert.deepEqual(
      settled.map(({ status }) => status),
      ["fulfilled", "rejected", "fulfilled"],
    );
    assert.equal(transactions, 1);
    assert.deepEqual(await kv.mget("a", "b"), ["x", "y"]);
  });

  // A subscriber that is told of a value reads the key, and finds none.
  test("what is published with commands that leave nothing is not heard, and heard in its order otherwise", async () => {
    const storage = new FakeSqlStorage();
    const kv = createDurableObjectKV(new FakeNamespace(() => storage));
    const heard: string[] = [];
    await kv.subscribe("c", (message) => void heard.push(message));
    const put = storage.put.bind(storage);
    storage.put = (name, value) => (name === "s\0b" ? Promise.reject(new Error("disk")) : put(name, value));
    const failed = await Promise.allSettled([kv.set("a", "1"), kv.publish("c", "a"), kv.set("b", "1")]);
    assert.ok(failed.every(({ status }) => status === "rejected"));
    const counts = await Promise.all([kv.publish("c", "1"), kv.publish("nobody", "2"), kv.publish("c", "3")]);
    assert.deepEqual(counts, [1, 0, 1]);
    await eventually(() => heard.length > 1);
    assert.deepEqual(heard, ["1", "3"]);
    await kv.disconnect();
  });

  test("disconnect waits for a transaction that itself waits for what was called before", async () => {
    const kv = createDurableObjectKV(new FakeNamespace());
    let isOver = false;
    void kv.set("a", "1");
    const exec = kv.multi().incr("a").exec();
    void exec.then(() => {
      isOver = true;
    });
    await kv.disconnect();
    assert.equal(isOver, true);
  });

  // In a Worker, requests of an incoming request that has ended are never answered. Without this disconnect waits for them for ever.
  test("disconnect waits as long as answers come, and for none that does not", async () => {
    const namespace = new FakeNamespace();
    const get = namespace.get.bind(namespace);
    let asked = 0;
    namespace.get = (id) => {
      asked += 1;
      return asked === 1 ? { fetch: () => new Promise(() => {}) } : get(id);
    };
    const kv = createDurableObjectKV(namespace);
    void kv.get("never");
    await null;
    await null;
    const sets = Array.from({ length: 2_500 }, (_, i) => kv.set(`${i}`, "v"));
    await kv.disconnect();
    assert.equal(asked, 4);
    await Promise.all(sets);
  });

  // A command that fails for lack of room must not leave the key with its value and its deadline.
  test("a key that has no room for its deadline gets neither that nor a value", async () => {
    const storage = new FakeSqlStorage();
    storage.sql.databaseSize = undefined;
    const kv = createDurableObjectKV(new FakeNamespace(() => storage));
    const key = "k".repeat(2_040);
    assert.equal((await errorOf(kv.set(key, "v", { ex: 10 }))).code, "INVALID_ARGUMENT");
    assert.equal(await kv.get(key), null);
    await kv.set(key, "v");
    assert.equal((await errorOf(kv.expire(key, 10))).code, "INVALID_ARGUMENT");
    assert.equal(await kv.ttl(key), -1);
  });

  // If a failed alarm counts as set, later deadlines are not swept before the object sleeps.
  test("an alarm that could not be set is set by the next command", async () => {
    const storage = new FakeSqlStorage();
    const kv = createDurableObjectKV(new FakeNamespace(() => storage));
    await kv.ping();
    const setAlarm = storage.setAlarm;
    storage.setAlarm = () => Promise.reject(new Error("disk"));
    await errorOf(kv.set("a", "1", { ex: 10 }));
    storage.setAlarm = setAlarm;
    await kv.ping();
    assert.ok(storage.alarm !== null && storage.alarm <= Date.now() + 10_000);
  });

  test("a storage that fails in a transaction leaves nothing of it", async () => {
    const storage = new FakeSqlStorage();
    const kv = createDurableObjectKV(new FakeNamespace(() => storage));
    await kv.set("a", "old");
    const put = storage.put.bind(storage);
    storage.put = (name, value) => (name === "s\0b" ? Promise.reject(new Error("disk")) : put(name, value));
    assert.equal((await errorOf(kv.multi().set("a", "new").set("b", "new").exec())).code, "CONNECTION");
    assert.deepEqual(await kv.mget("a", "b"), ["old", null]);
  });
});

// Vitest's fake timers replace Date. Keys of a Durable Object with a time to live must expire when a test advances them.
test("expiry follows a test's fake clock", async () => {
  const kv = createDurableObjectKV(namespace, { name: "clock" });
  const start = Date.now();
  let passed = 0;
  mock.method(Date, "now", () => start + passed);
  try {
    await kv.set("k", "v", { ex: 10 });
    passed = 9_000;
    assert.deepEqual([await kv.get("k"), await kv.ttl("k")], ["v", 1]);
    passed = 11_000;
    assert.deepEqual([await kv.get("k"), await kv.ttl("k"), await kv.keys("*")], [null, -2, []]);
  } finally {
    mock.restoreAll();
  }
});
