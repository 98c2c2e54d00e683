// A server that refuses for a while (OOM, LOADING, a new password) may make a store give up, or print a secret.
import assert from "node:assert/strict";
import { createKV } from "covara-kv";
import { eventually } from "../backends.js";
import { type Answer, answerHandshake, bulk } from "../fake-server.js";
import { errorOf, expectRefusal, refusal } from "../replies.js";
import { Calls, emissions, PATIENT, SLACK, test } from "./faults.js";

const LOADING = "-LOADING Redis is loading the dataset in memory\r\n";

const OOM = refusal("OOM", /^OOM command not allowed/);
/** Less than an empty server uses. */
const FULL = "100kb";

test("a server without memory refuses writes with OOM, and reads go on", async ({ redis, client, open }) => {
  const server = await redis({ "maxmemory-policy": "noeviction" });
  const [kv, admin] = [await open(server), client(server)];
  await kv.set("a", "a=1");
  await admin.config("SET", "maxmemory", FULL);
  await expectRefusal(kv.set("b", "1"), OOM);
  await expectRefusal(kv.eval("return redis.call('incr', KEYS[1])", ["n"], []), OOM);
  assert.equal(await kv.get("a"), "a=1");
  assert.equal(await kv.del("a"), 1);
  assert.equal(kv.isConnected(), true);
  await admin.config("SET", "maxmemory", "0");
  assert.equal(await kv.set("b", "1"), undefined);
});

test("a transaction that meets OOM tells which command was refused, and nothing of it has run", async ({
  redis,
  client,
  open,
}) => {
  const server = await redis({ "maxmemory-policy": "noeviction" });
  const [kv, admin] = [await open(server), client(server)];
  await kv.set("a", "a=1");
  await admin.config("SET", "maxmemory", FULL);
  // In a transaction Redis refuses every command, as it would have to keep it in memory.
  const error = await errorOf(kv.multi().del("a").incr("n").exec());
  OOM.check(error);
  assert.deepEqual([error.index, error.command, error.results], [0, "DEL", undefined]);
  assert.equal(await kv.get("a"), "a=1");
});

test("a server that is loading is waited for", async ({ fake, open }) => {
  let loading = 5;
  const server = await fake({
    handshake: (command, peer) =>
      command[0] === "PING" && loading-- > 0 ? LOADING : answerHandshake(command, peer),
    answer: () => bulk("v"),
  });
  const kv = await open(server, { ...PATIENT, maxRetries: 100 });
  assert.equal(server.peers.length, 6);
  const reconnecting = emissions(kv, "reconnecting");
  loading = 3;
  server.peers.at(-1)?.socket.destroy();
  await eventually(() => server.peers.length === 10 && kv.isConnected());
  assert.match(String(reconnecting.at(-1)?.cause), /LOADING/);
  assert.equal(await kv.get("k"), "v");
});

test("a server that loads for too long is told by its own words", async ({ fake }) => {
  const server = await fake({
    handshake: (command, peer) => (command[0] === "PING" ? LOADING : answerHandshake(command, peer)),
  });
  const { host, port } = server;
  const creating = createKV({ type: "redis", redis: { host, port, retryDelay: 10 } });
  const { message } = await errorOf(creating);
  assert.match(message, new RegExp(`${host}:${port}.*LOADING`));
});

test("a command that is answered by LOADING rejects with it", async ({ fake, open }) => {
  const answer: Answer = ([name]) => (name === "GET" ? LOADING : bulk("v"));
  const kv = await open(await fake({ answer }));
  await expectRefusal(kv.get("k"), refusal("LOADING", /^LOADING Redis is loading/));
  assert.equal(await kv.hget("k", "f"), "v");
});

const PASSWORDS = /first-secret|second-secret/;

test("a password that is required all of a sudden is told, until it is not", async ({
  redis,
  client,
  open,
}) => {
  const server = await redis();
  const admin = client(server);
  const kv = await open(server, { commandTimeout: 500 });
  const reconnecting = emissions(kv, "reconnecting");
  await admin.config("SET", "requirepass", "second-secret");
  await admin.client("KILL", "TYPE", "normal", "SKIPME", "yes");
  await eventually(() => reconnecting.length >= 2);
  assert.equal(kv.isConnected(), false);
  const calls = new Calls(500, ["NOAUTH", "TIMEOUT"]);
  for (let index = 0; index < 5; index++) await calls.try(() => kv.set("a", "1"));
  assert.equal(calls.errors.length, 5);
  calls.checkDeadlines();
  for (const error of calls.errors) {
    assert.match(error.message, /NOAUTH/);
    assert.doesNotMatch(error.message, PASSWORDS);
  }
  await admin.config("SET", "requirepass", "");
  await eventually(() => kv.isConnected());
  assert.equal(await kv.get("a"), null);
});

test("a password that is wrong all of a sudden is told, and in no message", async ({
  redis,
  client,
  open,
}) => {
  const server = await redis();
  const admin = client(server);
  await admin.config("SET", "requirepass", "first-secret");
  const kv = await open(server, { password: "first-secret", commandTimeout: 500 });
  const reconnecting = emissions(kv, "reconnecting");
  await admin.config("SET", "requirepass", "second-secret");
  await admin.client("KILL", "TYPE", "normal", "SKIPME", "yes");
  await eventually(() => reconnecting.length >= 2);
  const calls = new Calls(500, ["WRONGPASS", "TIMEOUT"]);
  await calls.try(() => kv.get("a"));
  await calls.try(() => kv.multi().incr("n").exec());
  await calls.try(() => kv.subscribe("c", () => {}));
  calls.checkDeadlines();
  assert.equal(calls.errors.length, 3);
  const causes = reconnecting.slice(1).map(({ cause }) => cause);
  for (const error of [...calls.errors, ...causes]) {
    assert.match(error.message, /WRONGPASS/);
    assert.doesNotMatch(`${error.stack} ${JSON.stringify(error)}`, PASSWORDS);
  }
});

test("createKV with a wrong password rejects at once", async ({ redis, client }) => {
  const server = await redis();
  await client(server).config("SET", "requirepass", "first-secret");
  const { host, port } = server;
  const start = performance.now();
  const redisConfig = { host, port, password: "second-secret", ...PATIENT };
  const error = await errorOf(createKV({ type: "redis", redis: redisConfig }));
  assert.ok(performance.now() - start < SLACK);
  assert.equal(error.code, "WRONGPASS");
  assert.doesNotMatch(`${error.stack} ${JSON.stringify(error)}`, PASSWORDS);
});
