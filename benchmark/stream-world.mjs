// The framework's streams in the benchmark: the owner of each subscription, and the calls that the framework makes.
import { messageText, subscriptionName } from "./fanout-world.mjs";

export const EVENTS = "covara:events";
/** The number of streams of each instance. */
export const STREAMS = 10;

const RECORDS = "covara:subs:byres:posts";

/** The subscriptions of an instance. */
export const namesOf = (instance) =>
  Array.from({ length: STREAMS }, (_, stream) => subscriptionName(instance * STREAMS + stream));

/** The message of this number: the instances take turns, and so do the streams of each. */
export function textOf(message, instances, names) {
  const name = names[message % instances][Math.floor(message / instances) % STREAMS];
  return messageText(message, name);
}

/** Writes the record of a subscription, as the process with its stream does. */
export async function create(kv, id, handlerId) {
  await kv.hset(RECORDS, id, JSON.stringify({ id, resource: "posts", handlerId, filter: "" }));
  await kv.sadd(`covara:sub:objects:${id}`, "1");
}

/** Handles a message as the framework does. `write` gets the events of this instance's streams. Resolves once the message is handled. */
export const handlerOf = (kv, handlers, write) => async (text) => {
  const { subscriptionId, event } = JSON.parse(text);
  const record = await kv.hget(RECORDS, subscriptionId);
  await kv.smembers(`covara:sub:objects:${subscriptionId}`);
  if (record !== null && handlers.has(JSON.parse(record).handlerId)) write(event);
};
