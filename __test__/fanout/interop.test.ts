// A message in another form than the framework's is lost between mixed instances. ioredis stands for such an instance.
import assert from "node:assert/strict";
import { getFanoutStats, notifyAggregateWatchers, publishEvent } from "covara-kv";
import { eventually } from "../backends.js";
import { AGGREGATE, EVENTS, eventsOf, server, subscribers, test, type World, wire } from "./instances.js";

/** Collects the messages on the channels of the fan-out from now on, as `[channel, message]`. */
async function published(world: World): Promise<[channel: string, message: string][]> {
  const seen: [string, string][] = [];
  const client = world.client();
  client.on("message", (channel, message) => seen.push([channel, message]));
  await client.subscribe(EVENTS, AGGREGATE);
  return seen;
}

test("an event of another instance is handed over as the text that it came as", async (world) => {
  await world.start();
  const deliveries = world.handler("stream", "s:users", 'ü😀 " \\ \n:users');
  await eventually(async () => (await subscribers())[0] === 1);
  const texts = [
    '{"n":1}',
    ' {  "b" : 1.0e+2,\t"a":[ ] ,\r\n"a":null } ',
    '"\\ud83d\\ude00 😀 \\u00e9 é \\/ / \\ud800"',
    "123456789012345678901234567890.10",
    "-0",
    "null",
    "false",
    '""',
    '{"__proto__":{"x":1},"event":{"subscriptionId":"t"}}',
    `"${"x".repeat(300_000)}"`,
    `${"[".repeat(100)}${"]".repeat(100)}`,
  ];
  for (const text of texts) {
    await server.admin.publish(EVENTS, `{"type":"added","subscriptionId":"s:users","event":${text}}`);
  }
  const escaped = '"\\u00fc\\ud83d\\ude00 \\" \\\\ \\n:users"';
  await server.admin.publish(EVENTS, `{"type":"added","subscriptionId":${escaped},"event":0}`);
  await eventually(() => deliveries.length === texts.length + 1);
  assert.deepEqual(eventsOf(deliveries), [...texts.map((text) => text.trim()), "0"]);
  assert.equal(deliveries.at(-1)?.subscription, 'ü😀 " \\ \n:users');
});

test("fields may come in another order, with others between them, and of any type", async (world) => {
  await world.start();
  const deliveries = world.handler("stream", "s");
  const calls = world.watcher("users");
  await eventually(async () => (await subscribers()).join() === "1,1");
  for (const message of [
    '{"event":1,"subscriptionId":"s","type":"added"}',
    '{"subscriptionId":"s","event":2}',
    '{"at":{"subscriptionId":"other","event":0},"subscriptionId":"s","list":[{}],"event":3,"more":null}',
    ' { "type" : "of a later version" , "subscriptionId" : "s" , "event" : 4 } ',
  ]) {
    await server.admin.publish(EVENTS, message);
  }
  await server.admin.publish(AGGREGATE, ' { "by" : {"resource":"x"}, "resource" : "users" , "rows":[1] } ');
  await eventually(() => deliveries.length === 4 && calls.length === 1);
  assert.deepEqual(eventsOf(deliveries), ["1", "2", "3", "4"]);
  assert.deepEqual(calls, [[]]);
});

test("what is published is what other instances read", async (world) => {
  await world.start(server.address, "a-prefix");
  const seen = await published(world);
  const deliveries = world.handler("stream", "here");
  const events = [{ a: [1, "é"], at: new Date(0) }, "\ud800", 'quoted " \u2028', 0, null, false];
  for (const event of events) {
    assert.equal(await publishEvent({ type: "added", subscriptionId: "u:users", event }), true);
  }
  assert.equal(await publishEvent({ type: "removed", subscriptionId: 'ü"\\', event: {} }), true);
  assert.equal(await publishEvent({ type: "invalidate", subscriptionId: "here", event: 1 }), true);
  await notifyAggregateWatchers("users");
  await notifyAggregateWatchers('"é" 😀', [{ id: 1 }]);
  const texts = ['{"a":[1,"é"],"at":"1970-01-01T00:00:00.000Z"}', '"\\ud800"', '"quoted \\" \u2028"'];
  const expected = [
    ...[...texts, "0", "null", "false"].map((text) => [
      EVENTS,
      `{"type":"added","subscriptionId":"u:users","event":${text}}`,
    ]),
    [EVENTS, '{"type":"removed","subscriptionId":"ü\\"\\\\","event":{}}'],
    [AGGREGATE, '{"resource":"users"}'],
    [AGGREGATE, '{"resource":"\\"é\\" 😀"}'],
  ];
  await eventually(() => seen.length >= expected.length);
  assert.deepEqual(seen, expected);
  // An event whose handler is in this process is not published.
  assert.deepEqual(eventsOf(deliveries), ["1"]);
});

