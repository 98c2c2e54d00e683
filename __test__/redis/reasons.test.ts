// If several causes share a code, a caller that wants to retry has to read texts. Each failure has a reason, and a hint of what to do.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  clearGlobalKV,
  createMemoryKV,
  getGlobalKV,
  KVError,
  type KVErrorReason,
  type RedisConfig,
  RedisKVStore,
} from "covara-kv";
import { type Answer, answerHandshake, bulk, type FakeOptions, startFake } from "../fake-server.js";
import { closedPort, HOST } from "../sockets.js";

async function failure(work: () => unknown): Promise<KVError> {
  try {
    await work();
  } catch (error) {
    assert.ok(error instanceof KVError, String(error));
    return error;
  }
  throw new Error("it did not fail");
}

/** Resolves to the error of a new store, or of a command on it. The store is disconnected at the end. */
async function failing(
  config: RedisConfig,
  work: (kv: RedisKVStore) => Promise<unknown> = (kv) => kv.connect(),
): Promise<KVError> {
  return await failure(async () => {
    const kv = new RedisKVStore({ maxRetries: 1, ...config });
    try {
      await work(kv);
    } finally {
      await kv.disconnect();
    }
  });
}

/** Runs `use` with the address of a fake server that has these options. */
async function withFake<T>(options: FakeOptions, use: (address: RedisConfig) => Promise<T>): Promise<T> {
  const { host, port, stop } = await startFake(options);
  try {
    return await use({ host, port });
  } finally {
    await stop();
  }
}

const set = (kv: RedisKVStore) => kv.set("key", "value");

interface Case {
  code: string;
  reason: KVErrorReason;
  fail(): Promise<KVError>;
}

/** On Windows this package has no unix sockets. */
const noSocket: Pick<Case, "code" | "reason"> =
  process.platform === "win32"
    ? { code: "UNSUPPORTED", reason: "unix-socket" }
    : { code: "CONNECTION", reason: "refused" };

const cases: Record<string, Case> = {
  "a closed port": {
    ...{ code: "CONNECTION", reason: "refused" },
    fail: async () => failing({ host: HOST, port: await closedPort() }),
  },
  "a socket that is not there": {
    ...noSocket,
    fail: () => failing({ path: "/nowhere/redis.sock" }),
  },
  "the URL of a socket that is not there": {
    ...noSocket,
    fail: () => failing({ url: "unix:///nowhere/redis.sock" }),
  },
  "a name without an address": {
    ...{ code: "CONNECTION", reason: "unknown-host" },
    fail: () => failing({ host: "nowhere.invalid" }),
  },
  "a server that says nothing": {
    ...{ code: "CONNECTION", reason: "no-answer" },
    fail: () =>
      withFake({ handshake: () => undefined }, (address) => failing({ ...address, connectTimeout: 100 })),
  },
  "a server that hangs up": {
    ...{ code: "CONNECTION", reason: "closed-at-once" },
    fail: () => withFake({ accepted: ({ socket }) => socket.destroy() }, failing),
  },
  "a server that says nothing of TLS": {
    ...{ code: "CONNECTION", reason: "tls" },
    fail: () => withFake({}, (address) => failing({ ...address, tls: true, connectTimeout: 100 })),
  },
  "a web server": {
    ...{ code: "CONNECTION", reason: "not-redis" },
    fail: () => withFake({ accepted: ({ send }) => send("HTTP/1.1 400\r\n\r\n") }, failing),
  },
  "a server that loads": {
    ...{ code: "CONNECTION", reason: "not-ready" },
    fail: () => {
      const handshake: Answer = (command, peer) =>
        command[0] === "PING"
          ? "-LOADING Redis is loading the dataset in memory\r\n"
          : answerHandshake(command, peer);
      return withFake({ handshake }, failing);
    },
  },
  "a write whose reply is late": {
    ...{ code: "TIMEOUT", reason: "command-timeout" },
    fail: () => withFake({}, (address) => failing({ ...address, commandTimeout: 100 }, set)),
  },
  "a write that waits for a connection": {
    ...{ code: "TIMEOUT", reason: "queue-timeout" },
    fail: async () => {
      const config = { host: HOST, port: await closedPort(), queueTimeout: 50 };
      const kv = new RedisKVStore(config);
      try {
        return await failure(() => set(kv));
      } finally {
        await kv.disconnect();
      }
    },
  },
  "a reply that the command does not have": {
    ...{ code: "CONNECTION", reason: "protocol" },
    fail: () =>
      withFake({ answer: () => ":1\r\n" }, (address) => failing(address, (kv) => kv.hgetall("key"))),
  },
  "a reply that is too large": {
    ...{ code: "CONNECTION", reason: "reply-too-large" },
    fail: () =>
      withFake({ answer: () => bulk("x".repeat(1_000_000)) }, (address) =>
        failing({ ...address, maxReplySize: 1_000 }, (kv) => kv.get("key")),
      ),
  },
  "a call after disconnect": {
    ...{ code: "CLOSED", reason: "disconnected" },
    fail: () =>
      withFake({}, (address) =>
        failing(address, async (kv) => {
          await kv.connect();
          await kv.disconnect();
          await set(kv);
        }),
      ),
  },
  "a URL that is none": {
    ...{ code: "CONFIG", reason: "address" },
    fail: () => failure(() => new RedisKVStore({ url: "here" })),
  },
  "a certificate that is none": {
    ...{ code: "CONFIG", reason: "certificate" },
    fail: () => failure(() => new RedisKVStore({ host: HOST, tls: { ca: "/etc/ca.pem" } })),
  },
  "no store of the process": {
    ...{ code: "CONFIG", reason: "no-store" },
    fail: () => {
      clearGlobalKV();
      return failure(() => getGlobalKV());
    },
  },
  "a function that says nothing of a node": {
    ...{ code: "CONNECTION", reason: "function" },
    fail: () => failing({ port: 1, tls: { servername: () => "" } }),
  },
  "Sentinels that are none": {
    ...{ code: "CONNECTION", reason: "no-sentinel" },
    fail: async () => failing({ sentinel: { name: "m", nodes: [{ host: HOST, port: await closedPort() }] } }),
  },
  "a master that no Sentinel knows": {
    ...{ code: "CONNECTION", reason: "unknown-master" },
    fail: () => {
      const handshake: Answer = (command, peer) =>
        command[0] === "HELLO" ? `%1\r\n${bulk("mode")}${bulk("sentinel")}` : answerHandshake(command, peer);
      const answer: Answer = ([name]) => (name === "SENTINEL" ? "*-1\r\n" : "-NOPERM\r\n");
      return withFake({ handshake, answer }, ({ host = HOST, port = 0 }) =>
        failing({ sentinel: { name: "m", nodes: [{ host, port }] } }),
      );
    },
  },
};

