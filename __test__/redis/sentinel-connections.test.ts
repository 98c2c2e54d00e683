// A connection to a Sentinel that fails once, or is slow, must not cost its events, or the Sentinel itself.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRedisKV } from "covara-kv";
import { eventually } from "../backends.js";
import { type Answer, answerHandshake, bulk, type Peer, startFake } from "../fake-server.js";
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

// A name may take seconds to resolve. With 500 ms for the first attempt, and 1,000 for the next, createKV gives up before it has one.
test("the first attempt has connectTimeout where no other Sentinel answers", async () => {
  await using master = await startFake({});
  const handshake: Answer = (command, peer) => {
    setTimeout(() => peer.send(String(answerSentinelHandshake(command, peer))), 1_200);
    return undefined;
  };
  await using sentinel = await fakeSentinel(master, { handshake });
  await using kv = createRedisKV({ ...by(sentinel), maxRetries: 1 });
  await kv.connect();
  assert.equal(sentinel.peers.length, 1);
});

// Who asks for an unknown name is answered once all have been asked.
test("a dead Sentinel has less time where another one answers", async () => {
  await using dead = await listen(() => {});
  await using sentinel = await fakeSentinel(null);
  const refusal = await refusalOf({ ...by(dead, sentinel), connectTimeout: 15_000, maxRetries: 1 });
  assert.equal(refusal.reason, "unknown-master");
  assert.match(refusal.message, new RegExp(`${dead.endpoint} did not answer within 500 ms;`));
});

// A Sentinel remembers all that it has ever seen. A reply of 64 KB ended the connection, each time.
test("many other Sentinels do not end the connection to one", async () => {
  await using master = await startFake({});
  await using sentinel = await fakeSentinel(master);
  sentinel.others = Array.from({ length: 800 }, (_, index) => ({
    host: "10.0.0.1",
    port: index + 1,
    id: String(index).padStart(40, "0"),
    flags: "s_down,sentinel",
  }));
  await using kv = createRedisKV(by(sentinel));
  await kv.connect();
  await eventually(() => sentinel.count("SENTINEL") > 5);
  assert.equal(sentinel.peers.length, 1);
});

// It says "no node of the cluster has told its slots", as if it were to be tried again.
test("a node of a cluster that Sentinels name is refused, with what to do", async () => {
  const handshake: Answer = (command, peer) =>
    command[0] === "HELLO" ? `%1\r\n${bulk("mode")}${bulk("cluster")}` : answerHandshake(command, peer);
  await using node = await startFake({ handshake });
  await using sentinel = await fakeSentinel(node);
  const refusal = await refusalOf(by(sentinel));
  assert.equal(refusal.code, "CONFIG");
  assert.match(
    refusal.message,
    /:\d+, which the Sentinels name as the master, is a node of a Redis Cluster: give redis\.cluster/,
  );
});

test("a Sentinel's port without TLS is told as such", async () => {
  await using silent = await listen(() => {});
  const refusal = await refusalOf({ ...by(silent), tls: {}, connectTimeout: 400, maxRetries: 1 });
  assert.equal(refusal.reason, "no-sentinel");
  assert.match(
    refusal.message,
    /did not answer as a server with TLS does within 400 ms: if its port has none/,
  );
});
