// Not all servers and proxies know HELLO, and not all refuse it in Redis's words. A strict handshake cannot connect to them.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { createKV, KVError, type RedisConfig } from "covara-kv";
import type { Redis } from "ioredis";
import { eventually } from "../backends.js";
import { type Answer, answerHandshake, bulk, type FakeServer, OK, type Peer } from "../fake-server.js";
import { errorOf } from "../replies.js";
import { emissions, ONE_ATTEMPT, test } from "./faults.js";

const creating = ({ host, port }: { host: string; port: number }, redis: RedisConfig = {}) =>
  createKV({ type: "redis", redis: { host, port, retryDelay: 10, ...redis } });

const unknown = ([name]: string[]) => `-ERR unknown command '${name}'\r\n`;

/** Answers the commands in `known`, and all others with `other`. */
const knowing =
  (known: Record<string, string>, other: Answer = unknown): Answer =>
  (command, peer) =>
    known[command[0] ?? ""] ?? other(command, peer);

const closes: Answer = (_, { socket }) => {
  socket.end();
  return undefined;
};

const namesOf = (peer: Peer | undefined) => (peer?.commands ?? []).map(([name]) => name);

/** Checks that a store works on the server. Resolves to the commands of the last handshake. */
async function works(server: FakeServer, redis?: RedisConfig): Promise<(string | undefined)[]> {
  await using kv = await creating(server, redis);
  assert.equal(await kv.get("k"), "v");
  return namesOf(server.peers.at(-1));
}

const answer: Answer = ([name]) => (name === "GET" ? bulk("v") : OK);
const OLD = { PING: "+PONG\r\n", ROLE: `*1\r\n${bulk("master")}`, AUTH: OK };

// HELLO must count as unknown in any words. If only Redis's words count, createKV fails.
for (const refusal of [
  "ERR unsupported command 'HELLO'",
  "ERR unknown or unsupported command",
  "ERR syntax error",
  "ERR Protocol version is not an integer or out of range",
  "NOPERM this user has no permissions to run the 'hello' command",
  "ERR wrong number of arguments for 'hello' command",
  "NOPROTO unsupported protocol version",
  "UNKNOWN",
]) {
  test(`HELLO refused by "${refusal}" is RESP 2`, async ({ fake }) => {
    const server = await fake({ handshake: knowing({ ...OLD, HELLO: `-${refusal}\r\n` }), answer });
    const sent = await works(server, { password: "p", clientName: "n" });
    const first = ["HELLO", "CLIENT", "CLIENT", "PING"];
    assert.deepEqual(sent, [...first, "AUTH", "CLIENT", "ROLE", "INFO", "PING", "GET"]);
    assert.equal(server.peers.length, 1);
  });
}

// Proxies that require AUTH first answer HELLO with NOAUTH, even where it has a password.
test("NOAUTH before HELLO, although a password is given, is RESP 2 with AUTH", async ({ fake }) => {
  let authenticated = false;
  const server = await fake({
    handshake: (command, peer) => {
      authenticated ||= command[0] === "AUTH";
      return authenticated ? knowing(OLD)(command, peer) : "-NOAUTH Authentication required.\r\n";
    },
    answer,
  });
  await works(server, { username: "u", password: "p" });
  const auth = server.peers[0]?.commands.find(([name]) => name === "AUTH");
  assert.deepEqual(auth, ["AUTH", "u", "p"]);
});

test("NOAUTH without a password is told as it is, at the first attempt", async ({ fake }) => {
  const server = await fake({ handshake: () => "-NOAUTH Authentication required.\r\n" });
  const error = await errorOf(creating(server, ONE_ATTEMPT));
  assert.equal(error.code, "NOAUTH");
  assert.equal(server.peers.length, 1);
});

test("WRONGPASS is told as it is, and nothing else is tried", async ({ fake }) => {
  const refusal = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
  const server = await fake({ handshake: knowing({ ...OLD, HELLO: refusal }) });
  const error = await errorOf(creating(server, { password: "p", ...ONE_ATTEMPT }));
  assert.equal(error.code, "WRONGPASS");
  assert.equal(server.peers.length, 1);
  assert.equal(server.count("AUTH"), 0);
});

