// A tiny live feed over HTTP: sessions that expire, a rate limit, a changelog to resume from, and posts that reach
// every open stream. The first half is the feed; the second half uses it, checks each step, and ends.
//
//   npm run demo                                     on the embedded memory store
//   REDIS_URL=redis://localhost:6379 npm run demo    the same code on Redis

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, get } from "node:http";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { setTimeout as wait } from "node:timers/promises";
import { initializeKV } from "covara-kv/kv";

const SESSION_SECONDS = 3;
const POSTS_PER_WINDOW = 3;
const WINDOW_SECONDS = 10;
const CHANGELOG_LENGTH = 3;
const CHANNEL = "feed:posts"; // channels are shared by all prefixes, so it carries the feed's name itself

const url = process.env.REDIS_URL;
const kv = await initializeKV(
  url ? { type: "redis", prefix: "feed", redis: { url } } : { type: "memory", prefix: "feed" },
).catch((error) => {
  console.error(`The store cannot be opened. ${error.code}: ${error.message}`);
  process.exit(1);
});

// ---- The feed -------------------------------------------------------------------------------------------------

async function logIn(user) {
  const token = randomUUID();
  await kv.set(`session:${token}`, JSON.stringify({ user }), { ex: SESSION_SECONDS });
  return token;
}

/** The user of a session, which lives on for as long as it is used; nobody has to delete the others. */
async function userOf(token) {
  const session = await kv.get(`session:${token}`);
  if (session === null) return null;
  await kv.expire(`session:${token}`, SESSION_SECONDS);
  return JSON.parse(session).user;
}

/** Seconds to wait before the next post; 0 while the user is within the limit. */
async function secondsToWait(user) {
  const key = `posts:${user}`;
  // The first post of a window sets the counter and its end. In one transaction with INCR, since a counter whose
  // expiry got lost between two calls would lock the user out for ever.
  const [, count] = await kv.multi().set(key, "0", { ex: WINDOW_SECONDS, nx: true }).incr(key).exec();
  return Number(count) <= POSTS_PER_WINDOW ? 0 : kv.ttl(key);
}

async function publish(user, text) {
  const id = await kv.incr("changelog:id");
  const post = JSON.stringify({ id, user, text });
  // First into the changelog, then to the streams: who hears of a post can also find it.
  await kv.zadd("changelog", id, post);
  const old = await kv.zrangebyscore("changelog", "-inf", id - CHANGELOG_LENGTH);
  await kv.zrem("changelog", ...old);
  await kv.publish(CHANNEL, post);
  return { id };
}

/** Sends every post from now on as a server-sent event, and first those after the client's Last-Event-ID. */
async function stream(request, response) {
  const resumeFrom = request.headers["last-event-id"];
  let last = Number(resumeFrom ?? 0);
  const send = (post) => {
    const { id } = JSON.parse(post);
    if (id > last) response.write(`id: ${id}\ndata: ${post}\n\n`);
    last = Math.max(last, id);
  };

  // Listen first and read the changelog second: a post that comes in between is then seen twice, and `send` drops
  // the second; the other way round nobody would see it.
  const early = [];
  let receive = (post) => void early.push(post);
  const subscription = await kv.listen([CHANNEL], (post) => receive(post));
  response.on("close", () => subscription.close());
  if (response.destroyed) return subscription.close();

  response
    .writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" })
    .flushHeaders();
  const missed = resumeFrom ? await kv.zrangebyscore("changelog", last + 1, "+inf") : [];
  for (const post of [...missed, ...early]) send(post);
  receive = send;
}

async function handle(request, response) {
  const body = async () => JSON.parse(await text(request));
  const reply = (status, answer, headers = {}) =>
    response.writeHead(status, headers).end(JSON.stringify(answer));
  const route = `${request.method} ${request.url}`;
  if (route === "POST /sessions") return reply(201, { token: await logIn((await body()).user) });

  const user = await userOf(request.headers.authorization);
  if (user === null) return reply(401, { error: "log in first" });
  if (route === "GET /feed") return stream(request, response);
  if (route !== "POST /feed") return reply(404, { error: "no such page" });

  const seconds = await secondsToWait(user);
  if (seconds > 0) return reply(429, { error: `wait ${seconds} s` }, { "retry-after": seconds });
  return reply(201, await publish(user, (await body()).text));
}

