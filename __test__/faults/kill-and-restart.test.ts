// When a server crashes under load, an acknowledged write may be lost, or a command may run twice.
import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { eventually } from "../backends.js";
import { errorOf } from "../replies.js";
import { Calls, emissions, PATIENT, test, underLoad } from "./faults.js";

const TIMEOUT = 3_000;
const DURABLE = { appendonly: "yes", appendfsync: "always" };

test("no acknowledged write is missing after crashes under load, and none ran twice", async ({
  redis,
  open,
}) => {
  const server = await redis(DURABLE);
  const kv = await open(server, { commandTimeout: TIMEOUT, ...PATIENT });
  const ready = emissions(kv, "ready");
  const calls = new Calls(TIMEOUT);
  const written = new Set<string>();
  const counters = Array.from({ length: 8 }, () => ({ attempts: 0, acknowledged: 0 }));
  const load = underLoad(counters.length, async (worker, round) => {
    const key = `${worker}.${round}`;
    const counter = counters[worker] as (typeof counters)[0];
    counter.attempts += 1;
    const [set, incr] = await Promise.all([
      calls.try(() => kv.set(key, `${key}=1`)),
      calls.try(() => kv.incr(`n${worker}`)),
    ]);
    if (set !== undefined) written.add(key);
    if (incr !== undefined) counter.acknowledged += 1;
  });
  for (let crash = 1; crash <= 3; crash++) {
    const before = calls.succeeded;
    await eventually(() => calls.succeeded > before + 500);
    await server.kill();
    await server.restart();
    await eventually(() => ready.length >= crash);
  }
  await load.stop();
  calls.checkDeadlines();
  assert.ok(calls.failed("CONNECTION") > 0, "a crash under load costs replies");
  for (const key of written) assert.equal(await kv.get(key), `${key}=1`);
  for (const [worker, { attempts, acknowledged }] of counters.entries()) {
    const value = Number(await kv.get(`n${worker}`));
    assert.ok(acknowledged <= value && value <= attempts, `${acknowledged} <= ${value} <= ${attempts}`);
  }
});

test("transactions and scripts run at most once through crashes", async ({ redis, open }) => {
  const server = await redis(DURABLE);
  const kv = await open(server, { commandTimeout: TIMEOUT, ...PATIENT });
  const calls = new Calls(TIMEOUT);
  let attempts = 0;
  let acknowledged = 0;
  const load = underLoad(6, async (worker) => {
    attempts += 1;
    const once = () =>
      worker % 2 === 0
        ? kv.multi().incr("a").incr("b").exec()
        : kv.eval("redis.call('incr', KEYS[1]) return redis.call('incr', KEYS[2])", ["a", "b"], []);
    if ((await calls.try(once)) !== undefined) acknowledged += 1;
  });
  for (let crash = 1; crash <= 3; crash++) {
    const before = calls.succeeded;
    await eventually(() => calls.succeeded > before + 200);
    await server.kill();
    await server.restart();
  }
  await load.stop();
  calls.checkDeadlines();
  const [a, b] = (await kv.mget("a", "b")).map(Number) as [number, number];
  assert.equal(a, b, "no transaction is half done");
  assert.ok(acknowledged <= a && a <= attempts, `${acknowledged} <= ${a} <= ${attempts}`);
});

test("a read whose reply was lost succeeds once the server is back, a write fails", async ({
  redis,
  open,
}) => {
  const server = await redis(DURABLE);
  const kv = await open(server, { commandTimeout: 15_000, ...PATIENT });
  await kv.set("a", "a=1");
  server.pause();
  const read = Promise.all([kv.get("a"), kv.mget("a", "b"), kv.hgetall("none")]);
  const written = errorOf(kv.incr("n"));
  await turn(); // At the end of this turn the bytes leave the process.
  await server.kill();
  const { code, message } = await written;
  assert.equal(code, "CONNECTION");
  assert.match(message, /may have been run or not/);
  assert.ok(message.includes(`${server.host}:${server.port}`), message);
  await server.restart();
  assert.deepEqual(await read, ["a=1", ["a=1", null], {}]);
  assert.equal(await kv.get("n"), null);
});

test("what is called while the server is down is sent once it is back, in its order", async ({
  redis,
  open,
}) => {
  const server = await redis();
  const kv = await open(server, { commandTimeout: 15_000, ...PATIENT });
  await server.kill();
  await eventually(() => !kv.isConnected());
  const pushed = Array.from({ length: 500 }, (_, index) => kv.rpush("list", String(index)));
  await server.restart();
  assert.deepEqual(
    await Promise.all(pushed),
    pushed.map((_, index) => index + 1),
  );
  assert.deepEqual(
    await kv.lrange("list", 0, -1),
    pushed.map((_, index) => String(index)),
  );
});