// twemproxy and similar proxies answer an unknown command by closing the connection.
for (const [what, redis, bare] of [
  ["alone", {}, ["PING", "GET"]],
  ["with a password", { password: "p", clientName: "n" }, ["AUTH", "PING", "GET"]],
] as const) {
  test(`a proxy that closes on HELLO, CLIENT and ROLE is sent no more than it knows: ${what}`, async ({
    fake,
  }) => {
    const server = await fake({ handshake: knowing({ PING: "+PONG\r\n", AUTH: OK }, closes), answer });
    assert.deepEqual(await works(server, { maxRetries: 1, ...redis }), bare);
    assert.equal(server.peers.length, 2);
  });
}

test("a proxy that refuses HELLO in words and closes then is sent no more than it knows", async ({
  fake,
}) => {
  const server = await fake({
    handshake: knowing({ PING: "+PONG\r\n" }, (command, { socket }) => {
      socket.end(unknown(command));
      return undefined;
    }),
    answer,
  });
  assert.deepEqual(await works(server), ["PING", "GET"]);
});

test("the handshake that a proxy wants is remembered when the connection is lost", async ({
  fake,
  defer,
}) => {
  const server = await fake({ handshake: knowing({ PING: "+PONG\r\n" }, closes), answer });
  const kv = await creating(server);
  defer(() => kv.disconnect());
  assert.equal(await kv.get("k"), "v");
  server.peers.at(-1)?.socket.destroy();
  await eventually(() => !kv.isConnected());
  assert.equal(await kv.get("k"), "v");
  assert.deepEqual(server.peers.map(namesOf).slice(2), [["PING", "GET"]]);
});

// If a database other than 0 is asked for, another one must not be used instead.
test("SELECT refused matters only if a database was asked for", async ({ fake }) => {
  const server = await fake({ handshake: knowing(OLD), answer });
  await works(server);
  const error = await errorOf(creating(server, { db: 3 }));
  assert.match(error.message, /^ERR unknown command 'SELECT'/);
});

test("protocol: 2 says no HELLO, and protocol: 3 wants nothing less", async ({ fake, redis }) => {
  const server = await fake({ answer });
  assert.deepEqual(await works(server, { protocol: 2, password: "p" }), [
    ...["AUTH", "ROLE", "INFO", "PING"],
    "GET",
  ]);
  const old = await fake({ handshake: knowing(OLD), answer });
  const error = await errorOf(creating(old, { protocol: 3 }));
  assert.match(error.message, /^ERR unknown command 'HELLO'/);
  assert.equal(old.count("ROLE"), 0);
  const real = await redis();
  for (const protocol of [2, 3] as const) {
    await using kv = await creating(real, { protocol });
    const { server } = kv as unknown as { server: { resp: number; role: string } };
    assert.deepEqual([server.resp, server.role], [protocol, "master"]);
    await kv.zadd("z", 1.5, "m");
    assert.equal(await kv.zscore("z", "m"), 1.5);
    const heard: string[] = [];
    await kv.subscribe("c", (message) => void heard.push(message));
    await kv.publish("c", "1");
    await eventually(() => heard.length === 1);
  }
});

// The server tells its reason. An error that says "closed the connection at once" hides it.
test("a server that has no room for another client says so in the error and its cause", async ({
  redis,
  client,
}) => {
  const server = await redis();
  await client(server).config("SET", "maxclients", "1");
  const error = await errorOf(creating(server));
  assert.equal(error.code, "CONNECTION");
  assert.match(error.message, /after 3 attempts: ERR max number of clients reached$/);
  assert.ok(error.cause instanceof KVError);
  assert.deepEqual([error.cause.code, error.cause.message], ["ERR", "ERR max number of clients reached"]);
});

