// A refusal that is tried again, or told without the server's own words, hides the cause. It may also show a password.
import assert from "node:assert/strict";
import { lookup } from "node:dns/promises";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { type RedisConfig, RedisKVStore } from "covara-kv";
import type { Redis } from "ioredis";
import { eventually } from "../backends.js";
import { answerHandshake, startFake } from "../fake-server.js";
import { ONE_ATTEMPT } from "../faults/faults.js";
import { errorOf } from "../replies.js";
import { closedPort, forward, HOST, listen } from "../sockets.js";
import { run } from "./processes.js";
import { refusalOf, SECRET, SharedRedis, withoutSecret } from "./servers.js";

const withPassword = (admin: Redis) => admin.config("SET", "requirepass", SECRET);
const protectedServer = new SharedRedis(undefined, withPassword);
const oldProtectedServer = new SharedRedis(() => ({ "rename-command": 'HELLO ""' }), withPassword);

const wrong = `${SECRET}, but wrong`;
const wrongPassword = ["WRONGPASS", /^WRONGPASS invalid username-password pair/] as const;
const noPassword = ["NOAUTH", /^NOAUTH /] as const;
/** What a server that requires a password refuses. */
const refused: [what: string, (port: number) => RedisConfig, readonly [code: string, message: RegExp]][] = [
  ["a wrong password", (port) => ({ port, password: wrong }), wrongPassword],
  [
    "a wrong password in a url",
    (port) => ({ url: `redis://:${encodeURIComponent(wrong)}@${HOST}:${port}` }),
    wrongPassword,
  ],
  ["no password", (port) => ({ port }), noPassword],
  ["no password, but a database", (port) => ({ port, db: 1 }), noPassword],
  ["a user without a password", (port) => ({ port, username: "default" }), noPassword],
  ["an unknown user", (port) => ({ port, username: "nobody", password: SECRET }), wrongPassword],
  [
    "an unknown database",
    (port) => ({ port, password: SECRET, db: 99 }),
    ["ERR", /^ERR DB index is out of range$/],
  ],
];

for (const [protocol, server] of [
  ["RESP 3", protectedServer],
  ["RESP 2", oldProtectedServer],
] as const) {
  describe(`createKV rejects at the first attempt, with the server's own error, over ${protocol}`, () => {
    for (const [what, redis, [code, message]] of refused) {
      test(what, async () => {
        await using peer = await forward(server.address);
        const error = await refusalOf({ ...redis(peer.port), ...ONE_ATTEMPT });
        assert.equal(error.code, code, error.message);
        assert.match(error.message, message);
        assert.equal(peer.connections, 1);
      });
    }
  });
}

const unknownCommand = ([name, ...args]: readonly string[]) =>
  `-ERR unknown command '${name}', with args beginning with: ${args.map((arg) => `'${arg}' `).join("")}\r\n`;

// Redis repeats the arguments of an unknown command in its error, also the password of AUTH.
test("a server that knows neither HELLO nor AUTH is refused without showing the password", async () => {
  await using fake = await startFake({
    handshake: (command, peer) =>
      ["HELLO", "AUTH"].includes(command[0] ?? "") ? unknownCommand(command) : answerHandshake(command, peer),
  });
  const error = await refusalOf({ port: fake.port, username: "user", password: SECRET, maxRetries: 1 });
  assert.match(error.message, /AUTH/);
});

test("commands of a store that was not connected fail as createKV does", async () => {
  const wrong = new RedisKVStore({ ...protectedServer.address, password: `${SECRET}!`, retryDelay: 0 });
  const errors = await Promise.all([
    errorOf(wrong.get("k")),
    errorOf(wrong.multi().set("k", "v").exec()),
    errorOf(wrong.subscribe("c", () => {})),
  ]);
  assert.deepEqual(
    errors.map((error) => withoutSecret(error).code),
    ["WRONGPASS", "WRONGPASS", "WRONGPASS"],
  );
  await wrong.disconnect();
});

