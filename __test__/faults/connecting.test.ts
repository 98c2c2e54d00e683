// A server that accepts and does not answer, or answers with another protocol, may block a store for ever or be taken for Redis.
import assert from "node:assert/strict";
import { createKV } from "covara-kv";
import { eventually } from "../backends.js";
import { answerHandshake, bulk, type FakeServer, OK } from "../fake-server.js";
import { errorOf, expectRefusal, refusal } from "../replies.js";
import { emissions, ONE_ATTEMPT, SLACK, test, timeOf } from "./faults.js";

const CONNECT = { connectTimeout: 5_000, maxRetries: 2, retryDelay: 20 };

/** Fails unless createKV rejects with CONNECTION, names the server and the cause, and leaves no connection open. */
async function expectNoStore(
  server: FakeServer,
  why: RegExp,
  more: Partial<typeof CONNECT> = {},
): Promise<void> {
  const { host, port } = server;
  const config = { ...CONNECT, ...more };
  const creating = createKV({ type: "redis", redis: { host, port, ...config } });
  const [time, { code, message }] = await Promise.all([timeOf(creating), errorOf(creating)]);
  assert.equal(code, "CONNECTION", message);
  assert.ok(message.includes(`${host}:${port}`), message);
  assert.match(message, why);
  assert.ok(time <= config.maxRetries * config.connectTimeout + SLACK, `${time} ms`);
  await eventually(() => server.peers.every(({ socket }) => socket.destroyed || socket.readableEnded));
}

test("a server that accepts and says nothing is given up", async ({ fake }) => {
  const server = await fake({ handshake: () => undefined });
  await expectNoStore(server, /did not answer within 200 ms/, { connectTimeout: 200 });
});

test("a server that closes at once is given up", async ({ fake }) => {
  await expectNoStore(
    await fake({ accepted: ({ socket }) => void socket.end() }),
    /closed the connection|reset/,
  );
});

test("a server that answers half of the handshake and closes is given up", async ({ fake }) => {
  const server = await fake({
    handshake: (_, { socket }) => {
      socket.end("%2\r\n$5\r\npro");
      return undefined;
    },
  });
  await expectNoStore(server, /closed the connection|reset/);
});

test("a server of another protocol is not tried again", async ({ fake }) => {
  const server = await fake({ handshake: () => "HTTP/1.1 400 Bad Request\r\n\r\n" });
  await expectNoStore(server, /no Redis server/, ONE_ATTEMPT);
  assert.equal(server.peers.length, 1);
});

// A socket that connects to a free port of its own machine may connect to itself.
test("a server that sends back what it is sent is not taken for Redis", async ({ fake }) => {
  const server = await fake({
    handshake: (command) => `*${command.length}\r\n${command.map(bulk).join("")}`,
  });
  await expectNoStore(server, /./);
});

test("a handshake that trickles is understood", async ({ fake, open }) => {
  const server = await fake({
    handshake: (command, peer) => {
      for (const byte of Buffer.from(String(answerHandshake(command, peer))))
        peer.socket.write(Uint8Array.of(byte));
      return undefined;
    },
    answer: () => bulk("v"),
  });
  assert.equal(await (await open(server)).get("k"), "v");
});

test("a silent server costs a command that connects by itself its timeout, and no more", async ({
  fake,
  open,
}) => {
  let silent = false;
  const server = await fake({
    handshake: (command, peer) => (silent ? undefined : answerHandshake(command, peer)),
    answer: () => OK,
  });
  const kv = await open(server, { connectTimeout: 200, retryDelay: 20, queueTimeout: 300 });
  silent = true;
  server.peers[0]?.socket.destroy();
  await eventually(() => !kv.isConnected());
  const call = kv.get("a");
  const [time] = await Promise.all([timeOf(call), expectRefusal(call, refusal("TIMEOUT"))]);
  assert.ok(time <= 300 + SLACK, `${time} ms`);
  silent = false;
  await eventually(() => kv.isConnected());
  assert.equal(await kv.set("a", "1"), undefined);
});

test("connections that end right after their handshake are opened ever more slowly", async ({
  fake,
  open,
}) => {
  const server = await fake({
    handshake: (command, peer) => {
      if (command[0] === "PING" && peer.index < 5) setImmediate(() => peer.socket.end());
      return answerHandshake(command, peer);
    },
    answer: () => bulk("v"),
  });
  const kv = await open(server);
  const reconnecting = emissions(kv, "reconnecting");
  // This read fails, as two connections are lost with it.
  await kv.get("a").catch(() => {});
  await eventually(() => server.peers.length === 6 && kv.isConnected());
  const delays = reconnecting.map(({ delay }) => delay);
  assert.ok(Number(delays.at(-1)) > Number(delays[0]), String(delays));
  assert.equal(await kv.get("a"), "v");
});
