// A connection to a Sentinel that fails once, or is slow, must not cost its events, or the Sentinel itself.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRedisKV } from "covara-kv";
import { eventually } from "../backends.js";
import { type Answer, type Peer, startFake } from "../fake-server.js";
import { listen } from "../sockets.js";
import { answerSentinelHandshake, by, fakeSentinel } from "./fake-sentinel.js";
import { refusalOf } from "./servers.js";

/** Closes the first connection at once, as a server does that is being restarted. */
const accepted = ({ index, socket }: Peer) => void (index === 0 && socket.destroy());

// It is taken for a proxy that knows few commands, for good: with RESP 2 no event of a Sentinel comes, and a server does not say its role.
test("whose first handshake is cut is sent a whole one the next time: a Sentinel and its master", async () => {
  await using master = await startFake({ accepted });
  await using sentinel = await fakeSentinel(master, { accepted });
  await using kv = createRedisKV(by(sentinel));
  await kv.connect();
  await eventually(() => sentinel.count("SUBSCRIBE") === 1);
  assert.deepEqual(
    [master, sentinel].map(({ peers }) => peers[1]?.commands[0]?.[0]),
    ["HELLO", "HELLO"],
  );
});

// A round trip of 150 ms makes 600 of TLS and a handshake. Given 500, no Sentinel is ever reached, though the master could be.
test("Sentinels that are slow to take a connection are reached, all of them", async () => {
  await using master = await startFake({});
  const handshake: Answer = (command, peer) => {
    setTimeout(() => peer.send(String(answerSentinelHandshake(command, peer))), 700);
    return undefined;
  };
  await using one = await fakeSentinel(master, { handshake });
  await using other = await fakeSentinel(master, { handshake });
  await using kv = createRedisKV(by(one, other));
  await kv.connect();
  await eventually(() => one.count("SUBSCRIBE") + other.count("SUBSCRIBE") === 2);
});

test("a Sentinel's port without TLS is told as such", async () => {
  await using silent = await listen(() => {});
  const refusal = await refusalOf({ ...by(silent), tls: {}, maxRetries: 1 });
  assert.equal(refusal.reason, "no-sentinel");
  assert.match(
    refusal.message,
    /did not answer as a server with TLS does within 500 ms: if its port has none/,
  );
});
