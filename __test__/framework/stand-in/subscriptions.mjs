import { randomUUID } from "node:crypto";
import { appendToChangelog } from "./changelog.mjs";
import { getGlobalKV } from "./kv/index.mjs";

const EVENTS = "covara:events";
const AGGREGATE = "covara:aggregate";

/** The open streams of this process, by handler: the function that writes to each, and its subscriptions. */
const handlers = new Map();
/** The resources whose changes other instances have told. */
const aggregates = [];

const recordsOf = (resource) => `covara:subs:byres:${resource}`;
const resourceOf = (subscriptionId) => subscriptionId.slice(subscriptionId.indexOf(":") + 1);

/** Adds a client's stream. The first one of the process subscribes both channels. */
export function openHandler(write) {
  const handlerId = randomUUID();
  handlers.set(handlerId, { write, subscriptions: [] });
  if (handlers.size === 1) void subscribeBoth();
  return handlerId;
}

/** Resolves to the id of a new subscription of an open stream. */
export async function subscribe(handlerId, resource) {
  const kv = getGlobalKV();
  const id = `${randomUUID()}:${resource}`;
  const record = { id, resource, handlerId, filter: "", createdAt: Date.now() };
  await kv.hset(recordsOf(resource), id, JSON.stringify(record));
  await kv.sadd("covara:subs:resources", resource);
  await kv.set(`covara:sub:seq:${id}`, "0");
  handlers.get(handlerId)?.subscriptions.push(id);
  return id;
}

/** Removes a stream. The last one of the process unsubscribes both channels. */
export async function closeHandler(handlerId) {
  const { subscriptions } = handlers.get(handlerId);
  handlers.delete(handlerId);
  if (handlers.size === 0) void unsubscribeBoth();
  const kv = getGlobalKV();
  for (const id of subscriptions) {
    await kv.hdel(recordsOf(resourceOf(id)), id);
    await kv.del(`covara:sub:objects:${id}`);
    await kv.del(`covara:sub:seq:${id}`);
  }
}

/** Called once for all streams of the process, and not awaited. */
async function subscribeBoth() {
  const kv = getGlobalKV();
  await kv.subscribe(EVENTS, onMessage);
  await kv.subscribe(AGGREGATE, onAggregate);
}

/** Not awaited. */
async function unsubscribeBoth() {
  const kv = getGlobalKV();
  await kv.unsubscribe(EVENTS);
  await kv.unsubscribe(AGGREGATE);
}

/** Tells the streams of all instances of a change. */
export async function mutate(resource, object) {
  void appendToChangelog(resource, { object });
  const kv = getGlobalKV();
  for (const [id, json] of Object.entries(await kv.hgetall(recordsOf(resource)))) {
    const { handlerId } = JSON.parse(json);
    const seq = await kv.incr(`covara:sub:seq:${id}`);
    const event = { type: "changed", seq, object };
    const handler = handlers.get(handlerId);
    if (handler !== undefined) handler.write(event);
    else await kv.publish(EVENTS, JSON.stringify({ type: "changed", subscriptionId: id, event }));
  }
  await kv.publish(AGGREGATE, JSON.stringify({ resource }));
}

/** Runs on every instance, for every message. */
async function onMessage(text) {
  const { subscriptionId, event } = JSON.parse(text);
  const kv = getGlobalKV();
  const json = await kv.hget(recordsOf(resourceOf(subscriptionId)), subscriptionId);
  await kv.smembers(`covara:sub:objects:${subscriptionId}`);
  if (json === null) return;
  handlers.get(JSON.parse(json).handlerId)?.write(event);
}

function onAggregate(text) {
  aggregates.push(JSON.parse(text).resource);
}

export function subscriptionState() {
  return { streams: handlers.size, aggregates: aggregates.length };
}