const server = createServer((request, response) => {
  handle(request, response).catch((error) => {
    console.error(error);
    response.destroy();
  });
});

// ---- Its use --------------------------------------------------------------------------------------------------

async function call(path, body, token = "") {
  const request = { method: "POST", headers: { authorization: token }, body: JSON.stringify(body) };
  const response = await fetch(`${origin}${path}`, request);
  const retryAfter = Number(response.headers.get("retry-after"));
  return { status: response.status, body: JSON.parse(await response.text()), retryAfter };
}
const post = (token, text) => call("/feed", { text }, token);

/** Opens a stream; `texts` fills as posts arrive. */
async function follow(token, lastEventId) {
  const headers = { authorization: token, ...(lastEventId && { "last-event-id": lastEventId }) };
  const [response] = await once(get(`${origin}/feed`, { headers }), "response");
  assert.equal(response.statusCode, 200);
  const texts = [];
  createInterface({ input: response }).on("line", (line) => {
    if (line.startsWith("data: ")) texts.push(JSON.parse(line.slice(6)).text);
  });
  return { texts, close: () => response.destroy() };
}

async function until(what, condition) {
  for (const deadline = Date.now() + 10_000; !(await condition()); await wait(5)) {
    assert.ok(Date.now() < deadline, `waited 10 s for: ${what}`);
  }
}

const show = (step, result) => console.log(`✓ ${step.padEnd(12)} ${result}`);

for (const key of await kv.keys("*")) await kv.del(key); // Redis may hold what an interrupted run left
await once(server.listen(0, "127.0.0.1"), "listening");
const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
const origin = `http://127.0.0.1:${port}`;
console.log(`A feed on ${url ? "Redis" : "the embedded memory store"}, at ${origin}`);

try {
  const ada = (await call("/sessions", { user: "ada" })).body.token;
  const alan = (await call("/sessions", { user: "alan" })).body.token;
  const seconds = await kv.ttl(`session:${ada}`);
  assert.ok(seconds > 0 && seconds <= SESSION_SECONDS);
  show("sessions", `ada and alan are logged in; without a request ada's session ends in ${seconds} s`);

  const hers = await follow(ada);
  const his = await follow(alan);
  assert.equal((await post(ada, "one")).status, 201);
  await until("both streams have the post", () => hers.texts.length === 1 && his.texts.length === 1);
  show("publish", `ada posted "one"; her stream got ${hers.texts}, alan's got ${his.texts}`);

  his.close();
  await post(ada, "two");
  await post(ada, "three");
  const resumed = await follow(alan, 1);
  await until("the missed posts", () => resumed.texts.length === 2);
  assert.deepEqual(resumed.texts, ["two", "three"]);
  show("resume", `alan was away for two posts; with Last-Event-ID 1 he got ${resumed.texts.join(", ")}`);

  const refused = await post(ada, "one too many");
  assert.equal(refused.status, 429);
  assert.ok(refused.retryAfter > 0 && refused.retryAfter <= WINDOW_SECONDS);
  show("rate limit", `ada's post number ${POSTS_PER_WINDOW + 1} got 429: ${refused.body.error}`);

  assert.equal((await post(alan, "four")).status, 201);
  await until("alan's post on both streams", () => hers.texts.length === 4 && resumed.texts.length === 3);
  const kept = (await kv.zrangebyscore("changelog", "-inf", "+inf")).map((entry) => JSON.parse(entry).text);
  assert.deepEqual(kept, ["two", "three", "four"]);
  show("changelog", `4 posts were made, the last ${CHANGELOG_LENGTH} are kept: ${kept.join(", ")}`);

  await until("the session's end", async () => (await kv.ttl(`session:${ada}`)) === -2);
  const loggedOut = await post(ada, "still here?");
  assert.equal(loggedOut.status, 401);
  show("expiry", `ada was idle for ${SESSION_SECONDS} s; her next post got 401: ${loggedOut.body.error}`);

  hers.close();
  resumed.close();
} finally {
  server.close();
  server.closeAllConnections();
  await kv.disconnect();
}