describe("the reason", () => {
  for (const [name, { code, reason, fail }] of Object.entries(cases)) {
    test(`of ${name} is ${reason}`, async () => {
      const error = await fail();
      assert.deepEqual([error.code, error.reason], [code, reason], error.message);
      assert.ok(error.hint, "a hint");
      assert.ok(!error.message.includes(error.hint), "not in the message");
      assert.doesNotMatch(error.message, /\.\./, "no doubled full stop");
    });
  }

  test("of a write whose connection is lost is lost, and the event tells that it ended", async () => {
    const answer: Answer = (_, { socket }) => {
      socket.destroy();
      return undefined;
    };
    await withFake({ answer }, async (address) => {
      const kv = new RedisKVStore(address);
      try {
        await kv.connect();
        const told = new Promise<KVError>((resolve) =>
          kv.once("reconnecting", ({ cause }) => resolve(cause as KVError)),
        );
        const error = await failure(() => set(kv));
        assert.deepEqual([error.code, error.reason], ["CONNECTION", "lost"]);
        assert.deepEqual([(await told).code, (await told).reason], ["CONNECTION", "ended"]);
      } finally {
        await kv.disconnect();
      }
    });
  });

  test("stays with an error that a transaction rejects with", async () => {
    const error = await withFake({}, (address) =>
      failing({ ...address, commandTimeout: 100 }, (kv) => kv.multi().set("a", "b").exec()),
    );
    assert.deepEqual([error.code, error.reason], ["TIMEOUT", "command-timeout"]);
  });

  test("is absent where a code has one cause, and a code of Redis has its hint", async () => {
    const kv = createMemoryKV("", { strict: true });
    await kv.set("key", "value");
    const error = await failure(() => kv.lpush("key", "value"));
    assert.deepEqual([error.code, "reason" in error], ["WRONGTYPE", false]);
    assert.match(error.hint ?? "", /another type/);
    assert.equal(
      "hint" in (await failure(() => kv.incr("key"))),
      false,
      "no hint where the message is enough",
    );
  });
});
