// A subscription that is refused, late or lost may leave a callback that never hears, with no error.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import type { KVStore } from "covara-kv";
import {
  clearGlobalKV,
  type DiagnosticsMessages,
  initializeEventSubscription,
  initializeKV,
  KVError,
  registerHandler,
  unregisterHandler,
} from "covara-kv";
import { eventually } from "../backends.js";
import { confirmation, message } from "../fake-server.js";
import { errorOf, expectRefusal, refusal } from "../replies.js";
import { closedPort } from "../sockets.js";
import { emissions, SLACK, test, timeOf, type World } from "./faults.js";
import { movable } from "./movable.js";

const silent = () => {};

/** A server on which the user `u` may use only channels that begin with `allowed`. */
async function restricted({ redis, client, open }: World) {
  const server = await redis();
  const admin = client(server);
  await admin.call("ACL", "SETUSER", "u", "on", ">p", "+@all", "~*", "resetchannels", "&allowed*");
  const kv = await open(server, { username: "u", password: "p" });
  return { server, admin, kv };
}

/** Publishes, and resolves once the message has arrived. */
async function expectHeard(publisher: KVStore, channel: string, heard: readonly string[]): Promise<void> {
  const text = `sent ${heard.length}`;
  await publisher.publish(channel, text);
  await eventually(() => heard.includes(text));
}

test("a subscription that the server refuses leaves nothing behind", async (world) => {
  const { admin, kv } = await restricted(world);
  const refused = refusal("NOPERM", /^NOPERM /);
  await expectRefusal(kv.subscribe("other", silent), refused);
  await expectRefusal(kv.subscribe("other", silent), refused);
  await expectRefusal(kv.psubscribe("*", silent), refused);
  await expectRefusal(kv.listen(["allowed", "other"], silent), refused);
  assert.deepEqual(await admin.pubsub("CHANNELS"), []);

  const heard: string[] = [];
  await kv.subscribe("allowed", (text) => void heard.push(text));
  await admin.publish("allowed", "1");
  await admin.call("ACL", "SETUSER", "u", "allchannels");
  await kv.subscribe("other", (text) => void heard.push(text));
  await admin.publish("other", "2");
  await eventually(() => heard.length === 2);
  assert.deepEqual(heard, ["1", "2"]);
});

test("two calls that subscribe at once are both refused", async (world) => {
  const { kv } = await restricted(world);
  const both = [kv.subscribe("other", silent), kv.subscribe("other", () => {})];
  for (const each of both) await expectRefusal(each, refusal("NOPERM"));
});

test("a subscription that is refused after a reconnect is told by an error event", async (world) => {
  const { admin, kv } = await restricted(world);
  const heard: string[] = [];
  await kv.subscribe("allowed.a", (text) => void heard.push(text));
  await kv.subscribe("allowed.b", (text) => void heard.push(text));
  const [errors, gaps] = [emissions(kv, "error"), emissions(kv, "gap")];
  await admin.call("ACL", "SETUSER", "u", "resetchannels", "&allowed.b");
  await admin.client("KILL", "TYPE", "pubsub");
  await eventually(() => errors.length > 0 && gaps.length > 0);
  assert.deepEqual([errors.length, gaps.length], [1, 1]);
  assert.match(String(errors[0]), /NOPERM/);
  assert.deepEqual(await admin.pubsub("CHANNELS"), ["allowed.b"]);
  await admin.publish("allowed.b", "still heard");
  await eventually(() => heard.length > 0);
  assert.deepEqual(heard, ["still heard"]);
});

test("a name whose restored subscription was refused is asked for again by the next subscribe", async (world) => {
  const { admin, kv } = await restricted(world);
  await kv.subscribe("allowed.a", silent);
  const errors = emissions(kv, "error");
  await admin.call("ACL", "SETUSER", "u", "resetchannels", "&allowed.b");
  await admin.client("KILL", "TYPE", "pubsub");
  await eventually(() => errors.length > 0);
  await expectRefusal(
    kv.subscribe("allowed.a", () => {}),
    refusal("NOPERM"),
  );
});

test("messages come to every callback, in their order", async ({ redis, open }) => {
  const server = await redis();
  const [kv, publisher] = [await open(server), await open(server)];
  const [a, b, p]: string[][] = [[], [], []];
  await kv.subscribe("order", (text) => void a?.push(text));
  await kv.subscribe("order", (text) => void b?.push(text));
  await kv.psubscribe("ord*", (text) => void p?.push(text));
  const sent = Array.from({ length: 5_000 }, (_, index) => String(index));
  await Promise.all(sent.map((text) => publisher.publish("order", text)));
  await eventually(() => [a, b, p].every((heard) => heard?.length === sent.length));
  assert.deepEqual([a, b, p], [sent, sent, sent]);
});

