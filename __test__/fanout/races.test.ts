// Two things happen at once, and a handler loses an event or a thread never ends. Each test has its race.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import {
  clearGlobalKV,
  createMemoryKV,
  initializeEventSubscription,
  notifyAggregateWatchers,
  publishEvent,
  registerAggregateWatcher,
  registerHandler,
  setGlobalKV,
  trackSubscription,
  unregisterHandler,
} from "covara-kv";
import { eventually } from "../backends.js";
import { errorOf } from "../replies.js";
import { GAP, server, test } from "./instances.js";

// While a handler is replaced, its id has no handler for a moment, and a gap is dropped.
test("a gap is told to a handler that is being registered again", async (world) => {
  await world.start();
  let gaps = 0;
  const deliver = (event: string) => {
    if (event === GAP) gaps += 1;
  };
  registerHandler("h", deliver);
  trackSubscription("h", "s");
  world.defer(() => unregisterHandler("h"));
  await initializeEventSubscription();
  for (let round = 1; round <= 5; round++) {
    let registering = true;
    const again = () => {
      if (!registering) return;
      for (let i = 0; i < 50; i++) registerHandler("h", deliver);
      setImmediate(again);
    };
    again();
    await server.admin.client("KILL", "TYPE", "pubsub");
    await eventually(() => gaps >= round);
    registering = false;
    assert.equal(gaps, round);
  }
});

// A thread that waits for initializeEventSubscription ends, as it has no handler that keeps it alive.
test("a thread that waits until it is heard stays alive", async () => {
  const program = `
    const { Worker, isMainThread, workerData } = require("node:worker_threads");
    const { initializeKV, initializeEventSubscription, registerHandler, getGlobalKV } = require("covara-kv");
    const redis = ${JSON.stringify(server.address)};
    (async () => {
      await initializeKV({ type: "redis", redis });
      if (!isMainThread) { console.log("heard"); return getGlobalKV().disconnect(); }
      registerHandler("h", () => {});
      const worker = new Worker(process.env.PROGRAM, { eval: true });
      worker.on("exit", async (code) => { console.log("ended", code); await getGlobalKV().disconnect(); });
    })();`;
  const options = {
    cwd: join(__dirname, "../.."),
    env: { ...process.env, PROGRAM: program },
    timeout: 30_000,
  };
  const output = await new Promise((resolve) =>
    execFile(process.execPath, ["--eval", program], options, (_, stdout, stderr) => resolve(stdout + stderr)),
  );
  assert.equal(output, "heard\nended 0\n");
});

// Each failure, in each thread, begins a chain of attempts of its own, and each publish begins another one.
test("a channel that is refused is asked for once a second, however much is published", async (world) => {
  await server.admin.call("ACL", "SETUSER", "deaf", "on", ">p", "+@all", "~*", "resetchannels");
  await world.start({ ...server.address, username: "deaf", password: "p" });
  const refused = async () => {
    const stats = await server.admin.info("commandstats");
    return Number(/cmdstat_subscribe:.*rejected_calls=(\d+)/.exec(stats)?.[1] ?? 0);
  };
  world.handler("h", "s");
  await eventually(async () => (await refused()) > 0);
  await Promise.all(
    Array.from({ length: 100 }, () =>
      errorOf(publishEvent({ type: "added", subscriptionId: "elsewhere", event: 1 })),
    ),
  );
  const before = await refused();
  await eventually(async () => (await refused()) >= before + 2);
  assert.ok((await refused()) <= before + 6, `${await refused()} after ${before}`);
});

// If the count of own messages that are to come back outlives the channel's subscription, later changes are taken for one's own.
test("a change is heard after one's own was published by a thread that had just ceased to watch", async () => {
  const kv = createMemoryKV();
  setGlobalKV(kv);
  await initializeEventSubscription();
  registerAggregateWatcher("users", () => {})();
  await notifyAggregateWatchers("users");
  let calls = 0;
  const leave = registerAggregateWatcher("users", () => void calls++);
  await kv.publish("covara:aggregate", '{"resource":"users"}');
  assert.equal(calls, 1);
  leave();
  clearGlobalKV();
  await kv.disconnect();
});

// If only the first 1,024 waiting events are delivered before publishEvent resolves, the others come after it.
test("what is published to a handler of this thread has been delivered when it resolves", async () => {
  let delivered = 0;
  const outcomes: Promise<boolean>[] = [];
  registerHandler("many", (event) => {
    delivered += 1;
    if (event !== "0") return;
    for (let i = 1; i <= 3_000; i++)
      outcomes.push(publishEvent({ type: "added", subscriptionId: "m", event: i }));
  });
  trackSubscription("many", "m");
  assert.equal(await publishEvent({ type: "added", subscriptionId: "m", event: 0 }), true);
  assert.equal(delivered, 3_001);
  assert.ok((await Promise.all(outcomes)).every((reached) => reached));
  unregisterHandler("many");
});
