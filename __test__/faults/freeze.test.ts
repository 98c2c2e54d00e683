// A frozen server keeps its connection open and answers nothing. Without a deadline calls wait for ever.
import assert from "node:assert/strict";
import { eventually } from "../backends.js";
import { errorOf, expectRefusal, refusal } from "../replies.js";
import { Calls, emissions, SLACK, test, timeOf, underLoad } from "./faults.js";

const TIMEOUT = 300;

test("a frozen server is noticed, and used again when it wakes", async ({ redis, open }) => {
  const server = await redis();
  const kv = await open(server, { commandTimeout: TIMEOUT, connectTimeout: 300 });
  const [reconnecting, ready] = [emissions(kv, "reconnecting"), emissions(kv, "ready")];
  const calls = new Calls(TIMEOUT);
  const written = new Map<string, string>();
  const load = underLoad(8, async (worker, round) => {
    const key = `${worker}.${round % 50}`;
    const value = `${key}=${round}`;
    const set = await calls.try(() => kv.set(key, value));
    if (set === undefined) written.delete(key);
    else written.set(key, value);
    const got = await calls.try(() => kv.get(key));
    if (got !== undefined && set !== undefined) assert.equal(got[0], value);
    else if (got !== undefined && got[0] !== null) assert.equal(got[0].split("=")[0], key);
  });
  await eventually(() => calls.succeeded > 500);
  server.pause();
  await eventually(() => calls.failed("TIMEOUT") > 0 && reconnecting.length > 0);
  assert.equal(kv.isConnected(), false);
  assert.equal(kv.status, "reconnecting");
  assert.match(String(reconnecting[0]?.cause), /127\.0\.0\.1:\d+ has not answered/);
  server.resume();
  await eventually(() => ready.length > 0);
  const before = calls.succeeded;
  await eventually(() => calls.succeeded > before + 500);
  await load.stop();
  calls.checkDeadlines();
  for (const [key, value] of written) assert.equal(await kv.get(key), value);
});

test("a command that a frozen server does not answer fails in time, and says what is unknown", async ({
  redis,
  open,
}) => {
  const server = await redis();
  const kv = await open(server, { commandTimeout: TIMEOUT });
  server.pause();
  const [read, write] = [kv.get("a"), kv.set("a", "1")];
  const [time, readError, writeError] = await Promise.all([timeOf(write), errorOf(read), errorOf(write)]);
  assert.ok(time <= TIMEOUT + SLACK, `${time} ms`);
  assert.deepEqual([readError.code, writeError.code], ["TIMEOUT", "TIMEOUT"]);
  for (const { message } of [readError, writeError]) {
    assert.ok(message.includes(`${server.host}:${server.port}`), message);
  }
  assert.match(writeError.message, /may have been run or not/);
  assert.doesNotMatch(readError.message, /may have been run or not/);
  server.resume();
  await eventually(async () => (await kv.get("a").catch(() => null)) === "1");
});

test("a short freeze costs those who were called before their time, and the connection stays", async ({
  redis,
  open,
}) => {
  const server = await redis();
  const kv = await open(server, { commandTimeout: TIMEOUT });
  const reconnecting = emissions(kv, "reconnecting");
  await kv.set("a", "a=1");
  await kv.set("b", "b=1");
  server.pause();
  await expectRefusal(kv.get("a"), refusal("TIMEOUT"));
  server.resume();
  assert.equal(await kv.get("b"), "b=1");
  if (reconnecting.length === 0) assert.equal(kv.isConnected(), true);
});

test("a frozen server costs an idle subscriber a gap, and it hears again", async ({ redis, open }) => {
  const server = await redis();
  const kv = await open(server, { commandTimeout: TIMEOUT, connectTimeout: 300 });
  const publisher = await open(server);
  const heard: string[] = [];
  await kv.subscribe("news", (text) => void heard.push(text));
  const gaps = emissions(kv, "gap");
  server.pause();
  // The subscribing connection waits for no reply: a second subscription makes it wait for one.
  await expectRefusal(
    kv.subscribe("other", () => {}),
    refusal("TIMEOUT"),
  );
  const reconnecting = emissions(kv, "reconnecting");
  await kv.get("a").catch(() => {});
  await eventually(() => reconnecting.length > 0);
  server.resume();
  await eventually(() => gaps.length > 0);
  await publisher.publish("news", "after");
  await eventually(() => heard.length > 0);
  assert.deepEqual(heard, ["after"]);
  const [{ from, to, reason }] = gaps as [(typeof gaps)[0]];
  assert.ok(from <= to && reason === "connection");
});