test("a subscription that is never confirmed fails at its deadline and leaves nothing behind", async ({
  fake,
  open,
}) => {
  let confirms = false;
  const server = await fake({ answer: (command) => (confirms ? confirmation(command) : undefined) });
  const kv = await open(server, { commandTimeout: 300 });
  const subscribing = kv.subscribe("a", silent);
  const [time, error] = await Promise.all([timeOf(subscribing), errorOf(subscribing)]);
  assert.equal(error.code, "TIMEOUT");
  assert.ok(error.message.includes(`${server.host}:${server.port}`), error.message);
  assert.ok(time <= 300 + SLACK, `${time} ms`);

  // The connection waits too long for a reply, so it is replaced. The next one must not ask for `a` again.
  await eventually(() => server.peers.length >= 3);
  confirms = true;
  const heard: string[] = [];
  await kv.subscribe("b", (text) => void heard.push(text));
  const names = server.peers.at(-1)?.commands.filter(([name]) => name === "SUBSCRIBE");
  assert.deepEqual(names, [["SUBSCRIBE", "b"]]);
  server.peers.at(-1)?.send(message("a", "nobody's") + message("b", "ours"));
  await eventually(() => heard.length > 0);
  assert.deepEqual(heard, ["ours"]);
});

test("a subscription that is confirmed after its deadline is taken back", async ({ fake, open }) => {
  const server = await fake({
    answer: (command, peer) => {
      if (command[0] !== "SUBSCRIBE") return confirmation(command);
      setTimeout(() => peer.send(confirmation(command)), 400);
      return undefined;
    },
  });
  const kv = await open(server, { commandTimeout: 200 });
  await expectRefusal(kv.subscribe("a", silent), refusal("TIMEOUT"));
  await eventually(() => server.count("UNSUBSCRIBE") === 1);
});

test("a subscription that is tried again after its deadline is live once it resolves", async ({
  fake,
  open,
}) => {
  const subscribed = new Set<string>();
  let held = "";
  const server = await fake({
    answer: (command, peer) => {
      const [name, channel = ""] = command;
      if (name === "UNSUBSCRIBE") subscribed.delete(channel);
      if (name !== "SUBSCRIBE") return confirmation(command);
      subscribed.add(channel);
      held += confirmation(command);
      if (server.count("SUBSCRIBE") < 2) return undefined;
      setTimeout(() => peer.send(held), 50);
      return undefined;
    },
  });
  const kv = await open(server, { commandTimeout: 400 });
  await expectRefusal(kv.subscribe("a", silent), refusal("TIMEOUT"));
  const heard: string[] = [];
  await kv.subscribe("a", (text) => void heard.push(text));
  // A later subscription is confirmed later: by then, everything that the first two caused has come in.
  await kv.psubscribe("end", silent);
  assert.deepEqual([...subscribed], ["a"], "the server must still have the subscription");
  server.peers.at(-1)?.send(message("a", "1"));
  await eventually(() => heard.length > 0);
});

test("a name that was left and taken again while its SUBSCRIBE was under way is heard", async ({
  redis,
  open,
}) => {
  const server = await redis();
  const [kv, publisher] = [await open(server), await open(server)];
  const heard: string[] = [];
  const first = kv.subscribe("a", silent);
  const left = kv.unsubscribe("a");
  await kv.subscribe("a", (text) => void heard.push(text));
  await Promise.all([first, left]);
  await expectHeard(publisher, "a", heard);
});

test("a name that was left while its SUBSCRIBE was lost is not subscribed again", async ({ fake, open }) => {
  const server = await fake({
    // The first SUBSCRIBE to `a` is never answered, and the UNSUBSCRIBE ends the connection.
    answer: (command, peer) => {
      if (command[1] !== "a" || peer.index > 1) return confirmation(command);
      if (command[0] === "UNSUBSCRIBE") peer.socket.destroy();
      return undefined;
    },
  });
  const kv = await open(server, { commandTimeout: 2_000 });
  const subscribing = kv.subscribe("a", silent).catch(() => {});
  await eventually(() => server.count("SUBSCRIBE") === 1);
  await kv.unsubscribe("a");
  await subscribing;
  await kv.subscribe("b", silent);
  const last = server.peers.at(-1)?.commands ?? [];
  const subscribed = last.filter(([name]) => name === "SUBSCRIBE").map(([, name]) => name);
  const left = last.filter(([name]) => name === "UNSUBSCRIBE").map(([, name]) => name);
  assert.deepEqual(
    subscribed.filter((name) => !left.includes(name)),
    ["b"],
  );
});

