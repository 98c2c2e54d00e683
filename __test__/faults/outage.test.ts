// An outage may use up a budget of attempts, after which a store never connects again.
import assert from "node:assert/strict";
import { setTimeout as wait } from "node:timers/promises";
import { eventually } from "../backends.js";
import { errorOf, expectRefusal, refusal } from "../replies.js";
import { Calls, emissions, PATIENT, SLACK, test, timeOf, underLoad } from "./faults.js";

const OUTAGE = process.env.FAULTS_LONG === "1" ? 20_000 : 3_000;
const TIMEOUT = 300;

test("a store outlives an outage longer than any budget, and hears again", async ({ redis, open }) => {
  const server = await redis();
  const address = `${server.host}:${server.port}`;
  const kv = await open(server, { commandTimeout: TIMEOUT, queueTimeout: TIMEOUT });
  const [reconnecting, gaps] = [emissions(kv, "reconnecting"), emissions(kv, "gap")];
  const heard: string[] = [];
  const told: unknown[] = [];
  await kv.subscribe("news", (text) => void heard.push(text));
  await kv.listen([], () => {}, { patterns: ["n*"], onGap: (gap) => void told.push(gap) });

  const before = Date.now();
  await server.kill();
  await eventually(() => !kv.isConnected());
  const calls = new Calls(TIMEOUT);
  const load = underLoad(4, async (worker) => {
    await calls.try<unknown>(() => (worker % 2 === 0 ? kv.get("a") : kv.incr("n")));
  });
  await wait(OUTAGE);
  await load.stop();
  assert.deepEqual([kv.status, calls.succeeded], ["reconnecting", 0]);
  calls.checkDeadlines();
  for (const { message } of calls.errors) {
    assert.ok(message.includes(address), message);
    assert.match(message, /refused/i);
  }
  assert.deepEqual(gaps, [], "nobody can tell yet when the gap ends");

  await server.restart();
  await eventually(() => kv.isConnected() && gaps.length > 0);
  const [{ from, to, reason }] = gaps as [(typeof gaps)[0]];
  assert.ok(from <= before + SLACK && from + OUTAGE <= to + SLACK && to <= Date.now(), `${from} to ${to}`);
  assert.equal(reason, "connection");
  assert.deepEqual([gaps.length, told], [1, gaps]);
  await kv.set("a", "a=1");
  assert.equal(await kv.get("a"), "a=1");
  assert.equal(await kv.publish("news", "after"), 2);
  await eventually(() => heard.length > 0);
  assert.deepEqual(heard, ["after"]);

  for (const role of ["commands", "subscriptions"] as const) {
    const attempts = reconnecting.filter(({ connection }) => connection === role);
    assert.ok(attempts.length > 0, role);
    assert.deepEqual(
      attempts.map(({ attempt }) => attempt),
      attempts.map((_, index) => index + 1),
    );
  }
  for (const { delay, cause } of reconnecting) {
    assert.ok(delay >= 25 && delay <= 2_000, `${delay} ms`);
    assert.ok(cause instanceof Error && cause.message !== "");
  }
  assert.match(String(reconnecting.at(-1)?.cause), new RegExp(`${address}.*refused`));
});

test("a command that has waited for its whole time says where there is no server, and why", async ({
  redis,
  open,
}) => {
  const server = await redis();
  const kv = await open(server, { ...PATIENT, commandTimeout: 60_000, queueTimeout: TIMEOUT });
  await server.kill();
  await eventually(() => !kv.isConnected());
  const calls = [kv.get("a"), kv.set("a", "1"), kv.multi().incr("n").exec(), kv.subscribe("c", () => {})];
  await Promise.all(
    calls.map(async (call) => {
      const [time, { code, message }] = await Promise.all([timeOf(call), errorOf(call)]);
      assert.equal(code, "TIMEOUT");
      assert.ok(message.includes(`${server.host}:${server.port}`), message);
      assert.match(message, /within 300 ms \(queueTimeout\), so that the command was not run: .*refused/);
      assert.ok(time <= TIMEOUT + SLACK, `${time} ms`);
    }),
  );
});

// If the number of attempts is used up before the timeout, the first calls fail after 0.6 s. A loop that such an error ends never runs
// again.
test("an outage of seconds costs a wait, and no command", async ({ redis, open }) => {
  const server = await redis();
  const kv = await open(server);
  await server.kill();
  await eventually(() => !kv.isConnected());
  const calls = Array.from({ length: 20 }, () => kv.incr("n"));
  const failing = emissions(kv, "reconnecting");
  await eventually(() => failing.length >= 6);
  await server.restart();
  assert.deepEqual(
    await Promise.all(calls),
    calls.map((_, index) => index + 1),
  );
});

test("without end is how long a command may wait, and the store's end ends it", async ({ redis, open }) => {
  const server = await redis();
  const kv = await open(server, { queueTimeout: Infinity, commandTimeout: TIMEOUT, retryDelay: 20 });
  await server.kill();
  await eventually(() => !kv.isConnected());
  const failing = emissions(kv, "reconnecting");
  const call = kv.incr("n");
  call.catch(() => {});
  await eventually(() => failing.length >= 50);
  assert.equal((await kv.health()).connections[0]?.waiting, 1);
  await Promise.all([
    kv.disconnect(),
    expectRefusal(call, refusal("CLOSED", /before the command was sent: .*refused/)),
  ]);
});

test("a command outlives maxRetries failed attempts, and not one more", async ({ redis, open }) => {
  const server = await redis();
  const kv = await open(server, { commandTimeout: 60_000, maxRetries: 2, retryDelay: 20 });
  await server.kill();
  await eventually(() => !kv.isConnected());
  await expectRefusal(kv.get("a"), refusal("CONNECTION", /after 3 attempts: .*refused/));
});

test("no more than maxQueue commands wait for a connection", async ({ redis, open }) => {
  const server = await redis();
  const kv = await open(server, { commandTimeout: 15_000, maxQueue: 10, ...PATIENT });
  await server.kill();
  await eventually(() => !kv.isConnected());
  const waiting = Array.from({ length: 10 }, (_, index) => kv.set(`k${index}`, `k${index}=1`));
  const full = refusal("QUEUE_FULL", new RegExp(`${server.host}:${server.port}.*10 commands`));
  for (const call of [kv.get("a"), kv.incr("n"), kv.multi().incr("n").exec()])
    await expectRefusal(call, full);
  await server.restart();
  await Promise.all(waiting);
  const keys = waiting.map((_, index) => `k${index}`);
  assert.deepEqual(
    await kv.mget(...keys),
    keys.map((key) => `${key}=1`),
  );
  assert.equal(await kv.get("n"), null);
});
