// A store follows its master. What the old one still gets then is lost, and what the move waits for holds up all callers.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { createRedisKV, type RedisKVStore } from "covara-kv";
import { eventually } from "../backends.js";
import { type Answer, type FakeServer, OK, type Peer, startFake, message as told } from "../fake-server.js";
import { MASTER } from "../sentinel.js";
import { by, fakeSentinel } from "./fake-sentinel.js";

interface Place {
  host: string;
  port: number;
}

/** The event of a Sentinel that has seen a failover. */
const switched = (from: Place, to: Place) =>
  told("+switch-master", `${MASTER} ${from.host} ${from.port} ${to.host} ${to.port}`);

// During a failover the old master takes and acknowledges writes for seconds. The queue of a full socket must not go there.
test("what the socket of the old master has not taken goes to the new one", async () => {
  const answer: Answer = ([name]) => (name === "SET" ? OK : undefined);
  await using before = await startFake({ answer });
  await using after = await startFake({ answer });
  await using sentinel = await fakeSentinel(before);
  await using kv = createRedisKV(by(sentinel));
  await kv.connect();
  const slow = before.peers[0];
  assert.ok(slow);
  slow.socket.pause();
  // One that was silent would be left at once.
  const alive = setInterval(() => slow.send(">1\r\n+alive\r\n"), 10);
  kv.once("reconnecting", () => slow.socket.resume());
  const keys = Array.from({ length: 400 }, (_, index) => String(index));
  const calls = keys.map((key) => kv.set(key, "v".repeat(64 << 10)));
  sentinel.names = after;
  sentinel.send(switched(before, after));
  // What was begun may have no answer in time.
  await Promise.allSettled(calls);
  clearInterval(alive);
  const [first = [], second = []] = [before, after].map(({ commands }) =>
    commands.filter(([name]) => name === "SET").map(([, key]) => key),
  );
  assert.ok(
    second.length > 0 && !second.some((key) => first.includes(key)),
    `${first.length} at the old one`,
  );
  assert.deepEqual(second, keys.slice(-second.length));
});

/** Why a store has left its connections. */
function reasonsOf(kv: RedisKVStore): string[] {
  const reasons: string[] = [];
  kv.on("reconnecting", ({ cause }) => reasons.push(cause.message));
  return reasons;
}

// Each attempt may take as long as all should: publishers would follow later than subscribers are told, and writes go to the old master.
test("a new master that does not answer has one time for all attempts", async () => {
  await using before = await startFake({});
  await using after = await startFake({ handshake: () => undefined });
  await using sentinel = await fakeSentinel(before);
  await using kv = createRedisKV({ ...by(sentinel), connectTimeout: 30_000 });
  const reasons = reasonsOf(kv);
  await kv.connect();
  sentinel.names = after;
  sentinel.send(switched(before, after));
  await eventually(() => reasons.length > 0);
  const polls = sentinel.count("SENTINEL");
  await eventually(() => sentinel.count("SENTINEL") >= polls + 2);
  // The second is of who has no connection, and goes on.
  assert.equal(after.peers.length, 2);
});

// The time of the first move is over long ago: without one of its own the second leaves a master that works, for none.
test("a master that is named again has time again", async () => {
  let closes = true;
  const accepted = ({ socket }: Peer) => void (closes && socket.destroy());
  await using before = await startFake({});
  await using after = await startFake({ accepted });
  await using sentinel = await fakeSentinel(before);
  await using kv = createRedisKV(by(sentinel));
  const reasons = reasonsOf(kv);
  await kv.connect();
  const tell = (to: FakeServer) => {
    sentinel.names = to;
    sentinel.send(switched(before, to));
  };
  tell(after);
  await eventually(() => after.peers.length > 0);
  tell(before);
  const polls = sentinel.count("SENTINEL");
  await eventually(() => sentinel.count("SENTINEL") >= polls + 3);
  assert.deepEqual(reasons, []);
  const tries = after.peers.length;
  tell(after);
  await eventually(() => after.peers.length > tries);
  closes = false;
  await eventually(() => reasons.length > 0);
  assert.match(String(reasons), /^\S+ is the master in place of \S+$/);
});

// It is asked again and again, and each answer comes too late: the old master is left without a connection to the new one.
test("a function for the password that takes longer than a move may is asked once, and its answer used", async () => {
  await using before = await startFake({});
  await using after = await startFake({});
  await using sentinel = await fakeSentinel(before);
  let asked = 0;
  const password = async () => {
    asked += 1;
    await wait(300);
    return "secret";
  };
  await using kv = createRedisKV({ ...by(sentinel), password });
  const reasons = reasonsOf(kv);
  await kv.connect();
  asked = 0;
  sentinel.names = after;
  sentinel.send(switched(before, after));
  await eventually(() => reasons.length > 0);
  assert.match(String(reasons), /^\S+ is the master in place of \S+$/);
  assert.equal(asked, 1);
});

// All instances follow at once. If the new master ends their connections, all of them come back at the same moment.
test("a connection that has followed the master is opened again after a pause", async () => {
  await using before = await startFake({});
  await using after = await startFake({});
  await using sentinel = await fakeSentinel(before);
  const retryDelay = 300;
  await using kv = createRedisKV({ ...by(sentinel), retryDelay });
  await kv.connect();
  sentinel.names = after;
  sentinel.send(switched(before, after));
  await eventually(() => after.peers.length > 0 && before.peers.every(({ socket }) => socket.destroyed));
  const ended = performance.now();
  after.peers[0]?.socket.destroy();
  await eventually(() => after.peers.length > 1);
  const took = performance.now() - ended;
  assert.ok(took > retryDelay - 10, `${took} ms`);
});
