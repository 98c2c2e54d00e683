// Tokens of cloud providers are valid for minutes. With a password that is given only once, no later connection can be opened.
import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { KVError, type RedisConfig, RedisKVStore } from "covara-kv";
import { eventually } from "../backends.js";
import { listen } from "../sockets.js";
import { run } from "./processes.js";
import { open, refusalOf, SECRET, SharedRedis, withoutSecret } from "./servers.js";

const server = new SharedRedis();

/** Gives the user this password in place of all others, and ends its connections. */
async function rotate(user: string, password: string): Promise<void> {
  await server.admin.call("ACL", "SETUSER", user, "on", "resetpass", `>${password}`, "~*", "&*", "+@all");
  await server.admin.call("CLIENT", "KILL", "USER", user);
}

type Source = () => string | Promise<string>;

describe("a password that is a function", () => {
  for (const [how, of] of Object.entries<(source: () => string) => Source>({
    "gives it": (source) => source,
    "gives a Promise of it": (source) => async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      return source();
    },
  })) {
    test(`${how} for each connection, and each time that one is opened again`, async () => {
      const user = `rotating-${how.length}`;
      let token = `${SECRET}-1`;
      const asked: string[] = [];
      await rotate(user, token);
      const password = of(() => {
        asked.push(token);
        return token;
      });
      await using kv = await open({ ...server.address, username: user, password, retryDelay: 5 });
      assert.equal(asked.length, 1);
      const heard: string[] = [];
      await kv.subscribe(user, (message) => void heard.push(message));
      assert.equal(asked.length, 2);
      for (let round = 2; round <= 4; round++) {
        const before: number = asked.length;
        token = `${SECRET}-${round}`;
        await rotate(user, token);
        assert.equal(await kv.get(user), null);
        await eventually(() => asked.length >= before + 2);
        await eventually(async () => (await server.admin.publish(user, `${round}`)) === 1);
        await eventually(() => heard.includes(`${round}`));
        assert.deepEqual([...new Set(asked.slice(before))], [token]);
      }
      assert.equal((await server.clients()).filter((client) => client.user === user).length, 2);
    });
  }

  test("is asked beside a user's name that is a function", async () => {
    let user = "first-user";
    await rotate("first-user", `${SECRET}-first-user`);
    await rotate("second-user", `${SECRET}-second-user`);
    const redis = {
      ...server.address,
      username: () => user,
      password: async () => `${SECRET}-${user}`,
      retryDelay: 5,
    };
    await using kv = await open(redis);
    assert.equal(await kv.ping(), "PONG");
    assert.deepEqual(
      (await server.clients()).map((client) => client.user),
      ["first-user"],
    );
    user = "second-user";
    await server.admin.call("CLIENT", "KILL", "USER", "first-user");
    await eventually(async () => (await server.clients()).some((client) => client.user === "second-user"));
  });

  test("wins over the url's", async () => {
    await rotate("by-url", SECRET);
    const url = `redis://by-url:wrong@${server.endpoint}`;
    await using kv = await open({ url, password: () => SECRET });
    assert.equal(await kv.ping(), "PONG");
  });

  // The server may get a new password a moment before or after the provider hands it out.
  test("that is refused is asked again, and what was called waits", async () => {
    await rotate("late", `${SECRET}-old`);
    let token = `${SECRET}-old`;
    await using kv = await open({
      ...server.address,
      username: "late",
      password: () => token,
      retryDelay: 5,
    });
    const causes: KVError[] = [];
    kv.on("reconnecting", ({ cause }) => void causes.push(cause as KVError));
    await rotate("late", `${SECRET}-new`);
    const value = kv.get("k");
    await eventually(() => causes.some(({ code }) => code === "WRONGPASS"));
    token = `${SECRET}-new`;
    assert.equal(await value, null);
    for (const cause of causes) withoutSecret(cause);
  });
});

const never = () => new Promise<string>(() => {});
const failures: Record<string, [source: () => unknown, message: RegExp]> = {
  throws: [
    () => {
      throw new Error("no token today");
    },
    /redis\.password\(\) failed: no token today$/,
  ],
  "throws what is no Error": [
    () => {
      throw SECRET;
    },
    /redis\.password\(\) failed: string$/,
  ],
  rejects: [
    () => Promise.reject(new Error("the vault is closed")),
    /redis\.password\(\) failed: the vault is closed$/,
  ],
  "never settles": [never, /redis\.password\(\) gave nothing within 50 ms \(connectTimeout\)$/],
  "gives a number": [() => 42, /redis\.password\(\) must give a string, got number$/],
  "gives a Promise of nothing": [
    async () => undefined,
    /redis\.password\(\) must give a string, got undefined$/,
  ],
  "gives null": [() => null, /must give a string, got null$/],
  "gives a Buffer": [() => Buffer.from(SECRET), /must give a string, got object$/],
  "gives an empty string": [() => "", /redis\.password\(\) gave an empty string$/],
  "gives half a character": [() => "a\ud800", /must give a string/],
};

