// Events tell of a reconnection, but not of its cause. COVARA_KV_DEBUG prints what connections do, and why.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { Redis } from "ioredis";
import { type RedisServer, startRedis } from "../redis-server.js";

const PASSWORD = "a-secret-password";
let server: RedisServer;
before(async () => {
  server = await startRedis();
  const client = new Redis(server.port);
  await client.config("SET", "requirepass", PASSWORD);
  client.disconnect();
});
after(() => server.stop());

/** Connects, subscribes, writes a record, loses its connections once, and disconnects. */
const PROGRAM = `
import { once } from "node:events";
import { createKV } from "covara-kv";
import { Redis } from "ioredis";
const kv = await createKV({ type: "redis", redis: { port: ${"PORT"}, password: "${PASSWORD}" } });
await kv.set("k", "a-secret-value");
await kv.subscribe("news\\n", () => {});
await kv.subscribe("covara:events", () => {});
const record = JSON.stringify({ id: "1:posts", resource: "posts", handlerId: "h", filter: "" });
await kv.hset("covara:subs:byres:posts", "1:posts", record);
const gap = once(kv, "gap");
const other = new Redis(${"PORT"}, { password: "${PASSWORD}" });
await other.client("KILL", "TYPE", "pubsub");
other.disconnect();
await gap;
await kv.disconnect();
`;

async function linesWith(areas: string | undefined): Promise<string[]> {
  const program = PROGRAM.replaceAll("PORT", `${server.port}`);
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    env: { ...process.env, ...(areas !== undefined && { COVARA_KV_DEBUG: areas }) },
    stdio: ["ignore", "inherit", "pipe"],
  });
  let text = "";
  child.stderr.setEncoding("utf8").on("data", (part: string) => {
    text += part;
  });
  const [code] = await once(child, "close");
  assert.equal(code, 0, text);
  return text.split("\n").filter((line) => line !== "");
}

/** Fails unless some lines match the patterns, in this order. */
function assertInOrder(lines: readonly string[], patterns: readonly RegExp[]): void {
  let at = 0;
  for (const pattern of patterns) {
    const found = lines.findIndex((line, index) => index >= at && pattern.test(line));
    assert.ok(found >= 0, `${pattern} in ${lines.slice(at).join("\n")}`);
    at = found + 1;
  }
}

test("what connections do is printed, by area, without a value or a password", async () => {
  const lines = await linesWith("redis,fanout");
  const of = (use: string, text: string) =>
    new RegExp(`^[\\d:.]+Z covara-kv:redis [^ ]+ \\(${use}\\): ${text}`);
  assertInOrder(lines, [
    of("commands", "connecting"),
    of("commands", "connected to 7\\.[\\d.]+, master, RESP 3, standalone, round trip \\d+ µs"),
  ]);
  assertInOrder(lines, [
    of("subscriptions", "connected to "),
    of("subscriptions", 'subscribed channel "news\\\\n"'),
    of("subscriptions", "lost: "),
    of("subscriptions", "a gap has begun"),
    of("subscriptions", "attempt 1 follows in \\d+ ms: "),
    of("subscriptions", "connected to "),
    of("subscriptions", "a gap of \\d+ ms has ended"),
    of("subscriptions", "closed"),
  ]);
  assertInOrder(lines, [/covara-kv:fanout [^ ]+: filter: Filters/]);
  assert.doesNotMatch(lines.join("\n"), /a-secret/);
});

test("nothing is printed of an area that is not named", async () => {
  assert.deepEqual(await linesWith(undefined), []);
  assert.deepEqual(
    (await linesWith("redis")).filter((line) => line.includes("covara-kv:fanout")),
    [],
  );
});
