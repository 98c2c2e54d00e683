// Two servers of a live feed, each a process, and what a client of theirs sees: also when Redis dies and comes back.
// Starts a redis-server of its own; with REDIS_URL=redis://localhost:6379 it uses that one, and does not restart it.

import assert from "node:assert/strict";
import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as wait } from "node:timers/promises";
import { createKV } from "covara-kv/kv";

const directory = mkdtempSync(join(tmpdir(), "live-feed-"));
// A socket in a directory of our own cannot be taken by somebody else while the server is down, as a port can.
const socket = join(directory, "redis.sock");
const url = process.env.REDIS_URL ?? `unix://${socket}`;
const children = new Set();
process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
});
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

/** Every write is on disk before it is answered, so that a crash loses none. */
async function startRedis() {
  const options = { port: 0, unixsocket: socket, dir: directory, appendonly: "yes", appendfsync: "always" };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const redis = spawn("redis-server", args, { stdio: ["ignore", "pipe", "inherit"] });
  children.add(redis);
  redis.once("error", () => {
    console.error("redis-server is not on PATH: install Redis 7, or give REDIS_URL of one that is running");
    process.exit(1);
  });
  for await (const line of createInterface({ input: redis.stdout }))
    if (line.includes("eady to accept")) break; // "Ready" or "is now ready"
  redis.stdout.resume();
  return redis;
}

async function startServer() {
  const env = { ...process.env, REDIS_URL: url, PORT: "0" };
  const child = fork(new URL("server.mjs", import.meta.url), { env });
  children.add(child.once("exit", (code) => assert.fail(`a server has ended: ${code}`)));
  const [port] = await once(child, "message");
  return { child, origin: `http://127.0.0.1:${port}` };
}

const post = async ({ origin }, body) => (await fetch(`${origin}/feed`, { method: "POST", body })).json();

/** Opens a stream. What it gives fills with the texts of posts, and with what invalidations are for. */
async function follow(server) {
  const [response] = await once(get(`${server.origin}/feed`), "response");
  const heard = [];
  createInterface({ input: response }).on("line", (line) => {
    const { text, type, reason } = line.startsWith("data: ") ? JSON.parse(line.slice(6)) : {};
    if (text || type) heard.push(text ?? `${type}: ${reason}`);
  });
  return heard;
}
async function until(what, condition) {
  for (const deadline = Date.now() + 10_000; !condition(); await wait(5))
    assert.ok(Date.now() < deadline, `waited 10 s for: ${what}`);
}

const show = (step, result) => console.log(`✓ ${step.padEnd(9)} ${result}`);

const redis = process.env.REDIS_URL ? undefined : await startRedis();
const kv = await createKV({ type: "redis", prefix: "live-feed", redis: { url } });
for (const key of await kv.keys("*")) await kv.del(key); // Redis may hold what an interrupted run left.
await kv.disconnect();
const [a, b] = await Promise.all([startServer(), startServer()]);
console.log(`A feed with two servers, A at ${a.origin} and B at ${b.origin}`);
const heard = await follow(b);
assert.deepEqual(await post(a, "one"), { id: 1, reached: 1 });
await until("the post", () => heard.length === 1);
show("publish", `posted on A, heard on B: ${heard}`);

if (redis === undefined) {
  await post(b, "two");
  console.log("- restart   left out: the Redis of REDIS_URL is not ours to kill");
} else {
  // B is held still until the post is made, so that it certainly comes too late for it.
  b.child.kill("SIGSTOP");
  redis.kill("SIGKILL");
  await once(redis, "exit");
  await startRedis();
  assert.deepEqual(await post(a, "two"), { id: 2, reached: 0 });
  show("restart", "Redis was killed and is back; posted on A, heard by nobody: B has yet to connect again");
  b.child.kill("SIGCONT");
  await until("the missed post", () => heard.length === 3);
  assert.deepEqual(heard, ["one", "invalidate: fanout-gap", "two"]);
  show("gap", `B was told (${heard[1]}), and read from the changelog: ${heard[2]}`);
}

assert.deepEqual(await post(a, "three"), { id: 3, reached: 1 });
await until("the next post", () => heard.at(-1) === "three");
show("publish", "posted on A, heard on B again: three");
process.exit(); // Ends the servers and Redis too.
