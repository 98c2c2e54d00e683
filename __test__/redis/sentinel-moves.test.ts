// A store follows its master. What the old one still gets then is lost, and what the move waits for holds up all callers.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRedisKV } from "covara-kv";
import { type Answer, OK, startFake, message as told } from "../fake-server.js";
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
  await Promise.all(calls).finally(() => clearInterval(alive));
  const [first, second] = [before, after].map(({ commands }) =>
    commands.filter(([name]) => name === "SET").map(([, key]) => key),
  );
  assert.deepEqual([...(first ?? []), ...(second ?? [])], keys);
  assert.equal(second?.at(-1), keys.at(-1), `${first?.length} at the old one`);
});
