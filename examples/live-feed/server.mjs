// One of the servers of a live feed. A post on any of them reaches the streams that are open on all of them.
//   REDIS_URL=redis://localhost:6379 PORT=3001 node examples/live-feed/server.mjs    and again with PORT=3002, then
//   curl -N localhost:3001/feed      and elsewhere      curl -d "hello" localhost:3002/feed

import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import {
  initializeEventSubscription,
  initializeKV,
  publishEvent,
  registerHandler,
  trackSubscription,
  unregisterHandler,
} from "covara-kv/kv";

const SUBSCRIPTIONS = "subscriptions:posts"; // of the open streams, on whichever server
const CHANGELOG = "changelog:posts"; // the last 1,000; their numbers go on for as long as Redis keeps its data

// Number and entry in one step: else a server could show post 6 while another had yet to enter post 5.
const ADD = `
  local id = redis.call("INCR", KEYS[1])
  local post = '{"id":' .. id .. ',"text":' .. ARGV[1] .. '}'
  redis.call("ZADD", KEYS[2], id, post)
  redis.call("ZREMRANGEBYRANK", KEYS[2], 0, -1001)
  return post`;

const kv = await initializeKV({
  type: "redis",
  prefix: "live-feed",
  redis: { url: process.env.REDIS_URL ?? "redis://127.0.0.1:6379" },
});

async function add(words) {
  const post = await kv.eval(ADD, [`${CHANGELOG}:id`, CHANGELOG], [JSON.stringify(words)]);
  const event = JSON.parse(String(post));
  const open = await kv.smembers(SUBSCRIPTIONS);
  // It is in the changelog by now. A stream that does not hear of it will find it there.
  const sent = await Promise.allSettled(
    open.map((subscriptionId) => publishEvent({ type: "added", subscriptionId, event })),
  );
  return { id: event.id, reached: sent.filter((one) => one.status === "fulfilled" && one.value).length };
}

/** Sends the posts after the client's Last-Event-ID, then each new one, as server-sent events. */
async function stream(request, response) {
  const handlerId = randomUUID();
  const subscriptionId = `${randomUUID()}:posts`;
  let last = Number(request.headers["last-event-id"] ?? 0);
  const send = (post) => {
    const { id } = JSON.parse(post);
    if (id <= last) return; // It came by the other way already.
    response.write(`id: ${id}\ndata: ${post}\n\n`);
    last = id;
  };
  // Safe at any time, also while another one is under way: `send` has the posts in order and each once.
  const catchUp = async () => {
    for (const post of await kv.zrangebyscore(CHANGELOG, `(${last}`, "+inf")) send(post);
  };
  const announce = () => kv.sadd(SUBSCRIPTIONS, subscriptionId);
  const deliver = (event) => {
    const { type, id } = JSON.parse(event);
    if (id <= last + 1) return send(event);
    // Either events may have been missed, or one is: the changelog has them. A failover may also have lost what the
    // old Redis wrote last, so the subscription is announced again. If that fails, the client comes back by itself.
    if (type === "invalidate") response.write(`event: invalidate\ndata: ${event}\n\n`);
    Promise.all([announce(), catchUp()]).catch(() => response.destroy());
  };

  response.setHeader("content-type", "text/event-stream").setHeader("cache-control", "no-cache");
  registerHandler(handlerId, deliver);
  trackSubscription(handlerId, subscriptionId);
  response.on("close", () => {
    unregisterHandler(handlerId);
    kv.srem(SUBSCRIPTIONS, subscriptionId).catch(() => {}); // Left behind, it costs a message that nobody takes.
  });
  // First be heard of, by this server (the first stream has it subscribe) and by all; then read. The other way round a post
  // that is made in between would reach nobody.
  await Promise.all([initializeEventSubscription(), announce()]);
  await catchUp();
  response.flushHeaders();
}

const server = createServer(async (request, response) => {
  try {
    const route = `${request.method} ${request.url}`;
    if (route === "GET /feed") return await stream(request, response);
    if (route !== "POST /feed") return response.writeHead(404).end();
    response.writeHead(201).end(JSON.stringify(await add(await text(request))));
  } catch (error) {
    console.error(error);
    response.destroy();
  }
});
await once(server.listen(Number(process.env.PORT ?? 0), "127.0.0.1"), "listening");
const { port } = Object(server.address());
if (process.send) process.send(port);
else console.log(`http://127.0.0.1:${port}/feed`);
process.once("disconnect", () => process.exit()); // Whoever forked it has ended.
