// The framework subscribes its channels once, for the first stream of a process, and does not await the calls. A rejection would end the
// process or leave it silent.
import assert from "node:assert/strict";
import { createRedisKV, type KVStore } from "covara-kv";
import { eventually } from "../backends.js";
import { test, type World } from "../faults/faults.js";
import type { RedisServer } from "../redis-server.js";
import { expectRefusal, refusal } from "../replies.js";

const CHANNELS = ["covara:events", "covara:aggregate"] as const;

/** In each configuration a call fails soon, with this code. */
const CONFIGS = {
  TIMEOUT: { queueTimeout: 50, commandTimeout: 50, retryDelay: 20 },
  CONNECTION: { maxRetries: 1, retryDelay: 20 },
  QUEUE_FULL: { maxQueue: 1, retryDelay: 20 },
};

function opened(world: World, { host, port }: RedisServer, config: object = CONFIGS.TIMEOUT): KVStore {
  const kv = createRedisKV({ host, port, ...config });
  world.defer(() => kv.disconnect());
  return kv;
}

for (const [code, config] of Object.entries(CONFIGS)) {
  // After a rejection the first stream hears nothing until another stream opens.
  test(`subscribe of the framework's channels goes on past ${code}, and resolves once live`, async (world) => {
    const server = await world.redis();
    await server.kill();
    const kv = opened(world, server, config);
    if (code === "QUEUE_FULL") kv.subscribe("other", () => {}).catch(() => {});
    const heard: string[] = [];
    const subscribed = CHANNELS.map((channel) =>
      kv.subscribe(channel, (message) => void heard.push(message)),
    );
    let live = 0;
    for (const subscription of subscribed)
      subscription.then(() => {
        live += 1;
      });
    await expectRefusal(
      kv.subscribe("another", () => {}),
      refusal(code),
    );
    // Longer than a call waits in any of these configurations.
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(live, 0);
    await server.restart();
    await Promise.all(subscribed);
    for (const channel of CHANNELS) assert.equal(await kv.publish(channel, channel), 1);
    await eventually(() => heard.length === 2);
    assert.deepEqual(heard, CHANNELS);
  });
}

test("a channel that is left meanwhile is not subscribed, and one that is taken again after that is", async (world) => {
  const server = await world.redis();
  await server.kill();
  const kv = opened(world, server);
  const heard: string[] = [];
  const first = kv.subscribe("covara:events", () => void heard.push("first"));
  await kv.unsubscribe("covara:events");
  const second = kv.subscribe("covara:events", () => void heard.push("second"));
  await first;
  await server.restart();
  await second;
  assert.equal(await kv.publish("covara:events", "message"), 1);
  await eventually(() => heard.length > 0);
  assert.deepEqual(heard, ["second"]);
  await kv.unsubscribe("covara:events");
  assert.equal(await kv.publish("covara:events", "message"), 0);
});

test("the store's end ends it", async (world) => {
  const server = await world.redis();
  await server.kill();
  const kv = opened(world, server);
  const closed = expectRefusal(
    kv.subscribe("covara:events", () => {}),
    refusal("CLOSED"),
  );
  await kv.disconnect();
  await closed;
  await server.restart();
  await kv.connect();
  assert.equal(await kv.publish("covara:events", "message"), 0);
});

test("a server's refusal is told, and so is a wrong argument", async (world) => {
  const server = await world.redis({ user: "limited on nopass ~* resetchannels +@all" });
  const { host, port } = server;
  const kv = opened(world, server, { username: "limited", password: "any" });
  await expectRefusal(
    kv.subscribe("covara:events", () => {}),
    refusal("NOPERM"),
  );
  await expectRefusal(
    createRedisKV({ host, port }).subscribe("covara:events", "none" as never),
    refusal("INVALID_ARGUMENT"),
  );
});

test("listen, and other channels, keep their deadline", async (world) => {
  const server = await world.redis();
  await server.kill();
  const kv = opened(world, server);
  await expectRefusal(
    kv.listen(["covara:events"], () => {}),
    refusal("TIMEOUT"),
  );
  await expectRefusal(
    kv.psubscribe("covara:events", () => {}),
    refusal("TIMEOUT"),
  );
  await expectRefusal(
    kv.subscribe("covara:events:1", () => {}),
    refusal("TIMEOUT"),
  );
});