test("a server in protected mode says so, at the first attempt", async ({ fake }) => {
  const denied = "DENIED Redis is running in protected mode because protected mode is enabled";
  const server = await fake({ accepted: ({ socket }) => void socket.end(`-${denied}\r\n`) });
  const error = await errorOf(creating(server, ONE_ATTEMPT));
  assert.deepEqual([error.code, error.message], ["DENIED", denied]);
  assert.equal(server.peers.length, 1);
});

test("what a server says before it closes a connection is the reason of the loss", async ({
  fake,
  defer,
}) => {
  const server = await fake({ answer });
  const kv = await creating(server, { retryDelay: 60_000 });
  defer(() => kv.disconnect());
  const reconnecting = emissions(kv, "reconnecting");
  server.peers[0]?.socket.end("-ERR the proxy is going down\r\n");
  await eventually(() => reconnecting.length > 0);
  const cause = reconnecting[0]?.cause as KVError | undefined;
  assert.deepEqual([cause?.code, cause?.message], ["ERR", "ERR the proxy is going down"]);
});

test("a server that answers with an error and then nothing is told by its own words", async ({ fake }) => {
  const server = await fake({
    accepted: (peer) => peer.send("-ERR go away\r\n"),
    handshake: () => undefined,
  });
  const error = await errorOf(creating(server, { connectTimeout: 100, maxRetries: 1 }));
  assert.match(error.message, /did not answer within 100 ms, but for "ERR go away"$/);
});

// A Sentinel answers PING. Without this check createKV resolves, and each command fails.
test("a Sentinel is CONFIG, which says what to do", async ({ redis }) => {
  const master = await redis();
  const monitor = `monitor m 127.0.0.1 ${master.port} 1`;
  const sentinel = await redis({ sentinel: monitor }, "--sentinel");
  for (const config of [{}, { protocol: 2 }, { db: 1 }] as const) {
    const error = await errorOf(creating(sentinel, config));
    assert.equal(error.code, "CONFIG");
    assert.match(
      error.message,
      new RegExp(`:${sentinel.port} is a Sentinel, .*: give it as redis\\.sentinel`),
    );
  }
});

test("a Sentinel that knows no HELLO is CONFIG", async ({ fake }) => {
  const role = `*2\r\n${bulk("sentinel")}*1\r\n${bulk("m")}`;
  const server = await fake({ handshake: knowing({ PING: "+PONG\r\n", ROLE: role }) });
  assert.equal((await errorOf(creating(server))).code, "CONFIG");
});

/** ADDSLOTS for each slot, as Redis 6.2 has no ADDSLOTSRANGE. */
const addSlots = (admin: Redis, first: number, last: number) =>
  admin.call("CLUSTER", "ADDSLOTS", ...Array.from({ length: last - first + 1 }, (_, index) => first + index));

// If a node of a cluster is taken for a single server, keys of other nodes fail with MOVED.
test("a node of a cluster is known by its handshake, and asked for its slots", async ({
  redis,
  client,
  defer,
}) => {
  const server = await redis({ "cluster-enabled": "yes" });
  const admin = client(server);
  await addSlots(admin, 0, 16383);
  while (!String(await admin.cluster("INFO")).includes("cluster_state:ok")) await sleep(10);
  for (const protocol of [2, 3] as const) {
    const kv = await creating(server, { protocol });
    defer(() => kv.disconnect());
    await kv.set("k", "v");
    assert.equal(await kv.get("k"), "v");
    await assert.rejects(kv.multi().set("a", "1").set("b", "2").exec(), { code: "CROSSSLOT" });
  }
});

test("a node of a cluster that does not tell its slots is CONNECTION, which says so", async ({ fake }) => {
  const hello = `%2\r\n${bulk("mode")}${bulk("cluster")}${bulk("role")}${bulk("master")}`;
  const server = await fake({
    handshake: (command, peer) => (command[0] === "HELLO" ? hello : answerHandshake(command, peer)),
    answer: unknown,
  });
  const error = await errorOf(creating(server));
  assert.equal(error.code, "CONNECTION");
  assert.match(error.message, /has told its slots: .* does not tell its slots: ERR unknown command/);
});
