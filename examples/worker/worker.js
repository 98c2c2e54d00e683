// A counter, sessions, a rate limit and a live feed, in a Worker:
//   npm install && npx wrangler dev        (npm install --no-save ../..  in a clone), then, with BASE=http://localhost:8787
//   curl -X POST $BASE/visits
//   curl -c jar -d ada $BASE/session       curl -b jar $BASE/session       curl -b jar -X DELETE $BASE/session
//   curl -N $BASE/feed                     and elsewhere, logged in:       curl -b jar -d hello $BASE/feed

import { env } from "cloudflare:workers";
import {
  createDurableObjectKV,
  initializeEventSubscription,
  publishEvent,
  registerHandler,
  setGlobalKV,
  trackSubscription,
} from "covara-kv";

export { CovaraKVDurableObject } from "covara-kv"; // what wrangler.toml binds: the store itself

const SESSION_SECONDS = 3600;
const POSTS_PER_WINDOW = 5;
const WINDOW_SECONDS = 10;
const BEAT_MS = 15_000;
const STREAMS = "streams"; // the subscriptions of all open streams, in whichever isolate

const kv = createDurableObjectKV(env.COVARA_KV, { prefix: "example" });
setGlobalKV(kv); // the one that the fan-out goes by

const tokenOf = (request) => /\bsession=([\w-]+)/.exec(request.headers.get("cookie") ?? "")?.[1] ?? "";
const userOf = (request) => kv.get(`session:${tokenOf(request)}`);

async function logIn(request) {
  const [token, user] = [crypto.randomUUID(), await request.text()];
  await kv.set(`session:${token}`, user, { ex: SESSION_SECONDS });
  const cookie = `session=${token}; Max-Age=${SESSION_SECONDS}; Path=/; HttpOnly; Secure; SameSite=Lax`;
  return Response.json({ user }, { status: 201, headers: { "set-cookie": cookie } });
}

/** The first post of a window sets the counter and its end: in one transaction, so that there is none without an end. */
async function isWithinLimit(user) {
  const key = `posts:${user}`;
  const [, count] = await kv.multi().set(key, "0", { ex: WINDOW_SECONDS, nx: true }).incr(key).exec();
  return count <= POSTS_PER_WINDOW;
}

async function post(request) {
  const user = await userOf(request);
  if (user === null) return new Response("Log in first", { status: 401 });
  if (!(await isWithinLimit(user))) return new Response("Not so fast", { status: 429 });
  const event = { user, text: await request.text() };
  const open = await kv.smembers(STREAMS);
  // What is called at once goes to the object in one request.
  await Promise.all(open.map((subscriptionId) => publishEvent({ type: "added", subscriptionId, event })));
  return Response.json({ streams: open.length }, { status: 201 });
}

/** Sends each post from now on as a server-sent event. */
async function stream({ signal }, ctx) {
  const handlerId = crypto.randomUUID();
  const subscriptionId = `${handlerId}:posts`;
  const encoder = new TextEncoder();
  let write;
  const body = new ReadableStream({
    start(controller) {
      write = (line) => controller.enqueue(encoder.encode(`${line}\n\n`));
    },
  });
  // No request can use what is another's: each stream hears by a socket of its own, which the signal closes.
  registerHandler(handlerId, (event) => write(`data: ${event}`), { signal });
  await initializeEventSubscription(); // Resolves when the socket is live: from here on nothing is missed.
  trackSubscription(handlerId, subscriptionId);

  // That a client has left may show only when something is written to it.
  const beat = setInterval(() => write(":"), BEAT_MS);
  signal.addEventListener("abort", () => {
    clearInterval(beat);
    ctx.waitUntil(kv.srem(STREAMS, subscriptionId)); // Left behind, it costs a message that nobody takes.
  });
  await kv.sadd(STREAMS, subscriptionId);
  return new Response(body, {
    headers: { "content-type": "text/event-stream", "cache-control": "no-cache" },
  });
}

const routes = {
  "POST /visits": async () => Response.json({ visits: await kv.incr("visits") }),
  "POST /session": logIn,
  "GET /session": async (request) => Response.json({ user: await userOf(request) }),
  "DELETE /session": async (request) => Response.json({ ended: await kv.del(`session:${tokenOf(request)}`) }),
  "POST /feed": post,
  "GET /feed": stream,
};

export default {
  async fetch(request, _env, ctx) {
    const route = routes[`${request.method} ${new URL(request.url).pathname}`];
    return route === undefined ? new Response("Not found", { status: 404 }) : route(request, ctx);
  },
};
