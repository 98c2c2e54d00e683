// A wrong argument that the fan-out takes registers a handler that never hears. Wrong ones are refused, and change nothing.
import assert from "node:assert/strict";
import {
  getAggregateWatcherCount,
  getFanoutStats,
  KVError,
  notifyAggregateWatchers,
  publishEvent,
  registerAggregateWatcher,
  registerHandler,
  trackSubscription,
  unregisterHandler,
  untrackSubscription,
} from "covara-kv";
import { errorOf } from "../replies.js";
import { test, useMemory } from "./instances.js";

test("wrong arguments are refused, and change nothing", async (world) => {
  const kv = useMemory(world);
  const deliveries = world.handler("h", "s");
  const calls = world.watcher("users");
  const published: string[] = [];
  await kv.psubscribe("*", (message) => published.push(message));
  const texts: unknown[] = [
    undefined,
    null,
    1,
    "",
    "\ud800",
    "a\udc00b",
    {},
    [],
    ["h"],
    Symbol("s"),
    () => {},
  ];
  const any = (value: unknown) => value as never;
  const throwing: [string, () => unknown][] = [
    ...texts.flatMap((text, n): [string, () => unknown][] => [
      [`registerHandler ${n}`, () => registerHandler(any(text), () => {})],
      [`unregisterHandler ${n}`, () => unregisterHandler(any(text))],
      [`trackSubscription ${n}`, () => trackSubscription(any(text), "t")],
      [`trackSubscription ${n}, 2`, () => trackSubscription("h", any(text))],
      [`untrackSubscription ${n}`, () => untrackSubscription(any(text))],
      [`registerAggregateWatcher ${n}`, () => registerAggregateWatcher(any(text), () => {})],
    ]),
    ...texts
      .slice(1)
      .map((text, n): [string, () => unknown] => [
        `getAggregateWatcherCount ${n}`,
        () => getAggregateWatcherCount(any(text)),
      ]),
    ["no such handler", () => trackSubscription("nobody", "s")],
    ...[undefined, null, 1, "f", {}].flatMap((callback): [string, () => unknown][] => [
      [`deliver ${callback}`, () => registerHandler("h", any(callback))],
      [`watcher ${callback}`, () => registerAggregateWatcher("users", any(callback))],
    ]),
    ...[null, 1, [], { signal: 1 }, { signal: null }, { signal: {} }, { sgnal: 1 }].map(
      (options): [string, () => unknown] => [
        `options ${JSON.stringify(options)}`,
        () => registerHandler("h", () => {}, any(options)),
      ],
    ),
    ["a getter", () => registerHandler("h", () => {}, any(throwingGetter("signal")))],
  ];
  for (const [what, call] of throwing) {
    assert.throws(call, (error) => error instanceof KVError && error.code === "INVALID_ARGUMENT", what);
  }
  const event = { type: "added", subscriptionId: "s", event: 1 } as const;
  const circular: unknown[] = [];
  circular.push(circular);
  const messages: unknown[] = [
    undefined,
    null,
    1,
    "s",
    [],
    {},
    ...[undefined, null, "", "Added", "add", 1, ["added"]].map((type) => ({ ...event, type })),
    ...texts.map((subscriptionId) => ({ ...event, subscriptionId })),
    ...[circular, 1n, [1n], undefined, () => {}, Symbol("s"), throwingGetter("a")].map((value) => ({
      ...event,
      event: value,
    })),
    { ...event, event: { toJSON: () => undefined } },
    throwingGetter("type"),
  ];
  const rejecting = [
    ...messages.map((message) => () => publishEvent(any(message))),
    ...texts.map((text) => () => notifyAggregateWatchers(any(text))),
    ...[null, 1, {}, "rows"].map((rows) => () => notifyAggregateWatchers("users", any(rows))),
  ];
  for (const [n, call] of rejecting.entries()) {
    assert.equal((await errorOf(call(), `call ${n}`)).code, "INVALID_ARGUMENT", `call ${n}`);
  }
  assert.deepEqual([deliveries, calls, published], [[], [], []]);
  const { handlers, subscriptions, watchers } = getFanoutStats();
  assert.deepEqual([handlers, subscriptions, watchers], [1, 1, 1]);
  assert.equal(await publishEvent(event), true);
  assert.equal(deliveries.length, 1);
});

function throwingGetter(name: string): object {
  return Object.defineProperty({}, name, {
    enumerable: true,
    get() {
      throw new Error("a getter");
    },
  });
}
