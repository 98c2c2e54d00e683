// Requests that are slow, are lost, or are never answered. What comes later must neither overtake them nor wait for them for ever.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { createDurableObjectKV, type DurableObjectStubLike, type Gap } from "covara-kv";
import { eventually } from "../backends.js";
import { errorOf } from "../replies.js";
import { FakeNamespace } from "./fake-namespace.js";

type Fetch = DurableObjectStubLike["fetch"];

/** A store whose requests go through a function. */
function open(
  through: (fetch: Fetch, ...request: Parameters<Fetch>) => ReturnType<Fetch> = (fetch, ...request) =>
    fetch(...request),
) {
  const namespace = new FakeNamespace();
  const { get } = FakeNamespace.prototype;
  namespace.get = (id) => {
    const { fetch } = get.call(namespace, id);
    return { fetch: (...request) => through(fetch, ...request) };
  };
  return {
    namespace,
    object: namespace.object(),
    kv: createDurableObjectKV(namespace, { reconnectDelay: () => 1 }),
  };
}

/** Longer than a tick, and shorter than a request of `slow`. */
const soon = async () => {
  for (let turns = 0; turns < 3; turns++) await turn();
};

const slow = async (fetch: Fetch, ...request: Parameters<Fetch>) => {
  for (let turns = 0; turns < 20; turns++) await turn();
  return fetch(...request);
};

// A transaction waits for the answer to the commands before it. A later command must not reach the object first: its write would be lost.
test("what is called later does not overtake a transaction that is held back", async () => {
  const { kv } = open(slow);
  const calls: Promise<unknown>[] = [kv.set("k", "1"), kv.multi().set("k", "2").exec()];
  for (const value of ["3", "4", "5"]) {
    await soon();
    calls.push(kv.set("k", value), kv.rpush("l", value));
  }
  await Promise.all(calls);
  assert.deepEqual([await kv.get("k"), await kv.lrange("l", 0, -1)], ["5", ["3", "4", "5"]]);
  await kv.disconnect();
});

// More commands than one request takes leave in several, each after the answer to the one before.
test("what is called later does not overtake the rest of a long tick", async () => {
  const { kv } = open(slow);
  const values = Array.from({ length: 1_500 }, (_, index) => `${index}`);
  const calls = values.map((value) => kv.rpush("l", value));
  await soon();
  calls.push(kv.rpush("l", "last"));
  await Promise.all(calls);
  assert.deepEqual(await kv.lrange("l", -2, -1), ["1499", "last"]);
  await kv.disconnect();
});

// A hundred values of a megabyte in one tick are within the limits, and their request is over those of a Worker's memory.
test("a request is bounded by its text too", async () => {
  const lengths: number[] = [];
  const { kv } = open((fetch, url, init) => {
    lengths.push(String(init?.body ?? "").length);
    return fetch(url, init);
  });
  const value = "x".repeat(1 << 20);
  await Promise.all(Array.from({ length: 10 }, (_, index) => kv.set(`k${index}`, value)));
  assert.ok(lengths.length > 1 && lengths.every((length) => length < 5 << 20), `${lengths}`);
  await kv.disconnect();
});

// The last call counts. Opened by a connect that waited for the first disconnect, the store would stay open for ever.
test("a connect that waits is ended by a later disconnect", async () => {
  const { kv } = open();
  await kv.set("k", "1");
  const [, connecting] = await Promise.allSettled([kv.disconnect(), kv.connect(), kv.disconnect()]);
  assert.equal(connecting.status, "rejected");
  assert.equal((await errorOf(kv.get("k"))).code, "CLOSED");
});

// Some failures of a socket in a Worker come as this event alone. Taken for alive, it brings no message any more, and no gap is told.
test("a socket that fails without a close is opened again, and the gap is told", async () => {
  const { kv, object } = open();
  const [received, gaps, ready]: [string[], Gap[], unknown[]] = [[], [], []];
  kv.on("gap", (gap) => void gaps.push(gap));
  await kv.subscribe("c", (message) => void received.push(message));
  kv.on("ready", (event) => void ready.push(event));
  const [socket] = object.getWebSockets();
  socket?.other?.emit("error", {});
  await eventually(() => gaps.length > 0);
  await kv.publish("c", "x");
  await eventually(() => received.length > 0);
  // Who was told of the loss is told of its end.
  assert.deepEqual(ready, [{ connection: "subscriptions" }]);
  await kv.disconnect();
});

// Its failure must not take away what a later call has subscribed again: that call resolves, and hears nothing.
test("a subscription that is made again while the first one fails is live", async () => {
  let fails: (() => void) | undefined;
  const { kv } = open((fetch, ...request) => {
    if (fails !== undefined || !request[0].includes("subscribe")) return fetch(...request);
    return new Promise((_, reject) => {
      fails = () => reject(new Error("lost"));
    });
  });
  const first = errorOf(kv.subscribe("a", () => {}));
  await eventually(() => fails !== undefined);
  const received: string[] = [];
  const left = kv.unsubscribe("a").catch(() => {});
  const second = kv.subscribe("a", (message) => void received.push(message));
  fails?.();
  assert.equal((await first).code, "CONNECTION");
  await Promise.all([left, second]);
  assert.equal(await kv.publish("a", "x"), 1);
  await eventually(() => received.length > 0);
  await kv.disconnect();
});

// The request of a Worker may end while its socket opens, which then never does. Every later subscription would wait for it for ever.
test("a socket that never opens does not hold up later subscriptions", async () => {
  let isFirst = true;
  const { kv } = open((fetch, ...request) => {
    if (!isFirst || !request[0].includes("subscribe")) return fetch(...request);
    isFirst = false;
    return new Promise(() => {});
  });
  const first = errorOf(kv.subscribe("a", () => {}));
  await eventually(() => !isFirst);
  const received: string[] = [];
  const second = kv.subscribe("b", (message) => void received.push(message)).catch(() => {});
  assert.equal((await first).code, "TIMEOUT");
  await second;
  await kv.subscribe("b", (message) => void received.push(message));
  assert.equal(await kv.publish("b", "x"), 1);
  await eventually(() => received.length > 0);
  await kv.disconnect();
});