describe("createKV rejects with CONNECTION, and says what it tried", () => {
  test("a port that is closed", async () => {
    const port = await closedPort();
    const error = await refusalOf({ port, password: SECRET, retryDelay: 0 });
    assert.equal(error.code, "CONNECTION");
    assert.match(error.message, new RegExp(`^No connection to 127\\.0\\.0\\.1:${port} after 3 attempts: `));
    assert.match(error.message, /refused/i);
  });

  test("every address of a host", async () => {
    const port = await closedPort();
    const error = await refusalOf({ host: "localhost", port, password: SECRET, retryDelay: 0 });
    assert.equal(error.code, "CONNECTION");
    assert.ok(error.message.startsWith(`No connection to localhost:${port} `), error.message);
    for (const { address, family } of await lookup("localhost", { all: true })) {
      assert.ok(
        error.message.includes(family === 6 ? `[${address}]:${port}` : `${address}:${port}`),
        error.message,
      );
    }
  });

  test("a host that has no address", async () => {
    const error = await refusalOf({ host: "nonexistent.invalid", password: SECRET, retryDelay: 0 });
    assert.equal(error.code, "CONNECTION");
    assert.match(error.message, /nonexistent\.invalid:6379 after 3 attempts: .*no address/);
  });

  test("a socket that is not there", async () => {
    const error = await refusalOf({ path: "/nonexistent/redis.sock", password: SECRET, retryDelay: 0 });
    assert.equal(error.code, "CONNECTION");
    assert.match(error.message, /\/nonexistent\/redis\.sock.*No such file/);
  });

  test("an HTTP server, at the first attempt", async () => {
    const server = createServer((_, response) => response.end("hello")).listen(0, HOST);
    await once(server, "listening");
    let connections = 0;
    server.on("connection", () => connections++);
    const { port } = server.address() as AddressInfo;
    const error = await refusalOf({ port, password: SECRET, ...ONE_ATTEMPT });
    assert.equal(error.code, "CONNECTION");
    assert.match(error.message, /is no Redis server: it sent "HTTP\/1\.1 400 Bad Request/);
    assert.equal(connections, 1);
    server.closeAllConnections();
    server.close();
  });

  test("a server that answers the handshake with nonsense", async () => {
    await using peer = await listen((socket) => void socket.write("220 mail.example.org ESMTP\r\n"));
    const error = await refusalOf({ port: peer.port, password: SECRET });
    assert.equal(error.code, "CONNECTION");
    assert.match(error.message, /is no Redis server: it sent "220 mail/);
  });

  test("a server that says nothing, after connectTimeout for each attempt", async () => {
    await using peer = await listen((socket) => socket.resume());
    const redis = { port: peer.port, connectTimeout: 100, retryDelay: 0, password: SECRET };
    const error = await refusalOf(redis);
    assert.equal(error.code, "CONNECTION");
    assert.match(error.message, /after 3 attempts: 127\.0\.0\.1:\d+ did not answer within 100 ms$/);
    assert.ok(peer.connections >= 3, `${peer.connections}`);
  });

  test("a server that sends part of a reply and no more", async () => {
    await using peer = await listen((socket) => void socket.write("%7\r\n$6\r\nserver\r\n"));
    const error = await refusalOf({ port: peer.port, connectTimeout: 100, retryDelay: 0, password: SECRET });
    assert.equal(error.code, "CONNECTION");
    assert.match(error.message, /did not answer within 100 ms$/);
  });
});

describe("maxRetries", () => {
  for (const maxRetries of [1, 2, 7]) {
    test(`of ${maxRetries} is how many attempts createKV makes`, async () => {
      await using peer = await listen((socket) => socket.destroy());
      // With RESP 2 as a fallback, an attempt may be two connections.
      const error = await refusalOf({ port: peer.port, maxRetries, retryDelay: 100, protocol: 3 });
      assert.equal(error.code, "CONNECTION");
      assert.match(error.message, new RegExp(`after ${maxRetries} attempts?: `));
      // More may have begun before JavaScript is told.
      assert.ok(peer.connections >= maxRetries, `${peer.connections}`);
    });
  }

  test("of 0 makes one attempt", async () => {
    await using peer = await listen((socket) => socket.destroy());
    const error = await refusalOf({ port: peer.port, maxRetries: 0, retryDelay: 1_000_000, protocol: 3 });
    assert.match(error.message, /after 1 attempt: /);
    assert.equal(peer.connections, 1);
  });

  test("is how many failed attempts a command outlives", async () => {
    await using peer = await listen((socket) => socket.destroy());
    const kv = new RedisKVStore({ port: peer.port, maxRetries: 2, retryDelay: 0 });
    const error = await errorOf(kv.get("k"));
    assert.equal(error.code, "CONNECTION");
    assert.match(error.message, /after 3 attempts: /);
    await kv.disconnect();
  });
});

describe("after createKV has failed", () => {
  test("nothing keeps the process alive", async () => {
    await using silent = await listen((socket) => socket.resume());
    const failing = [
      { port: await closedPort() },
      { port: silent.port, connectTimeout: 50 },
      { host: "nonexistent.invalid" },
      { ...protectedServer.address, password: "wrong" },
    ];
    const outcome = await run(
      {},
      `for (const redis of ${JSON.stringify(failing)}) {
         await createKV({ type: "redis", redis }).catch(({ code }) => console.log(code));
       }`,
    );
    assert.deepEqual(outcome, {
      code: 0,
      stdout: "CONNECTION\nCONNECTION\nCONNECTION\nWRONGPASS\n",
      stderr: "",
    });
  });

  test("no more connections are made, and none is left", async () => {
    let left = 0;
    await using peer = await listen((socket) => {
      left += 1;
      socket.resume().on("close", () => left--);
      socket.write("-ERR go away\r\n");
    });
    await refusalOf({ port: peer.port, maxRetries: 2, retryDelay: 20 });
    await eventually(() => left === 0);
    const { connections } = peer;
    await wait(200); // Ten times the delay: that nothing comes shows only in a time.
    // The last one may still have been on its way.
    assert.ok(peer.connections <= connections + 1, `${peer.connections} connections after ${connections}`);
    await eventually(() => left === 0);
  });
});
