// A server refuses the channels. Without an error the caller waits for ever, and without another attempt it never hears.
import assert from "node:assert/strict";
import {
  clearGlobalKV,
  createKV,
  getFanoutStats,
  hasGlobalKV,
  initializeEventSubscription,
  initializeKV,
  notifyAggregateWatchers,
  publishEvent,
  setGlobalKV,
} from "covara-kv";
import { eventually } from "../backends.js";
import { errorOf } from "../replies.js";
import { warningsOf } from "../warnings.js";
import {
  AGGREGATE,
  EVENTS,
  eventsOf,
  GAP,
  server,
  subscribers,
  test,
  type World,
  wire,
} from "./instances.js";

/** Opens the store of this thread as a user that may use only these channels. */
async function startAs(world: World, ...channels: string[]): Promise<void> {
  await permit(...channels);
  world.defer(() => server.admin.acl("DELUSER", "app"));
  const kv = await createKV({ type: "redis", redis: user() });
  world.defer(() => kv.disconnect());
  world.defer(clearGlobalKV);
  setGlobalKV(kv);
}

const user = () => ({ ...server.address, username: "app", password: "pw" });
const permit = (...channels: string[]) =>
  server.admin.acl(
    "SETUSER",
    "app",
    "on",
    ">pw",
    "~*",
    "+@all",
    "resetchannels",
    ...channels.map((name) => `&${name}`),
  );

const areSubscribed = (events: number, aggregate: number) =>
  eventually(async () => (await subscribers()).join() === [events, aggregate].join());

/** Fails unless `work` causes one warning, which tells that the channel could not be subscribed. */
async function expectWarning(work: () => Promise<unknown>): Promise<void> {
  const warnings = await warningsOf(work);
  assert.equal(warnings.length, 1, JSON.stringify(warnings));
  assert.equal(warnings[0]?.code, "COVARA_KV_CALLBACK");
  assert.match(warnings[0]?.message ?? "", /fan-out could not subscribe/);
}

test("a channel that may not be heard is refused with a warning, and heard once it may", async (world) => {
  await startAs(world, AGGREGATE);
  const [first, calls] = [world.handler("first", "s1"), world.watcher("users")];
  await expectWarning(async () => {
    assert.equal((await errorOf(initializeEventSubscription())).code, "NOPERM");
  });
  // The other channel is not affected.
  await areSubscribed(0, 1);
  await server.admin.publish(AGGREGATE, '{"resource":"users"}');
  await eventually(() => calls.length > 0);
  await server.admin.publish(EVENTS, wire("s1", "missed"));
  await permit(AGGREGATE, EVENTS);
  const second = world.handler("second", "s2");
  await areSubscribed(1, 1);
  await server.admin.publish(EVENTS, wire("s1", 1));
  await server.admin.publish(EVENTS, wire("s2", 2));
  // Both handlers come before the channel is subscribed, and so get a gap first.
  await eventually(() => eventsOf(first).at(-1) === "1" && eventsOf(second).at(-1) === "2");
});

test("a handler that comes when there is no permission costs a warning, and works when the next one comes", async (world) => {
  await startAs(world);
  await initializeEventSubscription();
  await expectWarning(async () => {
    world.handler("first", "s1");
    const { handlers } = getFanoutStats();
    assert.equal(handlers, 1);
    await warned();
  });
  await permit(EVENTS);
  world.handler("second", "s2");
  await areSubscribed(1, 0);
});

// A handler that cannot be heard for a while must be told of a gap. Otherwise it misses events without a sign.
test("a handler that could not be heard at first is told when it is", async (world) => {
  await startAs(world);
  await initializeEventSubscription();
  let first: ReturnType<World["handler"]> = [];
  await expectWarning(async () => {
    first = world.handler("first", "s1");
    await warned();
  });
  assert.equal(await server.admin.publish(EVENTS, wire("s1", "missed")), 0);
  await permit(EVENTS);
  world.handler("second", "s2");
  await areSubscribed(1, 0);
  await server.admin.publish(EVENTS, wire("s1", 1));
  await eventually(() => eventsOf(first).includes("1"));
  assert.deepEqual(eventsOf(first).sort(), [GAP, "1"].sort());
});

test("a permission that is taken away and given again leaves a gap that handlers are told of", async (world) => {
  await startAs(world, EVENTS);
  const first = world.handler("first", "s1");
  await initializeEventSubscription();
  await expectWarning(async () => {
    await permit(); // The server then ends the connections of this user's subscribers.
    await warned();
  });
  assert.equal(await server.admin.publish(EVENTS, wire("s1", "missed")), 0);
  first.length = 0;
  await permit(EVENTS);
  world.handler("second", "s2");
  await areSubscribed(1, 0);
  await server.admin.publish(EVENTS, wire("s1", 1));
  await eventually(() => eventsOf(first).includes("1"));
  assert.deepEqual(eventsOf(first).sort(), [GAP, "1"].sort());
});

// The first call is refused, with a warning. If the second call of initializeEventSubscription resolves, the caller believes that it is
// subscribed.
test("initializeEventSubscription tells of a refusal each time, and tries again", async (world) => {
  await startAs(world);
  const deliveries = world.handler("h", "s");
  await warningsOf(async () => {
    assert.equal((await errorOf(initializeEventSubscription())).code, "NOPERM");
    assert.equal((await errorOf(initializeEventSubscription())).code, "NOPERM");
  });
  await permit(EVENTS);
  await initializeEventSubscription();
  assert.equal(await server.admin.publish(EVENTS, wire("s", 1)), 1);
  await eventually(() => eventsOf(deliveries).includes("1"));
});

test("a change that may not be published is told here, and is taken for no other", async (world) => {
  await startAs(world, AGGREGATE);
  await server.admin.acl("SETUSER", "app", "-publish");
  const calls = world.watcher("users");
  await initializeEventSubscription();
  for (let n = 0; n < 3; n++) {
    assert.equal((await errorOf(notifyAggregateWatchers("users", [n]))).code, "NOPERM");
    await server.admin.publish(AGGREGATE, '{"resource":"users"}');
    await eventually(() => calls.length >= 2);
    assert.deepEqual(calls.splice(0), [[[n]], []]);
  }
  const event = { type: "added", subscriptionId: "elsewhere", event: 1 } as const;
  assert.equal((await errorOf(publishEvent(event))).code, "NOPERM");
});

test("initializeKV closes the store on which it could not subscribe", async (world) => {
  await permit();
  world.defer(() => server.admin.acl("DELUSER", "app"));
  world.handler("h", "s");
  await warningsOf(async () => {
    assert.equal((await errorOf(initializeKV({ type: "redis", redis: user() }))).code, "NOPERM");
  });
  assert.equal(hasGlobalKV(), false);
  await eventually(async () => (await server.clients()).length === 0);
});

/** Resolves at the next warning of the process. */
function warned(): Promise<void> {
  return new Promise((resolve) => process.once("warning", () => resolve()));
}
