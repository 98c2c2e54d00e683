// If both threads read a socket, or none does, replies are lost or late. While little is in flight JavaScript's thread reads, otherwise the
// I/O thread: docs/design/redis-connection.md, "Who reads".
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { createKV } from "covara-kv";
import { eventually, timeoutFactor } from "../backends.js";
import { SharedRedis } from "./servers.js";

const server = new SharedRedis();

const open = (redis = {}) => createKV({ type: "redis", redis: { ...server.address, ...redis } });

// The I/O thread keeps the deadlines. While JavaScript's thread is busy, replies lie unread in the socket: unless the I/O thread looks
// there first, answered commands fail, and the connection is given up as frozen.
test("a thread that was busy for longer than the timeout gets the replies that came in time", async () => {
  const kv = await open({ commandTimeout: 1_000 });
  const lost: unknown[] = [];
  kv.on("reconnecting", (event) => lost.push(event));
  await kv.set("busy", "value");
  const replies = Promise.all([kv.get("busy"), kv.incr("counter"), kv.mget(...Array(50_000).fill("busy"))]);
  await new Promise(process.nextTick);
  const end = performance.now() + 2_500;
  while (performance.now() < end);
  const [value, , values] = await replies;
  assert.equal(value, "value");
  assert.deepEqual(new Set(values), new Set(["value"]));
  assert.deepEqual(lost, []);
  await kv.disconnect();
});

test("replies reach their callers while much and little alternate", {
  timeout: 60_000 * timeoutFactor,
}, async () => {
  const kv = await open({ commandTimeout: 30_000 });
  const sizes = [1, 100, 16_000, 70_000, 600_000, 3_000_000];
  const valueFor = (key: string, size: number) => `${key}:${"x".repeat(size)}:${key}`;
  const check = async (key: string, size: number) => {
    const [, got] = await Promise.all([kv.set(key, valueFor(key, size)), kv.get(key)]);
    assert.ok(got === valueFor(key, size), `${key} has another value`);
  };
  let over = false;
  const steady = Promise.all(
    Array.from({ length: 8 }, async (_, caller) => {
      for (let round = 0; !over; round++) await check(`steady ${caller} ${round % 10}`, 20 * caller);
    }),
  );
  for (let round = 0; round < 4; round++) {
    for (const size of sizes) await check(`one ${size}`, size);
    await Promise.all(Array.from({ length: 500 }, (_, n) => check(`many ${n}`, 16_000)));
    await Promise.all(sizes.map((size) => check(`all ${size}`, size)));
    await Promise.all(Array.from({ length: 2_000 }, (_, n) => check(`small ${n}`, 10)));
  }
  over = true;
  await steady;
  await kv.disconnect();
});

test("an idle store learns at once that its connection is lost", async () => {
  const kv = await open({ retryDelay: 1 });
  for (let round = 0; round < 20; round++) {
    // After one short reply, or after a long one that the I/O thread reads.
    await kv.mget(...Array(round % 2 === 0 ? 1 : 100_000).fill("k"));
    const lost = once(kv as never, "reconnecting");
    await server.admin.client("KILL", "TYPE", "normal", "SKIPME", "yes");
    await lost;
    assert.equal(await kv.ping(), "PONG");
  }
  await kv.disconnect();
});

test("connections that end leave no file open", {
  skip: process.platform !== "linux" && "reads /proc",
}, async () => {
  const files = () => readdirSync("/proc/self/fd").length;
  await (await open()).disconnect();
  const before = files();
  for (let round = 0; round < 30; round++) {
    const kv = await open();
    const lost = once(kv as never, "reconnecting");
    await server.admin.client("KILL", "TYPE", "normal", "SKIPME", "yes");
    await lost;
    await kv.set("k", "x".repeat(round * 10_000));
    await kv.disconnect();
  }
  await eventually(() => files() <= before);
});

// The I/O thread needs one more file to wait for a socket. Where none can be opened, a healthy connection must not be given up.
test("a process that can open no more files goes on with the connection that it has", {
  skip: process.platform === "win32" && "has no ulimit",
}, async () => {
  const program = `
    const { openSync } = require("node:fs");
    const { createKV } = require("covara-kv");
    (async () => {
      const kv = await createKV({ type: "redis", redis: ${JSON.stringify(server.address)} });
      kv.on("reconnecting", ({ cause }) => console.log(cause.message));
      await kv.get("warm");
      try {
        while (true) openSync("/dev/null");
      } catch ({ code }) {
        console.log(code);
      }
      await kv.set("large", "x".repeat(20_000_000));
      console.log((await kv.get("large")).length);
      await kv.disconnect();
    })();`;
  const { stdout } = await promisify(execFile)(
    "sh",
    ["-c", 'ulimit -n 100 && exec "$0" --eval "$1"', process.execPath, program],
    { cwd: join(__dirname, "../.."), timeout: 60_000 * timeoutFactor },
  );
  assert.equal(stdout, "EMFILE\n20000000\n");
});
