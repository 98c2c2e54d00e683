import { createKV, setGlobalKV, clearGlobalKV, registerHandler, unregisterHandler, initializeEventSubscription, publishEvent, notifyAggregateWatchers, getFanoutStats } from "covara-kv";
import { eventually } from "../backends.js";
import { server, test, EVENTS, subscribers, eventsOf, wire, PATIENT } from "./instances.js";
import { setTimeout as wait } from "node:timers/promises";

test("left, redis", async (world) => {
  await world.start();
  const results: boolean[] = [];
  for (let round = 0; round < 40; round++) {
      registerHandler("h", () => {});
      if (round % 2 === 0) await initializeEventSubscription();
      unregisterHandler("h");
      results.push(await publishEvent({ type: "added", subscriptionId: "s", event: 1 }));
  }
  console.log(results.map(Number).join(""));
});

test("acl", async (world) => {
  const permit = (...c: string[]) => server.admin.acl("SETUSER", "app", "on", ">pw", "~*", "+@all", "resetchannels", ...c);
  await permit("&" + EVENTS);
  const kv = await createKV({ type: "redis", redis: { ...server.address, username: "app", password: "pw" } });
  world.defer(() => kv.disconnect());
  world.defer(clearGlobalKV);
  setGlobalKV(kv);
  const first = world.handler("first", "s1");
  await initializeEventSubscription();
  await permit();
  await wait(500);
  console.log("after refusal", eventsOf(first), getFanoutStats(), await subscribers());
  // same with another channel allowed and watchers there
  await permit("&" + EVENTS, "&covara:aggregate");
  const calls = world.watcher("users");
  await initializeEventSubscription();
  world.handler("second");
  await eventually(async () => (await subscribers()).join() === "1,1");
  first.length = 0;
  await permit("&covara:aggregate");
  await wait(500);
  console.log("after refusal of one", eventsOf(first), calls, await subscribers());
  await server.admin.acl("DELUSER", "app");
});

test("reached while own connection is lost", async (world) => {
  await world.start({ ...server.address, ...PATIENT });
  world.handler("h", "here");
  const other = await world.instance();
  await other.do("register", "x", ["there"]);
  await eventually(async () => (await subscribers())[0] === 2);
  let falses = 0, n = 0;
  for (let i = 0; i < 20; i++) {
    const list = (await server.clients()).filter((c) => c.sub !== "0");
    // unknown which one is ours: kill the first
    const kill = server.admin.client("KILL", "ID", list[0]!.id as string);
    const p = [];
    for (let j = 0; j < 50; j++) { p.push(publishEvent({ type: "added", subscriptionId: "there", event: 1 })); n++; await new Promise(setImmediate); }
    falses += (await Promise.all(p)).filter((x) => !x).length;
    await kill;
    await eventually(async () => (await subscribers())[0] === 2);
  }
  console.log({ n, falses, delivered: await other.do("delivered") });
});
