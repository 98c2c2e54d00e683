// Sentinels may tell names, or addresses that lead nowhere. Looked up once, taken for another server, or without a reason, no store is served.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { createRedisKV, type RedisConfig, type RedisKVStore } from "covara-kv";
import { eventually } from "../backends.js";
import { bulk } from "../fake-server.js";
import { emissions } from "../faults/faults.js";
import { type RedisServer, startRedis } from "../redis-server.js";
import { MASTER, startSentinels } from "../sentinel.js";
import { closedPort } from "../sockets.js";
import { by, fakeSentinel } from "./fake-sentinel.js";
import { refusalOf } from "./servers.js";

const told = (channel: string, text: string) => `>3\r\n${bulk("message")}${bulk(channel)}${bulk(text)}`;

/** The port of the server at the other end. */
async function portOf(kv: RedisKVStore): Promise<number> {
  const info = await kv.eval("return redis.call('info', 'server')", [], []);
  return Number(/^tcp_port:(\d+)/m.exec(String(info))?.[1]);
}

async function opened(config: RedisConfig): Promise<RedisKVStore> {
  const kv = createRedisKV({ commandTimeout: 2_000, retryDelay: 20, ...config });
  await kv.connect();
  return kv;
}

const named = ({ port }: RedisServer) => ({ host: "localhost", port });

// With announce-hostnames Sentinels tell names in place of addresses (redis PR#8282, bitnami #46594).
describe("two masters and a Sentinel that names one of them by its host's name", () => {
  let servers: readonly [RedisServer, RedisServer];
  before(async () => {
    servers = await Promise.all([startRedis(), startRedis()]);
  });
  after(() => Promise.all(servers.map((server) => server.stop())));

  test("the store is at that master, and follows at the next poll", async () => {
    const [one, other] = servers;
    await using sentinel = await fakeSentinel(named(one));
    await using kv = await opened(by(sentinel));
    assert.equal(await portOf(kv), one.port);
    sentinel.names = named(other);
    await eventually(async () => (await portOf(kv)) === other.port);
    assert.equal((await kv.health()).connections[0]?.node, `localhost:${other.port}`);
  });

  test("the store follows at an event", async () => {
    const [one, other] = servers;
    await using sentinel = await fakeSentinel(named(one));
    await using kv = await opened(by(sentinel));
    await eventually(() => sentinel.count("SUBSCRIBE") === 1);
    const moves = emissions(kv, "reconnecting");
    const places = `localhost ${one.port} localhost ${other.port}`;
    sentinel.send(told("+switch-master", `${MASTER} ${places}`));
    // The polls name the old one until then.
    await eventually(() => moves.length > 0);
    sentinel.names = named(other);
    await eventually(async () => (await portOf(kv)) === other.port);
  });
});

test("real Sentinels that tell names: a planned failover is followed", async () => {
  await using set = await startSentinels({ replicas: 1, sentinels: 1, hostname: "localhost" });
  await using kv = await opened({ sentinel: set.sentinel });
  const node = async () => (await kv.health()).connections[0]?.node;
  assert.equal(await node(), `localhost:${(await set.master()).port}`);
  const next = await set.failover();
  await eventually(async () => (await portOf(kv)) === next.port);
  assert.equal(await node(), `localhost:${next.port}`);
});

// A Sentinel in a container names the master by an address of its own network (node-redis #2962). Where that leads nowhere, the address is
// what an operator must see.
test("a Sentinel names an address that cannot be reached: the error has the master's name, the address and the reason", async () => {
  const port = await closedPort();
  await using sentinel = await fakeSentinel({ host: "127.0.0.1", port });
  const refusal = await refusalOf({ ...by(sentinel), maxRetries: 1, retryDelay: 10 });
  assert.equal(refusal.code, "CONNECTION");
  assert.match(
    refusal.message,
    new RegExp(`No connection to the master "${MASTER}" .*127\\.0\\.0\\.1:${port}`),
  );
  assert.match(refusal.message, /refused/i);
});
