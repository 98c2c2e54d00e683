// Calls of one tick that leave one by one cost a round trip each, and calls that change places give wrong results.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, test } from "node:test";
import { RedisKVStore } from "covara-kv";
import { timeoutFactor } from "../backends.js";
import { commandsOf, type FakeServer, startFake } from "../fake-server.js";
import { forward } from "../sockets.js";
import { open, SharedRedis } from "./servers.js";

const answers: Record<string, string> = {
  MGET: "*0\r\n",
  MULTI: "+OK\r\n",
  SET: "+QUEUED\r\n",
  EVAL: ":1\r\n",
  EVALSHA: ":2\r\n",
};
const answer = ([name = ""]: readonly string[]) =>
  name === "EXEC" ? "*2\r\n+OK\r\n+OK\r\n" : (answers[name] ?? "_\r\n");

describe("what is called in one tick", () => {
  const connected = async (fake: FakeServer) => {
    const kv = new RedisKVStore({ port: fake.port });
    await kv.connect();
    return kv;
  };

  test("leaves as one batch", async () => {
    await using fake = await startFake({ answer });
    await using kv = await connected(fake);
    const keys = Array.from({ length: 100 }, (_, n) => `key ${n}`);
    await Promise.all(keys.map((key) => kv.get(key)));
    assert.deepEqual(fake.chunks, [keys.map((key) => ["GET", key])]);
  });

  test("leaves as one batch from several callers, and after a Promise too", async () => {
    await using fake = await startFake({ answer });
    await using kv = await connected(fake);
    const caller = async (key: string) => {
      await undefined;
      return kv.get(key);
    };
    await Promise.all([kv.get("a"), caller("b"), caller("c"), kv.get("d")]);
    assert.deepEqual(
      fake.chunks.map((chunk) => chunk.length),
      [4],
    );
  });

  test("leaves in the order of the calls, MULTI and EVAL in their place", async () => {
    await using fake = await startFake({ answer });
    await using kv = await connected(fake);
    await Promise.all([
      kv.get("1"),
      kv.multi().set("2", "v").set("3", "v").exec(),
      kv.eval("return 4", ["4"], []),
      kv.eval("return 4", ["5"], []),
      kv.mget("6", "7"),
      kv.get("8"),
    ]);
    const [chunk = [], ...others] = fake.chunks;
    assert.deepEqual(others, []);
    assert.deepEqual(
      chunk.map(([name, ...args]) => [name, args.at(-1)]),
      [
        ["GET", "1"],
        ["MULTI", undefined],
        ["SET", "v"],
        ["SET", "v"],
        ["EXEC", undefined],
        ["EVAL", "4"],
        ["EVAL", "5"],
        ["MGET", "7"],
        ["GET", "8"],
      ],
    );
  });

  test("leaves as one batch before there is a connection too", async () => {
    await using fake = await startFake({ answer });
    await using kv = new RedisKVStore({ port: fake.port });
    await Promise.all([kv.get("a"), kv.get("b"), kv.get("c")]);
    assert.deepEqual(fake.chunks, [
      [
        ["GET", "a"],
        ["GET", "b"],
        ["GET", "c"],
      ],
    ]);
  });

  test("of a transaction arrives in one piece", async () => {
    await using fake = await startFake({ answer });
    await using kv = await connected(fake);
    assert.deepEqual(await kv.multi().set("a", "1").set("b", "2").exec(), ["OK", "OK"]);
    assert.deepEqual(fake.chunks, [[["MULTI"], ["SET", "a", "1"], ["SET", "b", "2"], ["EXEC"]]]);
  });

  test("is sent without what INVALID_ARGUMENT refuses", async () => {
    await using fake = await startFake({ answer });
    await using kv = await connected(fake);
    const bad = kv.get("\ud800");
    const replies = Promise.all([kv.get("a"), kv.get("b")]);
    await assert.rejects(bad, { code: "INVALID_ARGUMENT" });
    assert.deepEqual(await replies, [null, null]);
    assert.deepEqual(fake.chunks, [
      [
        ["GET", "a"],
        ["GET", "b"],
      ],
    ]);
  });
});

