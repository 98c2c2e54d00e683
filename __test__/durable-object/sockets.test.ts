// Sockets of an object are replaced, are lost, or belong to a sleeping object. Each may lose or repeat messages without a sign.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { createDurableObjectKV, type Gap, type KVStore, type MessageCallback } from "covara-kv";
import { eventually } from "../backends.js";
import { FakeNamespace } from "./fake-namespace.js";
import { FakeSqlStorage } from "./fake-storage.js";

/** Two stores on one object: one that publishes, and one that listens. */
function open(reconnectDelay?: (attempt: number) => number) {
  const namespace = new FakeNamespace();
  const options = reconnectDelay && { reconnectDelay };
  const kv = createDurableObjectKV(namespace, options);
  return { namespace, object: namespace.object(), kv, publisher: createDurableObjectKV(namespace) };
}

async function scope(kv: KVStore, channels: string[], callback: MessageCallback) {
  return (await kv.subscribeScoped?.(channels, callback)) ?? assert.fail("it has no subscribeScoped");
}

test("a store has one socket, whatever is subscribed at once", async () => {
  const { namespace, object, kv } = open();
  const names = Array.from({ length: 50 }, (_, index) => `c${index}`);
  await Promise.all(names.flatMap((name) => [kv.subscribe(name, () => {}), kv.psubscribe(name, () => {})]));
  await kv.subscribe("more", () => {});
  assert.equal(object.getWebSockets().length, 1);
  assert.deepEqual(namespace.requests, ["GET /subscribe", "GET /subscribe"]);
  await kv.disconnect();
  assert.equal(object.getWebSockets().length, 0);
});

// The test of an application may ask the runtime for the sockets of a channel, by tag.
test("a socket's tags are its channels, as far as there may be", async () => {
  const { object, kv } = open();
  const channels = Array.from({ length: 12 }, (_, index) => `c${index}`);
  await kv.listen(["ä".repeat(129), ...channels, "c0"], () => {}, { patterns: ["p*"] });
  const tagged = [...channels, "p*"].map((channel) => object.getWebSockets(channel).length);
  assert.deepEqual(tagged, [...Array(10).fill(1), 0, 0, 0]);
  await kv.disconnect();
});

test("Node's own Response refuses 101: the answer is an object with the status and the socket", async () => {
  const { object } = open();
  const headers = { Upgrade: "websocket" };
  const answer = await object.fetch(new Request("https://covara-kv/subscribe?channels=a", { headers }));
  assert.deepEqual([answer.status, Object.keys(answer)], [101, ["status", "webSocket"]]);
  assert.equal(object.getWebSockets("a").length, 1);
});

test("no message is lost or doubled while the socket is replaced, and their order stays", async () => {
  const { kv, publisher } = open();
  const received: string[] = [];
  await kv.subscribe("news", (message) => void received.push(message));
  let published = 0;
  let isChanging = true;
  const publishing = (async () => {
    while (isChanging) {
      await publisher.publish("news", `${published++}`);
      if (published % 3 === 0) await turn();
    }
  })();
  try {
    for (let round = 0; round < 100; round++) {
      await kv.subscribe(`other ${round}`, () => {});
      if (round % 2 === 0) await kv.unsubscribe(`other ${round}`);
    }
  } finally {
    isChanging = false;
  }
  await publishing;
  await eventually(() => received.length >= published);
  assert.deepEqual(
    received,
    Array.from({ length: published }, (_, index) => `${index}`),
  );
  assert.ok(published > 100, `${published} messages`);
  await kv.disconnect();
});

test("a handle of listen has a socket of its own, for all it listens to, and is told its gaps", async () => {
  const { object, kv, publisher } = open(() => 0);
  const received: string[] = [];
  const gaps: Gap[] = [];
  await kv.subscribe("a", () => {});
  const handle = await kv.listen(
    ["a", "b"],
    (message, channel) => void received.push(`${channel} ${message}`),
    {
      patterns: ["b*"],
      onGap: (gap) => gaps.push(gap),
    },
  );
  assert.equal(object.getWebSockets().length, 2);
  await publisher.publish("b", "1");
  await eventually(() => received.length === 2);
  assert.deepEqual(received, ["b 1", "b 1"]);
  object.breakSockets();
  await eventually(() => gaps.length === 1 && object.getWebSockets().length === 2);
  await publisher.publish("a", "2");
  await eventually(() => received.length === 3);
  await handle.close();
  assert.equal(object.getWebSockets().length, 1);
  await kv.disconnect();
});