test("a refused subscription that was left in the meantime lets no process end that hears others", async (world) => {
  const { server, admin } = await restricted(world);
  const redis = { host: server.host, port: server.port, username: "u", password: "p" };
  const script = `
    import { createKV } from "covara-kv";
    const kv = await createKV({ type: "redis", redis: ${JSON.stringify(redis)} });
    await kv.subscribe("allowed", () => process.exit(7));
    const refused = kv.subscribe("other", () => {});
    await Promise.allSettled([refused, kv.unsubscribe("other")]);
  `;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], { stdio: "inherit" });
  world.defer(() => child.kill("SIGKILL"));
  const exited = once(child, "exit");
  let over = false;
  exited.then(() => {
    over = true;
  });
  await eventually(async () => over || (await admin.publish("allowed", "the end")) === 1);
  assert.deepEqual(await exited, [7, null]);
});

// Without an event an outage of the subscribing connection is invisible: `status` is ready, and PUBLISH reaches no subscriber.
test("a subscribing connection that is away is told by an event, and shown by health", async (world) => {
  const { redis, open, client } = world;
  const server = await redis();
  const name = await movable(world, server);
  const kv = await open(name, { retryDelay: 20 }, "app");
  const told: DiagnosticsMessages["covara-kv:reconnecting"][] = [];
  const listener = (message: unknown) =>
    void told.push(message as DiagnosticsMessages["covara-kv:reconnecting"]);
  subscribe("covara-kv:reconnecting", listener);
  world.defer(() => unsubscribe("covara-kv:reconnecting", listener));
  const [reconnecting, ready] = [emissions(kv, "reconnecting"), emissions(kv, "ready")];
  await kv.subscribe("news", () => {});
  const of = async (role: string) =>
    (await kv.health()).connections.find(({ connection }) => connection === role);
  assert.equal((await of("subscriptions"))?.state, "ready");

  name.move({ host: server.host, port: await closedPort() });
  await client(server).call("CLIENT", "KILL", "TYPE", "pubsub");
  await eventually(() => reconnecting.length > 1 && told.length > 1);
  assert.deepEqual(
    reconnecting.map(({ connection, attempt }) => [connection, attempt]),
    reconnecting.map((_, index) => ["subscriptions", index + 1]),
  );
  assert.deepEqual([told[0]?.backend, told[0]?.connection], ["redis", "subscriptions"]);
  const away = await of("subscriptions");
  assert.equal(away?.state, "reconnecting");
  assert.ok(away.cause instanceof KVError && away.attempt > 0 && Number(away.lastHeard) <= away.since);
  // Commands have a connection of their own, which is not affected.
  assert.deepEqual([kv.status, await kv.get("k")], ["ready", null]);
  const { state, inFlight, waiting } = (await of("commands")) ?? {};
  assert.deepEqual([state, inFlight, waiting], ["ready", 0, 0]);

  name.move(server);
  await eventually(() => ready.length > 0);
  assert.deepEqual(ready, [{ connection: "subscriptions", node: `${name.host}:${name.port}` }]);
  assert.equal((await of("subscriptions"))?.state, "ready");
});

test("a fan-out that cannot hear is told too", async (world) => {
  const { redis, client } = world;
  const server = await redis();
  const name = await movable(world, server);
  const told: DiagnosticsMessages["covara-kv:reconnecting"][] = [];
  const listener = (message: unknown) =>
    void told.push(message as DiagnosticsMessages["covara-kv:reconnecting"]);
  subscribe("covara-kv:reconnecting", listener);
  world.defer(() => unsubscribe("covara-kv:reconnecting", listener));
  const { host, port } = name;
  const kv = await initializeKV({ type: "redis", redis: { host, port, retryDelay: 20 } });
  world.defer(async () => {
    clearGlobalKV();
    await kv.disconnect();
  });
  registerHandler("stream", () => {});
  world.defer(() => unregisterHandler("stream"));
  await initializeEventSubscription();
  name.move({ host: server.host, port: await closedPort() });
  await client(server).call("CLIENT", "KILL", "TYPE", "pubsub");
  await eventually(() =>
    told.some(({ backend, connection }) => `${backend} ${connection}` === "fanout subscriptions"),
  );
});
