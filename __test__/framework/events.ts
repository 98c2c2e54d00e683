// Shared by the tests of the framework's streams: records and messages as the framework writes them, and the messages that callbacks get.
import { randomUUID } from "node:crypto";
import { getFanoutStats, type KVStore, type StreamStats } from "covara-kv";
import type { Redis } from "ioredis";
import { eventually } from "../backends.js";

export const EVENTS = "covara:events";
export const AGGREGATE = "covara:aggregate";

export interface Message {
  readonly type: string;
  readonly subscriptionId: string;
  readonly event: unknown;
}

export const hashOf = (resource: string) => `covara:subs:byres:${resource}`;
export const channelOf = (id: string) => `${EVENTS}:${id}`;
export const newId = (resource = "posts") => `${randomUUID()}:${resource}`;

export function recordOf(id: string): string {
  const resource = id.slice(id.indexOf(":") + 1);
  return JSON.stringify({ id, resource, handlerId: "handler", filter: "", createdAt: Date.now() });
}

/** Writes the record of a subscription, as the process with its stream does. Resolves to its id. */
export async function open(kv: KVStore, id = newId()): Promise<string> {
  await kv.hset(hashOf(id.slice(id.indexOf(":") + 1)), id, recordOf(id));
  return id;
}

export async function close(kv: KVStore, id: string): Promise<void> {
  await kv.hdel(hashOf(id.slice(id.indexOf(":") + 1)), id);
}

/** The message of an event, as the framework publishes it. */
export const wire = (subscriptionId: string, event: unknown) =>
  JSON.stringify({ type: "changed", subscriptionId, event });

export const invalidate = (subscriptionId: string): Message => ({
  type: "invalidate",
  subscriptionId,
  event: { type: "invalidate", reason: "fanout-gap" },
});

/** Collects the messages that a callback of `subscribe` gets from now on. */
export async function hear(kv: KVStore, channel = EVENTS): Promise<Message[]> {
  const heard: Message[] = [];
  await kv.subscribe(channel, (message) => {
    if (message.startsWith("{")) heard.push(JSON.parse(message));
    else heard.push({ type: "none", subscriptionId: "", event: message });
  });
  return heard;
}

export const eventsOf = (messages: readonly Message[], id?: string) =>
  messages
    .filter(({ subscriptionId }) => id === undefined || subscriptionId === id)
    .map(({ event }) => event);

/** The statistics of the only store of this server that hears events. */
export function statsOf({ port }: { port: number }): StreamStats {
  const [stats, ...more] = getFanoutStats().streams.filter(({ server }) => server.endsWith(`:${port}`));
  if (stats === undefined || more.length > 0) throw new Error("not one store hears");
  return stats;
}

/** The number of subscribers of a channel, without those of patterns. */
export async function subscribersOf(client: Redis, channel: string): Promise<number> {
  return Number(((await client.pubsub("NUMSUB", channel)) as unknown[])[1]);
}

/** Resolves once the channels of all these subscriptions are live, or, with `live` false, are unsubscribed. */
export async function targeted(client: Redis, ids: readonly string[], live = true): Promise<void> {
  await eventually(async () => {
    const counts = (await client.pubsub("NUMSUB", ...ids.map(channelOf))) as unknown[];
    return ids.every((_, index) => Number(counts[2 * index + 1]) === (live ? 1 : 0));
  });
}