describe("a function that fails is as a server that refuses: told, and tried again", () => {
  for (const [what, [source, message]] of Object.entries(failures)) {
    test(`it ${what}`, async () => {
      await using peer = await listen((socket) => socket.destroy());
      const password = source as Source;
      const redis: RedisConfig = { port: peer.port, password, connectTimeout: 50, retryDelay: 5 };
      const error = await refusalOf(redis);
      assert.equal(error.code, "CONNECTION");
      assert.match(error.message, /^No connection to 127\.0\.0\.1:\d+ after 3 attempts: /);
      assert.match(error.message, message);
      assert.ok(error.cause instanceof KVError);
      assert.match(error.cause.message, message);
      assert.equal(peer.connections, 0);
    });
  }

  for (const what of ["throws", "rejects", "never settles", "gives a number"]) {
    test(`until it gives one: it ${what}`, async () => {
      const [source] = failures[what] as (typeof failures)[string];
      let fails = true;
      const password = (() => (fails ? source() : SECRET)) as Source;
      const user = `recovering-${what.replaceAll(" ", "-")}`;
      await rotate(user, SECRET);
      const redis = { ...server.address, username: user, password, connectTimeout: 100, retryDelay: 5 };
      const kv = new RedisKVStore(redis);
      const told: KVError[] = [];
      kv.on("reconnecting", ({ cause }) => void told.push(cause as KVError));
      const [value, subscribed] = [kv.get("k"), kv.subscribe("c", () => {})];
      await eventually(() => told.length >= 2);
      fails = false;
      assert.equal(await value, null);
      await subscribed;
      for (const error of told) assert.equal(withoutSecret(error).code, "CONNECTION");
      await kv.disconnect();
    });
  }
});

test("a user's name that is a function is CONFIG without a password", async () => {
  const error = await refusalOf({ ...server.address, username: () => "alice" });
  assert.equal(error.code, "CONFIG");
});

test("an answer that comes too late is not used", async () => {
  const answers: ((token: string) => void)[] = [];
  await rotate("slow", SECRET);
  const password = () => new Promise<string>((resolve) => void answers.push(resolve));
  const redis = { ...server.address, username: "slow", password, connectTimeout: 50, retryDelay: 5 };
  const kv = new RedisKVStore(redis);
  const value = kv.get("k");
  await eventually(() => answers.length >= 2);
  answers[0]?.("wrong");
  for (let next = 1; !kv.isConnected(); next++) {
    await eventually(() => answers.length > next || kv.isConnected());
    answers[next]?.(SECRET);
    await eventually(() => answers.length > next + 1 || kv.isConnected());
  }
  assert.equal(await value, null);
  await kv.disconnect();
});

test("functions of two stores are not taken for each other, though all else is equal", async () => {
  await rotate("shared", SECRET);
  const asked = [0, 0];
  const stores = await Promise.all(
    asked.map((_, index) => {
      const password = () => {
        asked[index] = (asked[index] ?? 0) + 1;
        return SECRET;
      };
      return open({ ...server.address, username: "shared", password });
    }),
  );
  await Promise.all(stores.map((kv) => kv.subscribe("c", () => {})));
  assert.deepEqual(asked, [2, 2]);
  await Promise.all(stores.map((kv) => kv.disconnect()));
});

test("a function that is asked keeps no process alive, and neither does one that never answers", async () => {
  await rotate("process", SECRET);
  const program = `
    const kv = new RedisKVStore({ ...redis, username: "process", password: () => ${JSON.stringify(SECRET)} });
    console.log(await kv.ping());
    await kv.subscribe("c", () => {});
    await kv.unsubscribe("c");
    const other = new RedisKVStore({ ...redis, username: "process", password: () => new Promise(() => {}), connectTimeout: 60_000, queueTimeout: 300 });
    console.log(await other.get("k").catch(({ code }) => code));`;
  const outcome = await run(server.address, program);
  assert.deepEqual(outcome, { code: 0, stdout: "PONG\nTIMEOUT\n", stderr: "" });
});

test("a store without a reference is collected, although its function refers to it", async () => {
  await rotate("collected", SECRET);
  const program = `
    const held = { token: ${JSON.stringify(SECRET)} };
    const collected = new Promise((resolve) => { globalThis.registry = new FinalizationRegistry(resolve); });
    await (async () => {
      const kv = new RedisKVStore({ ...redis, username: "collected", password: () => kv && held.token });
      await kv.ping();
      registry.register(kv);
    })();
    const timer = setInterval(() => gc(), 10);
    await collected;
    clearInterval(timer);
    console.log("collected");`;
  const outcome = await run(server.address, program, { flags: ["--expose-gc"] });
  assert.deepEqual(outcome, { code: 0, stdout: "collected\n", stderr: "" });
});

test("a worker thread that ends while its function is asked, or was, ends", async () => {
  await rotate("thread", SECRET);
  const program = `
    const { parentPort, workerData } = require("node:worker_threads");
    const { RedisKVStore } = require(workerData.main);
    const store = (password, more) =>
      new RedisKVStore({ ...workerData.address, username: "thread", password, retryDelay: 1, ...more });
    const kv = store(async () => workerData.secret);
    const silent = store(() => new Promise(() => {}), { connectTimeout: 60_000 });
    silent.get("k").catch(() => {});
    kv.subscribe("c", () => {}).then(() => parentPort.postMessage("ready"));
    setInterval(() => kv.ping().catch(() => {}), 1);`;
  for (let round = 0; round < 10; round++) {
    const worker = new Worker(program, {
      eval: true,
      execArgv: [],
      workerData: { address: server.address, secret: SECRET, main: require.resolve("covara-kv") },
    });
    await once(worker, "message");
    const killed = server.admin.call("CLIENT", "KILL", "USER", "thread");
    await worker.terminate();
    await killed;
  }
  await eventually(async () => (await server.clients()).every((client) => client.user !== "thread"));
});

test("an event loop that is busy is asked when it turns", async () => {
  await rotate("busy", SECRET);
  let asked = 0;
  const password = () => {
    asked += 1;
    return SECRET;
  };
  await using kv = await open({ ...server.address, username: "busy", password, retryDelay: 1 });
  await server.admin.call("CLIENT", "KILL", "USER", "busy");
  const until = performance.now() + 200;
  while (performance.now() < until);
  assert.equal(asked, 1);
  assert.equal(await kv.ping(), "PONG");
  assert.equal(asked, 2);
});
