// When a server kills a connection, a call may never settle, get another call's reply, or run twice. A subscriber may miss a gap.
import assert from "node:assert/strict";
import { eventually } from "../backends.js";
import { Calls, emissions, test, underLoad } from "./faults.js";

const TIMEOUT = 5_000;
const KILLS = 100;
/** With the default, each lost connection makes the wait for the next one longer. */
const QUICK = { retryDelay: 2 };

test("100 kills of the command connections under load: every call settles, with its own reply", async ({
  redis,
  open,
  client,
}) => {
  const server = await redis();
  const killer = client(server);
  const kv = await open(server, { commandTimeout: TIMEOUT, ...QUICK });
  const gaps = emissions(kv, "gap");
  const ready = emissions(kv, "ready");
  await kv.subscribe("news", () => {});
  const calls = new Calls(TIMEOUT, ["CONNECTION"]);
  const load = underLoad(16, async (worker, round) => {
    const key = `${worker}.${round}`;
    const results = await Promise.all([
      calls.try(() => kv.set(key, `${key}=é`)),
      calls.try(() => kv.get(key)),
      calls.try(() => kv.mget(key, key)),
      calls.try(() => kv.multi().set(`${key}m`, `${key}m=`).get(`${key}m`).exec()),
      calls.try(() => kv.eval("return KEYS[1] .. '='", [`${key}e`], [])),
      calls.try(() => kv.get(`none.${key}`)),
    ]);
    const [set, got, both, transaction, script, none] = results;
    // A read that is sent again may have run before the write that fails.
    if (got !== undefined && set !== undefined) assert.equal(got[0], `${key}=é`);
    for (const value of both?.[0] ?? [])
      assert.ok(value === null || value === `${key}=é`, `${key}: ${value}`);
    if (transaction !== undefined) assert.deepEqual(transaction[0], ["OK", `${key}m=`]);
    if (script !== undefined) assert.equal(script[0], `${key}e=`);
    if (none !== undefined) assert.equal(none[0], null);
  });
  let killed = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const before = calls.succeeded;
    killed += Number(await killer.client("KILL", "TYPE", "normal", "SKIPME", "yes"));
    await eventually(() => calls.succeeded > before);
  }
  await load.stop();
  calls.checkDeadlines();
  assert.ok(killed >= KILLS / 2, `${killed} connections were killed`);
  assert.ok(ready.length >= KILLS / 2, `it was ready ${ready.length} times`);
  assert.ok(calls.succeeded > calls.errors.length);
  assert.deepEqual(gaps, [], "the subscribing connection was never lost");
  assert.equal(killer.status, "ready");
  assert.equal(await kv.ping(), "PONG");
});

test("100 kills of the subscribing connection: it hears again, and is told of each gap", async ({
  redis,
  open,
  client,
}) => {
  const server = await redis();
  const killer = client(server);
  const [kv, publisher] = [await open(server, QUICK), await open(server)];
  const names = Array.from({ length: 5 }, (_, index) => `news.${index}`);
  const heard = new Map<string, number[]>(names.map((name) => [name, []]));
  const gaps = emissions(kv, "gap");
  const told: unknown[] = [];
  const started = Date.now();
  const hear = (text: string, channel: string) => void heard.get(channel)?.push(Number(text));
  await kv.listen(names.slice(1), hear, { onGap: (gap) => void told.push(gap) });
  await kv.listen([], hear, { patterns: ["*.0"], onGap: (gap) => void told.push(gap) });
  const received = new Map<string, number>(names.map((name) => [name, 0]));
  let text = 0;
  const load = underLoad(1, async () => {
    text += 1;
    const receivers = await Promise.all(names.map((name) => publisher.publish(name, String(text))));
    for (const [index, name] of names.entries()) {
      received.set(name, (received.get(name) ?? 0) + Number(receivers[index]));
    }
  });
  for (let kill = 1; kill <= KILLS; kill++) {
    assert.ok(Number(await killer.client("KILL", "TYPE", "pubsub", "SKIPME", "yes")) >= 1);
    await eventually(() => gaps.length >= kill);
    // When the gap is told, the subscription is live.
    const next = text + 2;
    await eventually(() => names.every((name) => Number(heard.get(name)?.at(-1)) >= next));
  }
  await load.stop();
  for (const [name, texts] of heard) {
    assert.deepEqual(
      texts,
      [...new Set(texts)].sort((a, b) => a - b),
      `${name}: in order, nothing twice`,
    );
    assert.ok(texts.length <= Number(received.get(name)));
  }
  assert.equal(gaps.length, KILLS);
  assert.deepEqual(
    told,
    gaps.flatMap((gap) => [gap, gap]),
  );
  let last = started - 1_000;
  for (const { from, to, reason } of gaps) {
    assert.ok(last <= to && from <= to && to <= Date.now(), `${from} to ${to}`);
    assert.equal(reason, "connection");
    last = from;
  }
  assert.equal(killer.status, "ready");
});

test("the loss of a connection on which nothing was subscribed any more is no gap", async ({
  redis,
  open,
  client,
}) => {
  const server = await redis();
  const killer = client(server);
  const kv = await open(server);
  const gaps = emissions(kv, "gap");
  const handle = await kv.listen(["news"], () => {}, { onGap: () => assert.fail("there was no gap") });
  await handle.close();
  const ready = emissions(kv, "ready");
  await killer.client("KILL", "TYPE", "normal", "SKIPME", "yes");
  await eventually(() => ready.length > 0);
  const heard: string[] = [];
  await kv.subscribe("news", (text) => void heard.push(text));
  await killer.publish("news", "1");
  await eventually(() => heard.length > 0);
  assert.deepEqual(gaps, []);
});
