// Objects and stores of different versions must understand each other for years: the bytes on the wire are those of
// docs/durable-object-protocol.md.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DurableObjectKVStore, type DurableObjectStubLike } from "covara-kv";
import { eventually } from "../backends.js";
import { FakeNamespace, type FakeWebSocket } from "./fake-namespace.js";

const page = readFileSync(join(__dirname, "../../docs/durable-object-protocol.md"), "utf8");

/** The example with this name in docs/durable-object-protocol.md. */
function example(name: string): string {
  const [, text] = RegExp(`^\`\`\`(?:json|text) ${name}\n(.*?)\n\`\`\`$`, "ms").exec(page) ?? [];
  return text ?? assert.fail(`the page has no example ${name}`);
}

/** A store on an object, with everything that both send. */
function open(prefix?: string, strict?: true) {
  const object = new FakeNamespace().object();
  const requests: string[] = [];
  const bodies: string[] = [];
  const responses: string[] = [];
  const stub: DurableObjectStubLike = {
    async fetch(input, init) {
      assert.ok(input.startsWith("https://covara-kv/"), input);
      requests.push(`${init?.method} ${input.slice("https://covara-kv".length)}`);
      if (init?.body !== undefined) bodies.push(init.body);
      const response = await object.fetch(new Request(input, init));
      if (response.status === 200) responses.push(await response.clone().text());
      return response;
    },
  };
  const options = { ...(prefix !== undefined && { prefix }), ...(strict && { strict }) };
  const send = async (path: string, init: RequestInit) => {
    const response = await object.fetch(new Request(`https://covara-kv${path}`, init));
    return { status: response.status, text: response.status === 200 ? await response.text() : "" };
  };
  return { kv: new DurableObjectKVStore(stub, options), object, requests, bodies, responses, send };
}

/** Replaces each random id with a fixed word. */
function withoutIds(requests: string[]): string[] {
  const words = new Map<string, string>();
  return requests.map((request) =>
    request.replace(/(id|replaces)=(\w+)/g, (_, name, id) => {
      if (!words.has(id)) words.set(id, words.size === 0 ? "OLD" : "ID");
      return `${name}=${words.get(id)}`;
    }),
  );
}

test("commands and their results", async () => {
  const { kv, requests, bodies, responses } = open("app");
  const { POSITIVE_INFINITY, NEGATIVE_INFINITY } = Number;
  const calls = [
    kv.set("k", "v", { ex: 60 }),
    kv.zadd("z", POSITIVE_INFINITY, "m"),
    kv.hset("h", "f", "v"),
    kv.get("k"),
  ];
  assert.deepEqual(await Promise.all(calls), [undefined, 1, 1, "v"]);
  assert.deepEqual(
    [requests, bodies, responses],
    [["POST /batch"], [example("batch")], [example("results")]],
  );

  const strict = open(undefined, true);
  await Promise.all([
    strict.kv.hset("h", "a", "1", "b", "2"),
    strict.kv.zadd("z", 1, "m", NEGATIVE_INFINITY, "n"),
  ]);
  assert.deepEqual(strict.bodies, [example("pairs")]);
});

test("an object answers what older stores send", async () => {
  const { send } = open();
  const post = (body: string) => send("/batch", { method: "POST", body });
  assert.deepEqual(await post(example("batch")), { status: 200, text: example("results") });
  const pairs = { status: 200, text: '{"results":[{"ok":true,"value":2},{"ok":true,"value":2}]}' };
  assert.deepEqual(await post(example("pairs")), pairs);
  const commands = [
    { op: "hget", args: ["app:k", "f"] },
    { op: "incr", args: ["app:k"] },
  ];
  assert.equal((await post(JSON.stringify({ commands, stopOnError: false }))).text, example("failure"));
});

test("a store understands what older objects answer", async () => {
  for (const name of ["results", "failure"]) {
    const stub = { fetch: async () => new Response(example(name)) };
    const kv = new DurableObjectKVStore(stub);
    const { results } = JSON.parse(example(name)) as { results: { ok: boolean; value?: unknown }[] };
    const outcomes = await Promise.allSettled(results.map(() => kv.get("k")));
    assert.deepEqual(
      outcomes.map((outcome) => (outcome.status === "fulfilled" ? outcome.value : outcome.reason.code)),
      results.map(({ ok, value }) => (ok ? value : "ERR")),
      name,
    );
  }
});

test("sockets are opened, replaced and left", async () => {
  const { kv, object, requests, bodies } = open();
  const codes: (number | undefined)[] = [];
  const noteCloseOf = (socket?: FakeWebSocket) =>
    socket?.other?.addEventListener("close", ({ code }) => codes.push(code));
  await kv.subscribe("news", () => {});
  noteCloseOf(object.getWebSockets()[0]);
  await Promise.all([kv.subscribe("a,b", () => {}), kv.psubscribe("user:*", () => {})]);
  const [server] = object.getWebSockets();
  const sent: string[] = [];
  const send = server?.send.bind(server);
  if (server !== undefined) {
    server.send = (data) => {
      sent.push(data);
      send?.(data);
    };
  }
  await kv.publish("news", "hello");
  noteCloseOf(server);
  await kv.disconnect();
  assert.deepEqual(sent, [example("message")]);
  const [first, second, , last] = withoutIds(requests);
  assert.deepEqual([first, second], ["GET /subscribe?id=OLD&channels=news", example("subscribe")]);
  assert.equal(last, example("leave"));
  await eventually(() => codes.length === 2);
  assert.deepEqual(codes, [4000, 1000]);
  assert.equal(bodies.length, 1);
});

test("long names are announced", async () => {
  const { kv, requests, bodies } = open();
  await kv.subscribe("old", () => {});
  const long = "n".repeat(8_000);
  await kv.subscribe(long, () => {});
  assert.deepEqual(withoutIds(requests).slice(1), ["POST /subscribe", example("announced")]);
  const id = /id=(\w+)/.exec(requests[2] ?? "")?.[1];
  assert.equal(bodies[0], `{"id":"${id}","channels":["old","${long}"],"patterns":[]}`);
  await kv.disconnect();
  const { send, object } = open();
  assert.equal((await send("/subscribe", { method: "POST", body: example("announce") })).status, 204);
  const headers = { Upgrade: "websocket" };
  assert.equal((await send("/subscribe?id=ID", { headers })).status, 101);
  assert.equal((await send("/subscribe?id=other", { headers })).status, 409);
  assert.equal(object.getWebSockets("news").length, 1);
});