test("listen is refused if the store is closed while the socket opens", async () => {
  const { object, kv } = open();
  const refused = assert.rejects(
    kv.listen(["a"], () => {}),
    { code: "CLOSED" },
  );
  await kv.disconnect();
  await refused;
  assert.equal(object.getWebSockets().length, 0);
});

test("subscribeScoped has a socket of its own, which goes with it", async () => {
  const { object, kv, publisher } = open();
  const received: string[] = [];
  await kv.subscribe("a", () => {});
  const scoped = await scope(kv, ["a", "b"], (message, channel) => {
    received.push(`${channel} ${message}`);
  });
  assert.equal(object.getWebSockets().length, 2);
  assert.equal(await publisher.publish("a", "1"), 2);
  await eventually(() => received.length === 1);
  await scoped.close();
  assert.equal(object.getWebSockets().length, 1);
  assert.deepEqual(received, ["a 1"]);
  await scope(kv, ["a"], () => {});
  await kv.disconnect();
  assert.equal(object.getWebSockets().length, 0);
});

test("sockets outlive the object's sleep, with long names too", async () => {
  const { object, kv, publisher } = open();
  const received: string[] = [];
  const long = "ä".repeat(5_000);
  await kv.listen(["a", long], (message) => void received.push(message), { patterns: ["p*"] });
  await scope(kv, ["a"], (message) => void received.push(message));
  object.evict();
  assert.equal(await publisher.publish("a", "1"), 2);
  assert.equal(await publisher.publish(long, "2"), 1);
  assert.equal(await publisher.publish("pattern", "3"), 1);
  await eventually(() => received.length === 4);
  object.evict();
  await kv.disconnect();
  assert.equal(await publisher.publish("a", "4"), 0);
  await eventually(async () => (await object.storage.list()).size === 0);
});

test("a lost socket is opened again with backoff, and the gap is told", async () => {
  const delays: number[] = [];
  const { namespace, object, kv, publisher } = open((attempt) => {
    delays.push(attempt);
    return 5;
  });
  const events: string[] = [];
  const gaps: Gap[] = [];
  const received: string[] = [];
  kv.on("reconnecting", ({ attempt, delay, cause }) => {
    events.push(`${attempt} ${delay} ${(cause as { code?: string }).code}`);
  });
  kv.on("gap", () => void events.push("gap"));
  await kv.listen(["a"], (message) => void received.push(message), { onGap: (gap) => gaps.push(gap) });
  await scope(kv, ["a"], (message) => void received.push(`scoped ${message}`));

  const lostAt = Date.now();
  namespace.failure = new Error("unreachable");
  object.breakSockets();
  await eventually(() => delays.includes(3));
  await publisher.publish("a", "missed").catch(() => {});
  namespace.failure = undefined;
  await eventually(() => events.filter((event) => event === "gap").length === 2);
  assert.deepEqual(events.slice(0, 4), [
    "1 5 CONNECTION",
    "1 5 CONNECTION",
    "2 5 CONNECTION",
    "2 5 CONNECTION",
  ]);
  const [gap, ...more] = gaps;
  assert.ok(gap !== undefined && gap.from <= lostAt && gap.to >= lostAt && gap.reason === "connection");
  assert.deepEqual(more, []);
  assert.equal(await publisher.publish("a", "again"), 2);
  await eventually(() => received.length === 2);
  assert.deepEqual(received.sort(), ["again", "scoped again"]);
  await kv.disconnect();
});