test("the text of an event is the same from this process, another one, and ioredis", async (world) => {
  await world.start();
  const other = await world.instance();
  await other.do("register", "there", ["there"]);
  const deliveries = world.handler("stream", "here");
  await eventually(async () => (await subscribers())[0] === 2);
  const event = {
    text: "\ud800 é \u2028 </script>",
    n: -0,
    big: 1e21,
    nothing: undefined,
    list: [undefined],
  };
  await publishEvent({ type: "added", subscriptionId: "here", event });
  await other.do("publish", [{ subscriptionId: "here", event }]);
  await publishEvent({ type: "added", subscriptionId: "there", event });
  await server.admin.publish(EVENTS, wire("here", event));
  await eventually(async () => deliveries.length === 3 && (await other.do("delivered")) === 1);
  const text = JSON.stringify(event);
  assert.deepEqual(eventsOf(deliveries), [text, text, text]);
  assert.deepEqual(eventsOf(await other.do("take")), [text]);
});

test("the store's prefix is not put before the channels", async (world) => {
  await world.start(server.address, "a-prefix");
  const [deliveries, calls] = [world.handler("stream", "s"), world.watcher("users")];
  await eventually(async () => (await subscribers()).join() === "1,1");
  assert.deepEqual(((await server.admin.pubsub("CHANNELS")) as string[]).sort(), [AGGREGATE, EVENTS]);
  await server.admin.publish(EVENTS, wire("s", 1));
  await server.admin.publish(AGGREGATE, '{"resource":"users"}');
  await eventually(() => deliveries.length === 1 && calls.length === 1);
});

test("malformed messages are counted and dropped, and do no harm", async (world) => {
  await world.start();
  const [deliveries, calls] = [world.handler("stream", "s"), world.watcher("users")];
  await eventually(async () => (await subscribers()).join() === "1,1");
  const before = getFanoutStats();
  const events = [
    "",
    " ",
    "null",
    "1",
    '"s"',
    "[]",
    "{}",
    "{",
    '{"type":"added"}',
    '{"subscriptionId":"s"}',
    '{"subscriptionId":null,"event":1}',
    '{"subscriptionId":["s"],"event":1}',
    '{"subscriptionId":"s","event":}',
    '{"subscriptionId":"s","event":undefined}',
    "{'subscriptionId':'s','event':1}",
    '{"subscriptionId":"s","event":1',
    '{"subscriptionId":"s","event":1}}',
    '{"subscriptionId":"s","event":{"a":1,}}',
    '{"subscriptionId":"s","event":"a\nb"}',
    '{"subscriptionId":"\\ud800","event":1}',
    `{"subscriptionId":"s","event":${"[".repeat(100_000)}}`,
    Buffer.from('{"subscriptionId":"s","event":"\xff"}', "latin1"),
    Buffer.from([0, 255, 254]),
  ];
  const changes = ["", "null", "[]", "{}", '{"resource":1}', '{"resource":"users"', '{"resource":"users"}x'];
  for (const message of events) await server.admin.publish(EVENTS, message);
  for (const message of changes) await server.admin.publish(AGGREGATE, message);
  await server.admin.publish(EVENTS, wire("s", "still here"));
  await server.admin.publish(EVENTS, wire("nobody", 1));
  await server.admin.publish(AGGREGATE, '{"resource":"users"}');
  await eventually(() => deliveries.length > 0 && calls.length > 0);
  assert.deepEqual([eventsOf(deliveries), calls], [['"still here"'], [[]]]);
  const after = getFanoutStats();
  const malformed = events.length + changes.length;
  assert.equal(after.malformed - before.malformed, malformed);
  assert.equal(after.seen - before.seen, malformed + 3);
  assert.equal(after.delivered - before.delivered, 1);
  assert.equal(after.notLocal - before.notLocal, 1);
});

test("publishEvent also tells whether an instance of the framework was reached", async (world) => {
  await world.start();
  const event = { type: "added", subscriptionId: "elsewhere", event: 1 } as const;
  assert.equal(await publishEvent(event), false);
  const deliveries = world.handler("stream", "s");
  // Only this process has subscribed, and it has no handler for the event.
  assert.equal(await publishEvent(event), false);
  await published(world);
  assert.equal(await publishEvent(event), true);
  assert.deepEqual(deliveries, []);
});
