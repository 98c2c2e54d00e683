// Sentinels name the server of a store. One that asks them wrongly, or believes a wrong one, has no server. Failovers: faults/.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { createKV, createRedisKV, type RedisConfig, type RedisKVStore } from "covara-kv";
import { Redis } from "ioredis";
import { eventually } from "../backends.js";
import { type Answer, answerHandshake, bulk } from "../fake-server.js";
import { type RedisServer, startRedis } from "../redis-server.js";
import { MASTER, type SentinelSet, startSentinels } from "../sentinel.js";
import { closedPort, HOST } from "../sockets.js";
import { by, fakeSentinel } from "./fake-sentinel.js";
import { open, refusalOf } from "./servers.js";

const told = (channel: string, text: string) => `>3\r\n${bulk("message")}${bulk(channel)}${bulk(text)}`;

/** The port of the server at the other end. */
async function portOf(kv: RedisKVStore): Promise<number> {
  const info = await kv.eval("return redis.call('info', 'server')", [], []);
  return Number(/^tcp_port:(\d+)/m.exec(String(info))?.[1]);
}

describe("two masters and a Sentinel that names one of them", () => {
  let [one, other]: RedisServer[] = [];
  before(async () => {
    [one, other] = await Promise.all([startRedis(), startRedis()]);
  });
  after(() => Promise.all([one?.stop(), other?.stop()]));
  const servers = () => [one, other] as [RedisServer, RedisServer];

  async function opened(config: RedisConfig): Promise<RedisKVStore> {
    const kv = createRedisKV({ commandTimeout: 2_000, ...config });
    await kv.connect();
    return kv;
  }

  test("the store follows at the next poll, without an event", async () => {
    const [one, other] = servers();
    await using sentinel = await fakeSentinel(one);
    await using kv = await opened(by(sentinel));
    assert.equal(await portOf(kv), one.port);
    sentinel.names = other;
    const moved = performance.now();
    await eventually(async () => (await portOf(kv)) === other.port);
    const took = performance.now() - moved;
    assert.ok(took < 1_500, `${took} ms`);
  });

  test("the store follows at an event, between two polls", async () => {
    const [one, other] = servers();
    await using sentinel = await fakeSentinel(one);
    await using kv = await opened(by(sentinel));
    const moves: unknown[] = [];
    kv.on("reconnecting", (event) => moves.push(event));
    const places = `${one.host} ${one.port} ${other.host} ${other.port}`;
    sentinel.send(told("+switch-master", `${MASTER} ${places}`));
    sentinel.names = other;
    await eventually(() => moves.length > 0);
    assert.equal(await portOf(kv), other.port);
  });

  // An address that a Sentinel tells may lead to another Sentinel from here: it would name the master of another deployment.
  test("a Sentinel that another one names counts if it says that it is the one that was meant", async () => {
    const [one, other] = servers();
    await using first = await fakeSentinel(one);
    await using second = await fakeSentinel(one);
    await using stranger = await fakeSentinel(other);
    await using dead = await fakeSentinel(other);
    first.id = "a";
    second.id = "b";
    stranger.id = "x";
    first.others = [
      { host: second.host, port: second.port, id: "b" },
      { host: stranger.host, port: stranger.port, id: "c" },
      { host: dead.host, port: dead.port, id: "d", flags: "s_down,sentinel" },
      // Itself, by another address.
      { host: "localhost", port: first.port, id: "a" },
    ];
    await using kv = await opened(by(first));
    await eventually(() => second.count("SUBSCRIBE") === 1 && stranger.peers.length > 0);
    await eventually(() => stranger.peers.every(({ socket }) => socket.destroyed));
    const known = (kv as RedisKVStore & { sentinels: { node: string }[] }).sentinels.map(({ node }) => node);
    assert.deepEqual(
      known,
      [first, second].map(({ host, port }) => `${host}:${port}`),
    );
    assert.deepEqual([first.peers.length, dead.peers.length], [1, 0]);
    assert.equal(stranger.commands.filter(([, word]) => word === "GET-MASTER-ADDR-BY-NAME").length, 0);
    second.send(told("+switch-master", `${MASTER} ${one.host} ${one.port} ${other.host} ${other.port}`));
    first.names = other;
    second.names = other;
    await eventually(async () => (await portOf(kv)) === other.port);
  });

  // Another master's switch must not be taken for ours (node-redis-sentinel PR#53).
  test("the switch of another master, or one that cannot be read, changes nothing", async () => {
    const [one, other] = servers();
    await using sentinel = await fakeSentinel(one);
    await using kv = await opened(by(sentinel));
    const moves: unknown[] = [];
    kv.on("reconnecting", (event) => moves.push(event));
    const places = `${one.host} ${one.port} ${other.host} ${other.port}`;
    const replica = `slave ${other.host}:${other.port} ${other.host} ${other.port}`;
    for (const text of [`${MASTER}2 ${places}`, `another ${places}`, MASTER, `${MASTER} a b c d`, ""]) {
      sentinel.send(told("+switch-master", text));
    }
    for (const text of [`${replica} @ another ${one.host} ${one.port}`, replica, "@", ""]) {
      sentinel.send(told("+failover-state-wait-promotion", text));
    }
    const polls = sentinel.count("SENTINEL");
    await eventually(() => sentinel.count("SENTINEL") >= polls + 2);
    assert.deepEqual([moves, await portOf(kv)], [[], one.port]);
  });

  // A failover's leader tells of the promotion a second before any Sentinel names the new master. Until then what the old one takes is
  // lost.
  test("a replica that is being promoted is the master once it says so", async () => {
    const [one, other] = servers();
    const admin = new Redis({ ...other, lazyConnect: false });
    try {
      await admin.call("REPLICAOF", one.host, one.port);
      await using sentinel = await fakeSentinel(one);
      await using kv = await opened(by(sentinel));
      const place = `slave ${other.host}:${other.port} ${other.host} ${other.port}`;
      sentinel.send(told("+failover-state-wait-promotion", `${place} @ ${MASTER} ${one.host} ${one.port}`));
      await wait(100);
      assert.equal(await portOf(kv), one.port, "it is none yet");
      await admin.call("REPLICAOF", "NO", "ONE");
      const promoted = performance.now();
      await eventually(async () => (await portOf(kv)) === other.port);
      assert.ok(performance.now() - promoted < 1_000);
      // The Sentinel goes on naming the old one, as they do until the failover's end.
      const polls = sentinel.count("SENTINEL");
      await eventually(() => sentinel.count("SENTINEL") >= polls + 3);
      assert.equal(await portOf(kv), other.port);
    } finally {
      await admin.call("REPLICAOF", "NO", "ONE");
      admin.disconnect();
    }
  });

  test("a Sentinel that was cut off and names the old master is not followed", async () => {
    const [one, other] = servers();
    await using stale = await fakeSentinel(one);
    await using first = await fakeSentinel(one);
    await using second = await fakeSentinel(one);
    await using kv = await opened(by(stale, first, second));
    assert.equal(await portOf(kv), one.port);
    first.names = second.names = other;
    await eventually(async () => (await portOf(kv)) === other.port);
    const polls = stale.count("SENTINEL");
    const moves: unknown[] = [];
    kv.on("reconnecting", (event) => moves.push(event));
    await eventually(() => stale.count("SENTINEL") >= polls + 3);
    assert.deepEqual(moves, []);
  });

  // The master that a Sentinel names may be a replica already. Writes then fail with READONLY until the clients are restarted.
  test("a replica that is named as the master is left, and asked for again", async () => {
    const [one, other] = servers();
    const admin = new Redis({ ...other, lazyConnect: false });
    try {
      await admin.call("REPLICAOF", one.host, one.port);
      await using sentinel = await fakeSentinel(other);
      const kv = createRedisKV({ ...by(sentinel), maxRetries: 2, retryDelay: 10 });
      try {
        await assert.rejects(kv.connect(), (error: RedisErrorLike) => {
          assert.deepEqual([error.code, error.reason], ["CONNECTION", "not-ready"]);
          assert.match(error.message, new RegExp(`:${other.port} is a replica, and the Sentinels name it`));
          return true;
        });
        sentinel.names = one;
        await kv.connect();
        await kv.set("k", "v");
        assert.equal(await portOf(kv), one.port);
      } finally {
        await kv.disconnect();
      }
    } finally {
      await admin.call("REPLICAOF", "NO", "ONE");
      admin.disconnect();
    }
  });

  test("a name that no Sentinel knows, and no Sentinel that answers, are told apart, each with its reason", async () => {
    const [one] = servers();
    const closed = { host: HOST, port: await closedPort() };
    await using sentinel = await fakeSentinel(one);
    const unknown = await refusalOf({
      sentinel: { name: "nobody", nodes: [closed, { host: sentinel.host, port: sentinel.port }] },
      maxRetries: 1,
    });
    assert.deepEqual([unknown.code, unknown.reason], ["CONNECTION", "unknown-master"]);
    assert.match(
      unknown.message,
      /No Sentinel knows a master "nobody": .*refused.*; 127\.0\.0\.1:\d+: it knows none of this name/,
    );
    const unanswered = await refusalOf({ ...by(closed, one), maxRetries: 1 });
    assert.deepEqual([unanswered.code, unanswered.reason], ["CONNECTION", "no-sentinel"]);
    assert.match(
      unanswered.message,
      new RegExp(`No Sentinel could be asked for .*refused.*:${one.port} is a server, and no Sentinel`),
    );
    assert.ok(unknown.hint && unanswered.hint);
  });

  test("Sentinels are asked about every half a second, all together, and in turn", async () => {
    const [one] = servers();
    await using first = await fakeSentinel(one);
    await using second = await fakeSentinel(one);
    await using kv = await opened(by(first, second));
    const counts = () => [first, second].map((sentinel) => sentinel.count("SENTINEL"));
    const sum = () => counts().reduce((sum, count) => sum + count);
    await eventually(() => Math.min(...counts()) >= 2);
    const [before, began] = [sum(), performance.now()];
    await eventually(() => sum() >= before + 8);
    const each = (performance.now() - began) / 8;
    assert.ok(each > 350, `${each} ms`);
    assert.equal(await portOf(kv), one.port);
  });

  test("a Sentinel of RESP 2 is polled", async () => {
    const [one, other] = servers();
    const role = `*2\r\n${bulk("sentinel")}*1\r\n${bulk(MASTER)}`;
    const handshake: Answer = (command, peer) => {
      if (command[0] === "HELLO") return "-ERR unknown command 'HELLO'\r\n";
      return command[0] === "ROLE" ? role : answerHandshake(command, peer);
    };
    await using sentinel = await fakeSentinel(one, { handshake });
    await using kv = await opened(by(sentinel));
    assert.equal(sentinel.count("SUBSCRIBE"), 0);
    sentinel.names = other;
    await eventually(async () => (await portOf(kv)) === other.port);
  });

  // An address of the list that is a name must be resolved more than once (ioredis #1370 and others).
  test("a Sentinel is found by its name, and a name that is not known is told", async () => {
    const [one] = servers();
    await using sentinel = await fakeSentinel(one);
    const named = { host: "localhost", port: sentinel.port };
    await using kv = await opened(by({ host: "nobody.invalid", port: 26_379 }, named));
    assert.equal(await portOf(kv), one.port);
    type Sentinels = { sentinels: { node: string; message?: string }[] };
    const sentinels = () => (kv as RedisKVStore & Sentinels).sentinels;
    // The resolver may take longer than the other Sentinel.
    await eventually(() => /no address of nobody\.invalid was found/.test(String(sentinels()[0]?.message)));
    const known = sentinels()[1];
    assert.deepEqual([known?.node, known?.message], [`localhost:${sentinel.port}`, undefined]);
  });

  test("a client of ioredis with sentinels gives them, and what would change the server is refused", async () => {
    const [one] = servers();
    await using sentinel = await fakeSentinel(one);
    const sentinels = [{ host: sentinel.host, port: sentinel.port }];
    const options = { sentinels, name: MASTER, lazyConnect: true } as const;
    const client = new Redis({ ...options, db: 3, keyPrefix: "app:", connectionName: "taken-over" });
    await using kv = createRedisKV(client);
    await kv.set("k", "v");
    const admin = new Redis({ host: one.host, port: one.port, db: 3 });
    assert.equal(await admin.get("app:k"), "v");
    assert.match(String(await admin.client("LIST")), /name=taken-over/);
    admin.disconnect();
    const refused: Record<string, object> = {
      role: { role: "slave" },
      natMap: { natMap: { "10.0.0.1:6379": { host: "h", port: 1 } } },
      "sentinels\\[\\]\\.family": { sentinels: [{ host: "localhost", port: 1, family: 6 }] },
      family: { sentinels: [{ host: "localhost", port: 1 }], family: 6 },
      "sentinelTLS\\.ciphers": { sentinelTLS: { ciphers: "X" } },
    };
    for (const [option, more] of Object.entries(refused)) {
      const other = new Redis({ ...options, ...more } as object);
      assert.throws(() => createRedisKV(other), {
        code: "CONFIG",
        reason: "client",
        message: new RegExp(`^client\\.options\\..*${option}`),
      });
    }
  });
});