test("what is subscribed while the socket is lost does not wait for its turn", async () => {
  const { object, kv, publisher } = open(() => 60_000);
  const received: string[] = [];
  let gaps = 0;
  kv.on("gap", () => void gaps++);
  await kv.subscribe("a", (message) => void received.push(message));
  object.breakSockets();
  await kv.subscribe("b", (message) => void received.push(message));
  assert.equal(gaps, 1);
  await publisher.publish("a", "1");
  await publisher.publish("b", "2");
  await eventually(() => received.length === 2);
  assert.deepEqual(received, ["1", "2"]);
  await kv.disconnect();
});

// A connection may die without a close. Messages that it misses are then forgotten when its socket is replaced.
test("a socket that does not say that it has been replaced may have missed messages, and that is told", async () => {
  const { object, kv, publisher } = open();
  const gaps: Gap[] = [];
  kv.on("gap", (gap) => void gaps.push(gap));
  await kv.subscribe("a", () => assert.fail("it is dead"));
  const [socket] = object.getWebSockets();
  if (socket?.other) socket.other.emit = () => {};
  await publisher.publish("a", "missed");
  await kv.subscribe("b", () => {});
  assert.equal(gaps.length, 1);
  await kv.disconnect();
});

test("a socket is opened again whatever reconnectDelay does", async () => {
  const { object, kv, publisher } = open((attempt) => {
    if (attempt === 1) throw new Error("on purpose");
    return Number.NaN;
  });
  const errors: string[] = [];
  kv.on("error", ({ message }) => void errors.push(message));
  await kv.subscribe("a", () => {});
  object.breakSockets();
  await eventually(async () => (await publisher.publish("a", "1")) === 1);
  assert.deepEqual(errors, ["on purpose"]);
  await kv.disconnect();
});

// A timer waits at most 2^31 - 1 ms, and 1 ms for anything longer. So "never" becomes a thousand attempts a second.
test("a wait that no timer can hold is a long one", async () => {
  const { namespace, object, kv } = open(() => Number.POSITIVE_INFINITY);
  const delays: number[] = [];
  kv.on("reconnecting", ({ delay }) => void delays.push(delay));
  await kv.subscribe("a", () => {});
  namespace.failure = new Error("unreachable");
  object.breakSockets();
  await eventually(() => delays.length > 0);
  assert.deepEqual(delays, [2 ** 31 - 1]);
  await kv.disconnect();
});

test("what is unsubscribed while the object cannot be reached is gone all the same", async () => {
  const { namespace, object, kv, publisher } = open(() => 20);
  const received: string[] = [];
  await kv.subscribe("a", (message) => void received.push(message));
  await kv.subscribe("b", (message) => void received.push(message));
  namespace.failure = new Error("unreachable");
  object.breakSockets();
  await kv.unsubscribe("b");
  namespace.failure = undefined;
  await eventually(async () => (await publisher.publish("a", "1")) === 1);
  assert.equal(await publisher.publish("b", "2"), 0);
  await eventually(() => received.length > 0);
  assert.deepEqual(received, ["1"]);
  await kv.disconnect();
});

test("after disconnect nothing is opened", async () => {
  const { namespace, object, kv } = open(() => 5);
  // The other store's socket is lost later and has the same delay: when it is back, the closed store's would be back too.
  const other = createDurableObjectKV(namespace, { reconnectDelay: () => 5 });
  await kv.subscribe("a", () => {});
  await other.subscribe("a", () => {});
  object.breakSockets();
  await kv.disconnect();
  await eventually(() => object.getWebSockets().length > 0);
  assert.equal(object.getWebSockets().length, 1);
  await other.disconnect();
});

// In a Worker a socket whose request ends while it opens never opens. Without this disconnect waits for it for ever.
test("disconnect does not wait for a socket that never opens, and closes one that opens later", async () => {
  const { namespace, object, kv } = open();
  const get = namespace.get.bind(namespace);
  const held: (() => void)[] = [];
  namespace.get = (id) => ({
    async fetch(input, init) {
      if (init?.method === "GET") await new Promise<void>((resolve) => held.push(resolve));
      return get(id).fetch(input, init);
    },
  });
  const listening = assert.rejects(
    kv.listen(["a"], () => {}),
    { code: "CLOSED" },
  );
  await eventually(() => held.length === 1);
  await kv.disconnect();
  held[0]?.();
  await listening;
  await eventually(() => namespace.requests.includes("DELETE /subscribe"));
  assert.equal(object.getWebSockets().length, 0);
});

