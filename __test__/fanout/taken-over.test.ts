// Two streams track one subscriptionId, and the first one gets no more events. Without a warning the first time that one takes it over, no
// one notices.
import assert from "node:assert/strict";
import { after, beforeEach, test } from "node:test";
import {
  clearGlobalKV,
  createMemoryKV,
  publishEvent,
  registerHandler,
  setGlobalKV,
  trackSubscription,
  unregisterHandler,
} from "covara-kv";
import { warningsOf } from "../warnings.js";

const heard: string[] = [];
const handlers = ["first", "second", "third"];

setGlobalKV(createMemoryKV());
after(() => clearGlobalKV());

beforeEach(() => {
  heard.length = 0;
  for (const id of handlers)
    registerHandler(id, (event, subscription) => heard.push(`${id} ${subscription} ${event}`));
});
after(() => handlers.forEach(unregisterHandler));

// This test must be the first, as a process warns only once.
test("nothing is said while each handler has subscriptions of its own", async () => {
  const warnings = await warningsOf(() => {
    for (const id of handlers) trackSubscription(id, `of ${id}`);
    trackSubscription("first", "of first");
    // A handler with the same id replaces the one before.
    registerHandler("first", () => {});
    unregisterHandler("second");
    trackSubscription("third", "of second");
  });
  assert.deepEqual(warnings, []);
});

test("a second handler takes a subscription over, and the process warns once", async () => {
  const warnings = await warningsOf(async () => {
    trackSubscription("first", "a");
    trackSubscription("second", "a");
    trackSubscription("third", "a");
    trackSubscription("first", "b");
    trackSubscription("second", "b");
    await publishEvent({ type: "changed", subscriptionId: "a", event: 1 });
    await publishEvent({ type: "changed", subscriptionId: "b", event: 2 });
  });
  assert.deepEqual(heard, ["third a 1", "second b 2"]);
  assert.deepEqual(
    warnings.map(({ code }) => code),
    ["COVARA_KV_SUBSCRIPTION"],
  );
  assert.match(warnings[0]?.message ?? "", /^trackSubscription: a subscriptionId belongs to one handler/);
});