interface RedisErrorLike {
  code: string;
  reason: string;
  message: string;
}

describe("three Sentinels", () => {
  let set: SentinelSet | undefined;
  before(async () => {
    set = await startSentinels();
  });
  after(() => set?.stop());
  const there = () => set as SentinelSet;

  /** How many connections of this name each Sentinel has. */
  async function connectionsOf(name: string): Promise<number[]> {
    const { sentinels, admin } = there();
    const lists = await Promise.all(sentinels.map((sentinel) => admin(sentinel).client("LIST")));
    return lists.map((list) => String(list).split(` name=${name} `).length - 1);
  }

  test("are watched once for the process, over all stores and threads, for as long as a store needs them", async () => {
    const clientName = "watching";
    const redis = { ...there(), clientName };
    const config = { sentinel: redis.sentinel, clientName };
    const stores = await Promise.all([open(config), open(config), open(config)]);
    await Promise.all(stores.map((kv, index) => kv.subscribe(`channel ${index}`, () => {})));
    const signal = new Int32Array(new SharedArrayBuffer(4));
    const workerData = { job: "pubsub", redis: config, signal };
    const threads = [1, 2].map(
      () => new Worker(new URL("./worker.mjs", `file://${__filename}`), { workerData }),
    );
    await eventually(() => Atomics.load(signal, 0) > 100);
    assert.deepEqual(await connectionsOf(clientName), [1, 1, 1]);
    await Promise.all(threads.map((thread) => thread.terminate()));
    await Promise.all(stores.slice(1).map((kv) => kv.disconnect()));
    assert.deepEqual(await connectionsOf(clientName), [1, 1, 1]);
    await stores[0]?.disconnect();
    await eventually(async () => (await connectionsOf(clientName)).every((count) => count === 0));
  });

  test("are watched once each if they are configured by a name, and name each other by addresses", async () => {
    const clientName = "by-name";
    const nodes = there().sentinel.nodes.map(({ port }) => ({ host: "localhost", port }));
    await using kv = await open({ sentinel: { name: MASTER, nodes }, clientName });
    const { sentinels } = kv as RedisKVStore & { sentinels: unknown[] };
    assert.ok(sentinels.length >= 3);
    await eventually(async () => String(await connectionsOf(clientName)) === "1,1,1");
    const known = (kv as RedisKVStore & { sentinels: { node: string }[] }).sentinels.map(({ node }) => node);
    assert.deepEqual(
      known,
      nodes.map(({ host, port }) => `${host}:${port}`),
    );
  });

  test("do not keep the process alive", async () => {
    const program = `
      const { createKV } = require("covara-kv");
      createKV({ type: "redis", redis: JSON.parse(process.argv[1]) })
        .then((kv) => kv.set("k", "v"))
        .then(() => console.log("done"));`;
    const config = JSON.stringify({ sentinel: there().sentinel });
    const child = spawn(process.execPath, ["-e", program, config], { cwd: __dirname });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
    const [code] = await once(child, "exit");
    assert.deepEqual([code, output], [0, "done\n"]);
  });

  test("the store says which node it uses", async () => {
    const master = await there().master();
    const place = `${master.host}:${master.port}`;
    await using kv = await createKV({ type: "redis", redis: { sentinel: there().sentinel } });
    const { connections } = await kv.health();
    assert.equal(connections[0]?.node, place);
  });
});