test("a subscription that fails leaves nothing behind", async () => {
  const { namespace, object, kv, publisher } = open();
  const received: string[] = [];
  await kv.subscribe("a", (message) => void received.push(message));
  namespace.failure = new Error("unreachable");
  await assert.rejects(
    kv.subscribe("b", () => assert.fail("never subscribed")),
    { code: "CONNECTION" },
  );
  await assert.rejects(
    scope(kv, ["b"], () => assert.fail("never subscribed")),
    { code: "CONNECTION" },
  );
  namespace.failure = undefined;
  assert.equal(object.getWebSockets().length, 1);
  assert.equal(await publisher.publish("b", "1"), 0);
  assert.equal(await publisher.publish("a", "2"), 1);
  await eventually(() => received.length === 1);
  await kv.subscribe("b", (message) => void received.push(message));
  await publisher.publish("b", "3");
  await eventually(() => received.length === 2);
  await kv.disconnect();
});

// A store announces names that are too long for a URL, and then opens the socket. If the socket fails, the object keeps the names for ever.
test("names that are announced and never opened go away, and the others stay", async () => {
  const storage = new FakeSqlStorage();
  const namespace = new FakeNamespace(() => storage);
  const object = namespace.object();
  const long = "c".repeat(9_000);
  const [kv, publisher] = [createDurableObjectKV(namespace), createDurableObjectKV(namespace)];
  const announced = () => [...storage.entries.keys()].filter((name) => name.startsWith("w\0"));
  const announce = (id: string) =>
    namespace.get("covara-kv").fetch("https://covara-kv/subscribe", {
      method: "POST",
      body: JSON.stringify({ id, channels: [long], patterns: [] }),
    });
  /** Calls the alarm as the runtime does: it removes the alarm first. */
  const ring = () => {
    storage.alarm = null;
    return object.alarm();
  };
  const received: string[] = [];
  await kv.subscribe(long, (message) => void received.push(message));
  const { now } = Date;
  try {
    for (let i = 0; i < 5; i++) await announce(`never opened ${i}`);
    assert.equal(announced().length, 6);
    // The names are kept for a minute, also while the object sleeps.
    object.evict();
    await ring();
    assert.equal(announced().length, 6);
    const due: number = storage.alarm ?? assert.fail("no alarm is set");
    assert.ok(due > now() && due <= now() + 60_000, `${due - now()} ms`);
    Date.now = () => now() + 30_000;
    await announce("not due yet");
    Date.now = () => due + 1_000;
    object.evict();
    await ring();
    assert.equal(announced().length, 2);
    assert.ok(storage.alarm !== null && storage.alarm > due + 1_000 && storage.alarm <= due + 31_000);
    const last = storage.alarm;
    Date.now = () => last;
    await ring();
    assert.equal(announced().length, 1);
    assert.equal(await publisher.publish(long, "heard"), 1);
    await eventually(() => received.length === 1);
  } finally {
    Date.now = now;
  }
  await kv.disconnect();
  await eventually(() => announced().length === 0);
});

test("without alarms, announced names go when the next are announced", async () => {
  const { namespace, object } = open();
  const { entries } = object.storage as unknown as { entries: Map<string, unknown> };
  const announce = (id: string) =>
    namespace.get("covara-kv").fetch("https://covara-kv/subscribe", {
      method: "POST",
      body: JSON.stringify({ id, channels: ["c"], patterns: [] }),
    });
  const { now } = Date;
  try {
    await announce("never opened");
    Date.now = () => now() + 60_001;
    await announce("just now");
  } finally {
    Date.now = now;
  }
  assert.deepEqual([...entries.keys()], ["w\0just now"]);
});
