// A value that takes long to send may be cut off, or hold up the calls of other stores.
import assert from "node:assert/strict";
import { setImmediate as turn, setTimeout as wait } from "node:timers/promises";

import { errorOf } from "../replies.js";
import { Calls, test, underLoad } from "./faults.js";

const TIMEOUT = 20_000;
const SIZE = 64 * 1024 * 1024;

test("a value of 64 MB goes both ways while another store works", async ({ redis, open }) => {
  const server = await redis();
  const [kv, other] = [await open(server, { commandTimeout: TIMEOUT }), await open(server)];
  const calls = new Calls(5_000, []);
  const load = underLoad(4, async (worker, round) => {
    const key = `${worker}.${round}`;
    await calls.try(() => other.set(key, `${key}=1`));
    await calls.try(async () => assert.equal(await other.get(key), `${key}=1`));
    await calls.try(() => other.del(key));
  });
  const value = `begin${"x".repeat(SIZE - 8)}end`;
  const [, before] = await Promise.all([kv.set("large", value), kv.get("small")]);
  const [got, again, after] = await Promise.all([kv.get("large"), kv.exists("large"), kv.get("small")]);
  await load.stop();
  assert.ok(got === value, "the value is another one");
  assert.deepEqual([before, again, after], [null, 1, null]);
  calls.checkDeadlines();
  assert.ok(calls.succeeded > 0);
});

test("a connection that is lost in the middle of a large value costs the write, and no order", async ({
  redis,
  client,
  open,
}) => {
  const server = await redis();
  const killer = client(server);
  const kv = await open(server, { commandTimeout: TIMEOUT });
  await kv.set("small", "small=1");
  await killer.ping();
  server.pause();
  // More than the sockets' buffers hold: part of it is sent, and nothing of what follows.
  const large = errorOf(kv.set("large", "x".repeat(SIZE / 2)));
  const after = Promise.all([kv.get("small"), kv.set("next", "next=1"), kv.get("next")]);
  // The I/O thread writes, and neither the store nor the stopped server tells how much.
  await wait(500);
  const killed = killer.client("KILL", "TYPE", "normal", "SKIPME", "yes");
  await turn(); // Its bytes leave at once.
  server.resume();
  assert.equal(await killed, 1);
  assert.equal((await large).code, "CONNECTION");
  assert.deepEqual(await after, ["small=1", undefined, "next=1"]);
  assert.equal(await kv.exists("large"), 0);
});
