// PUBLISH may count otherwise than Redis counts connections, or a store receive other messages than a connection. Random subscriptions of
// several stores.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { createDurableObjectKV, createMemoryKV, type KVStore, type MessageCallback } from "covara-kv";
import fc from "fast-check";
import type { Redis } from "ioredis";
import { FakeNamespace } from "../durable-object/fake-namespace.js";
import { check, runs } from "./property.js";
import { useRedis } from "./redis.js";
import { literal } from "./steps.js";

const SUBSCRIBERS = 3;

const redis = useRedis();

/** The messages since the inbox has last been emptied: the pattern, if a pattern matches, the channel and the message. */
type Inbox = [pattern: string | null, channel: string, message: string][];
const inboxes: Inbox[] = Array.from({ length: SUBSCRIBERS }, () => []);

/** A connection whose messages go into an inbox. */
function connect(inbox: Inbox): Redis {
  const connection = redis.connect();
  connection.on("message", (channel, message) => inbox.push([null, channel, message]));
  connection.on("pmessage", (pattern, channel, message) => inbox.push([pattern, channel, message]));
  return connection;
}

const CHANNELS = ["a", "b", "ab", "", "a*", "\0", "é\u{1f600}", "*"];
const PATTERNS = ["*", "a*", "?", "[ab]", "", "\\*", "**", "a", "é*"];
const channel = fc.constantFrom(...CHANNELS);
const pattern = fc.constantFrom(...PATTERNS);
const subscriber = fc.nat(SUBSCRIBERS - 1);
const message = fc.string({ unit: "binary", maxLength: 3 });

type Step =
  | readonly ["subscribe" | "unsubscribe" | "psubscribe" | "punsubscribe", subscriber: number, name: string]
  | readonly ["publish", channel: string, message: string];

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.tuple(fc.constantFrom("subscribe", "subscribe", "unsubscribe"), subscriber, channel),
    fc.tuple(fc.constantFrom("psubscribe", "psubscribe", "punsubscribe"), subscriber, pattern),
    fc.tuple(fc.constant("publish"), channel, message),
    fc.tuple(fc.constant("publish"), channel, message),
  ),
  { maxLength: 40, size: "max" },
);

const namespace = new FakeNamespace();

/** Opens stores with the same name, which share messages. */
const sharing: Record<string, (name: string) => KVStore> = {
  memory: (shared) => createMemoryKV("", { shared }),
  "the Durable Object": (name) => createDurableObjectKV(namespace, { name }),
};

for (const [name, open] of Object.entries(sharing)) {
  test(`messages of ${name} reach the same subscribers as in Redis, counted alike`, () => compare(open));
}

async function compare(open: (name: string) => KVStore): Promise<void> {
  const connections = inboxes.map(connect);
  let runsSoFar = 0;
  let received = 0;
  await check(steps, runs(60), async (steps) => {
    runsSoFar += 1;
    const stores = inboxes.map(() => new Subscriber(open(`pubsub ${runsSoFar}`)));
    for (const step of steps) {
      if (step[0] === "publish") {
        received += await publish(stores, step[1], step[2]);
      } else {
        const [kind, subscriber, name] = step;
        await stores[subscriber]?.change(kind, name);
        await connections[subscriber]?.[kind](name);
      }
    }
    for (const connection of connections) {
      await connection.unsubscribe(...CHANNELS);
      await connection.punsubscribe(...PATTERNS);
    }
    for (const store of stores) await store.kv.disconnect();
  });
  for (const connection of connections) connection.disconnect();
  console.log(`${received.toLocaleString("en")} messages received`);
}

/** Publishes on both, and compares the receivers. Resolves to their number. */
async function publish(stores: Subscriber[], channel: string, message: string): Promise<number> {
  const expected = await redis.client.publish(channel, message);
  const count = await stores[0]?.kv.publish(channel, message);
  assert.equal(count, expected, `publish(${literal(channel)}) counts`);
  const all = [...inboxes, ...stores.map(({ inbox }) => inbox)];
  while (all.flat().length < 2 * expected) await setImmediate();
  for (const [index, store] of stores.entries()) {
    const ofConnection = inboxes[index] as Inbox;
    assert.deepEqual(store.inbox.map(literal).sort(), ofConnection.map(literal).sort());
    store.inbox.length = 0;
    ofConnection.length = 0;
  }
  return expected;
}

/** A store that shares messages with others, and its inbox. */
class Subscriber {
  readonly kv: KVStore;
  readonly inbox: Inbox = [];
  readonly #callbacks = new Map<string, MessageCallback>();

  constructor(kv: KVStore) {
    this.kv = kv;
  }

  change(kind: Exclude<Step[0], "publish">, name: string): Promise<void> {
    if (kind === "unsubscribe" || kind === "punsubscribe") return this.kv[kind](name);
    return this.kv[kind](name, this.#callback(kind, name));
  }

  /** The same callback for the same name, as a connection too subscribes to a name only once. */
  #callback(kind: string, name: string): MessageCallback {
    const id = literal([kind, name]);
    const pattern = kind === "psubscribe" ? name : null;
    const callback =
      this.#callbacks.get(id) ?? ((message, channel) => void this.inbox.push([pattern, channel, message]));
    this.#callbacks.set(id, callback);
    return callback;
  }
}
