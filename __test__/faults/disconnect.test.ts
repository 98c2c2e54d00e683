// A disconnect under load, or in an outage, may lose calls that are in flight, or never settle.
import assert from "node:assert/strict";
import type { Redis } from "ioredis";
import { eventually } from "../backends.js";
import type { RedisServer } from "../redis-server.js";
import { expectRefusal, refusal } from "../replies.js";
import { Calls, emissions, PATIENT, SLACK, test, timeOf, underLoad } from "./faults.js";

const CLOSED = refusal("CLOSED");

test("disconnect under load lets what is in flight finish, and refuses what comes after", async ({
  redis,
  open,
}) => {
  const server = await redis();
  const [kv, other] = [await open(server), await open(server)];
  const before = new Calls(5_000, []);
  const after = new Calls(5_000, ["CLOSED"]);
  let calls = before;
  const load = underLoad(16, async () => {
    await Promise.all([calls.try(() => kv.incr("n")), calls.try(() => kv.multi().incr("n").exec())]);
  });
  await eventually(() => before.succeeded > 1_000);
  const last = Array.from({ length: 100 }, () => before.try(() => kv.incr("n")));
  calls = after;
  await kv.disconnect();
  await Promise.all(last);
  await load.stop();
  assert.equal(after.succeeded, 0);
  assert.equal(await other.get("n"), String(before.succeeded));
});

test("disconnect waits for a reply that takes its time", async ({ redis, open }) => {
  const server = await redis();
  const kv = await open(server);
  const spin = "local x = 0 for i = 1, 5000000 do x = x + 1 end return x";
  const running = kv.eval(spin, [], []);
  const disconnecting = kv.disconnect();
  await expectRefusal(kv.get("a"), CLOSED);
  assert.equal(await running, 5_000_000);
  await disconnecting;
});

test("disconnect during an outage settles within the timeout of what waits", async ({ redis, open }) => {
  const server = await redis();
  const kv = await open(server, { commandTimeout: 500, ...PATIENT });
  await kv.subscribe("news", () => {});
  await server.kill();
  await eventually(() => !kv.isConnected());
  const waiting = [kv.get("a"), kv.set("b", "1"), kv.subscribe("other", () => {})].map((call) =>
    call.then(
      () => "a result",
      (error: { code: string }) => error.code,
    ),
  );
  const time = await timeOf(kv.disconnect());
  assert.ok(time <= 500 + SLACK, `${time} ms`);
  for (const code of await Promise.all(waiting)) assert.match(code, /^(TIMEOUT|CONNECTION|CLOSED)$/);
  assert.equal(kv.status, "closed");
  await expectRefusal(kv.get("a"), CLOSED);
});

test("disconnect of a store without anything to do settles at once in an outage", async ({ redis, open }) => {
  const server = await redis();
  const kv = await open(server, { commandTimeout: 60_000, retryDelay: 60_000 });
  await server.kill();
  await eventually(() => !kv.isConnected());
  const time = await timeOf(kv.disconnect());
  assert.ok(time <= SLACK, `${time} ms`);
});

test("disconnect from a frozen server settles within the timeout", async ({ redis, open }) => {
  const server = await redis();
  const kv = await open(server, { commandTimeout: 500 });
  await kv.subscribe("news", () => {});
  server.pause();
  const call = expectRefusal(kv.incr("n"), refusal("TIMEOUT"));
  const time = await timeOf(kv.disconnect());
  assert.ok(time <= 500 + 1_000 + SLACK, `${time} ms`);
  await call;
});

// Its subscribing connection is shared, so that the store leaves it with an UNSUBSCRIBE. Unanswered, that rejected disconnect() and each
// later connect(), which waits for it.
for (const [title, given] of Object.entries({
  "is frozen": (server: RedisServer) => server.pause(),
  "refuses UNSUBSCRIBE": (_: RedisServer, client: Redis) =>
    client.call("ACL", "SETUSER", "default", "-unsubscribe"),
}))
  test(`a store that leaves a shared subscriber is closed although the server ${title}, and can be connected again`, async ({
    redis,
    open,
    client,
  }) => {
    const server = await redis();
    const [kv, stays] = [
      await open(server, { commandTimeout: 500, ...PATIENT }),
      await open(server, { commandTimeout: 500, ...PATIENT }),
    ];
    await stays.subscribe("news", () => {});
    await kv.subscribe("own", () => {});
    const ends = emissions(kv, "end");
    await given(server, client(server));
    await kv.disconnect();
    assert.equal(ends.length, 1);
    server.resume();
    await kv.connect();
    assert.equal(await kv.set("a", "1"), undefined);
  });

test("a store that was disconnected during an outage can be connected after it", async ({ redis, open }) => {
  const server = await redis();
  const kv = await open(server, { commandTimeout: 500, ...PATIENT });
  await server.kill();
  await eventually(() => !kv.isConnected());
  await kv.disconnect();
  await server.restart();
  await kv.connect();
  assert.equal(kv.isConnected(), true);
  assert.equal(await kv.set("a", "1"), undefined);
});

test("after disconnect nothing is heard of the server's comings and goings", async ({ redis, open }) => {
  const server = await redis();
  const [kv, stays] = [await open(server), await open(server)];
  await kv.subscribe("news", () => assert.fail("it was left"));
  await kv.disconnect();
  const events: string[] = [];
  for (const event of ["ready", "reconnecting", "error", "gap", "end"] as const) {
    kv.on(event, () => void events.push(event));
  }
  const again = emissions(stays, "ready");
  await server.kill();
  await server.restart();
  await eventually(() => again.length > 0);
  assert.deepEqual(events, []);
});
