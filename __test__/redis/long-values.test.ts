// Long values that callers await overflow V8's young generation and slow everything down. Their text lies outside of the heap:
// docs/design/redis-connection.md, "Long values".
import assert from "node:assert/strict";
import { test } from "node:test";
import { createKV } from "covara-kv";
import { timeoutFactor } from "../backends.js";
import { run, Thread } from "./processes.js";
import { SharedRedis } from "./servers.js";

const server = new SharedRedis();

const SIZE = 20_000;
const KEYS = 50;
const CALLERS = 2_000;

test("long values that many callers await are right, and stay right", {
  timeout: 60_000 * timeoutFactor,
}, async () => {
  const program = `
    const kv = await createKV({ type: "redis", redis: { ...redis, commandTimeout: 60_000 } });
    const inside = process.memoryUsage().external;
    const texts = Array.from({ length: ${KEYS} }, (_, n) => n + (n % 2 ? "x" : "é").repeat(${SIZE}) + n);
    for (const [n, text] of texts.entries()) await kv.set("k" + n, text);
    await kv.hset("hash", "a", texts[1]);
    await kv.hset("hash", "b", texts[2]);
    const kept = [];
    let [wrong, outside] = [0, 0];
    for (let round = 0; round < 3; round++) {
      await Promise.all(Array.from({ length: ${CALLERS} }, async (_, n) => {
        const key = n % ${KEYS};
        const [text, list, hash] = await Promise.all([kv.get("k" + key), kv.mget("k" + key, "k1"), kv.hgetall("hash")]);
        if (text !== texts[key] || list[0] !== text || list[1] !== texts[1]) wrong++;
        if (hash.a !== texts[1] || hash.b !== texts[2]) wrong++;
        if (n % 100 === 0) kept.push([key, text.slice(5), list]);
        outside = Math.max(outside, process.memoryUsage().external - inside);
      }));
      gc();
    }
    for (const [key, part, list] of kept) if (part !== texts[key].slice(5) || list[0] !== texts[key]) wrong++;
    kept.length = 0;
    for (let n = 0; n < 5; n++) { await turn(); gc(); }
    const left = process.memoryUsage().external - inside;
    console.log(JSON.stringify({ wrong, outside: outside > 10e6, bounded: outside < 80e6, left: left > 5e6 }));
    await kv.disconnect();`;
  const { stdout, stderr } = await run(server.address, program, { flags: ["--expose-gc"] });
  assert.equal(stderr, "");
  assert.deepEqual(JSON.parse(stdout), { wrong: 0, outside: true, bounded: true, left: false });
});

test("threads with long values are terminated at any moment", {
  timeout: 60_000 * timeoutFactor,
}, async () => {
  for (let round = 0; round < 3; round++) {
    const threads = Array.from({ length: 3 }, () => new Thread("longValues", server.address));
    await Promise.all(threads.map((thread) => thread.hasRaised(1 + 1_000 * round)));
    await Promise.all(threads.map((thread) => thread.worker.terminate()));
  }
  assert.equal(await server.admin.ping(), "PONG");
});

// The server holds a reply for each call in its memory, and takes four times as long for each.
test("a server does not have to hold all long replies at once", {
  timeout: 60_000 * timeoutFactor,
}, async () => {
  const kv = await createKV({ type: "redis", redis: server.address });
  const value = "x".repeat(50_000);
  await kv.set("long", value);
  for (let n = 0; n < 100; n++) await kv.get("long");
  const peak = async () => {
    const memory = await server.admin.info("memory");
    return Number(/^used_memory_peak:(\d+)/m.exec(memory)?.[1]);
  };
  const before = await peak();
  const values = await Promise.all(Array.from({ length: 2_000 }, () => kv.get("long")));
  assert.ok(values.every((got) => got === value));
  const more = (await peak()) - before;
  assert.ok(more < 20e6, `${more} bytes more`);
  await kv.disconnect();
});