describe("a script", () => {
  test("is sent once, and named by its digest from then on", async () => {
    await using fake = await startFake({ answer });
    await using kv = new RedisKVStore({ port: fake.port });
    const script = "return redis.call('get', KEYS[1])";
    assert.equal(await kv.eval(script, ["a"], ["1"]), 1);
    assert.equal(await kv.eval(script, ["b"], ["2"]), 2);
    assert.equal(await kv.eval(`${script} `, ["b"], ["2"]), 1);
    const digest = createHash("sha1").update(script).digest("hex");
    assert.deepEqual(fake.chunks, [
      [["EVAL", script, "1", "a", "1"]],
      [["EVALSHA", digest, "1", "b", "2"]],
      [["EVAL", `${script} `, "1", "b", "2"]],
    ]);
  });

  test("that the server has forgotten is sent again", async () => {
    const kv = await open(server.address);
    const call = () => kv.eval("return ARGV[1]", [], ["v"]);
    assert.equal(await call(), "v");
    await server.admin.script("FLUSH");
    assert.deepEqual(await Promise.all([call(), call(), call()]), ["v", "v", "v"]);
    assert.equal(await call(), "v");
    await kv.disconnect();
  });
});

const server = new SharedRedis();

describe("in one tick", () => {
  const count = 100_000;
  const numbers = Array.from({ length: count }, (_, n) => n + 1);

  test("100,000 commands are answered in order", { timeout: 60_000 * timeoutFactor }, async () => {
    await using kv = await open({ ...server.address, commandTimeout: 60_000 });
    assert.deepEqual(await Promise.all(numbers.map(() => kv.incr("n"))), numbers);
  });

  test("100,000 commands wait for a connection, and maxQueue refuses the next", {
    timeout: 60_000 * timeoutFactor,
  }, async () => {
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    await using peer = await forward(() => released.then(() => server.address));
    await using kv = new RedisKVStore({ port: peer.port, commandTimeout: 60_000, connectTimeout: 60_000 });
    const replies = numbers.map(() => kv.incr("waiting"));
    await assert.rejects(kv.incr("waiting"), { code: "QUEUE_FULL", message: /maxQueue/ });
    release();
    assert.deepEqual(await Promise.all(replies), numbers);
  });

  test("commands, transactions and scripts are run in the order of their calls", async () => {
    await using kv = await open(server.address);
    const script = "return redis.call('rpush', KEYS[1], ARGV[1])";
    const calls = Array.from({ length: 3_000 }, (_, n) => {
      if (n % 3 === 0) return kv.rpush("order", `${n}`);
      if (n % 3 === 1)
        return kv
          .multi()
          .rpush("order", `${n}`)
          .exec()
          .then(([length]) => length);
      return kv.eval(script, ["order"], [`${n}`]);
    });
    assert.deepEqual(await Promise.all(calls), numbers.slice(0, 3_000));
    assert.deepEqual(
      await kv.lrange("order", 0, -1),
      numbers.slice(0, 3_000).map((n) => `${n - 1}`),
    );
  });

  test("lists of 100,000 members go in one command", { timeout: 60_000 * timeoutFactor }, async () => {
    await using kv = await open({ ...server.address, commandTimeout: 60_000 });
    const members = numbers.map(String);
    const replies = [
      kv.rpush("list", ...members),
      kv.sadd("set", ...members),
      kv.mget(...members),
      kv.del("list of none", ...members),
      kv.eval("return #ARGV", [], members.slice(0, 5_000)),
      kv
        .multi()
        .rpush("list", ...members)
        .exec(),
    ];
    const [pushed, added, values, deleted, counted, again] = await Promise.all(replies);
    assert.deepEqual([pushed, added, deleted, counted, again], [count, count, 0, 5_000, [2 * count]]);
    assert.deepEqual(values, new Array(count).fill(null));
    assert.deepEqual((await kv.lrange("list", 0, -1)).slice(count - 2, count + 2), [
      "99999",
      "100000",
      "1",
      "2",
    ]);
  });

  test("values of many sizes come back as they were", async () => {
    await using kv = await open(server.address);
    const sizes = [0, 1, 63, 4_095, 4_096, 4_097, 32_767, 65_535, 65_536, 65_537, 1_000_000, 5_000_000];
    const values = sizes.map((size) => "é\0\r\n$-1".repeat(Math.ceil(size / 8)).slice(0, size));
    const writes = values.map((value, index) => kv.set(`size ${index}`, value));
    const reads = values.map((_, index) => kv.get(`size ${index}`));
    await Promise.all(writes);
    for (const [index, value] of (await Promise.all(reads)).entries())
      assert.ok(value === values[index], `${sizes[index]}`);
  });
});

test("commandsOf reads what a client sends", () => {
  const whole = "*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
  const commands = [["PING"], ["GET", "k"]];
  assert.deepEqual(commandsOf(Buffer.from(`${whole}*2\r\n$3\r\nGET\r\n$1\r\n`)), {
    commands,
    length: whole.length,
  });
});
