// `addressMap` and `tls.servername` as functions. In a fleet of containers each deployment brings other addresses. A map that is an object is wrong
// from then on.
import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test as nodeTest } from "node:test";
import { Worker } from "node:worker_threads";
import { createKV, type RedisConfig, RedisKVStore, type RedisNode } from "covara-kv";
import { eventually } from "../eventually.js";
import { slotOf } from "../redis-cluster.js";
import { errorOf } from "../replies.js";
import { error, evenly, type FakeCluster, type FakeNode, homeOf } from "./fake-nodes.js";
import { test } from "./shared.js";

/** No node is here: the address is reserved for documentation. */
const NOWHERE = "192.0.2.1";
/** Not 127.0.0.1: code that wrongly falls back to the default host must fail. */
const HERE = process.platform === "linux" ? "127.0.0.2" : "127.0.0.1";

const timeouts = { commandTimeout: 1_500, queueTimeout: 3_000, connectTimeout: 1_000 } as const;

/** Names of keys, so many that every node has some. */
const names = Array.from({ length: 30 }, (_, index) => `k${index}`);

/** Gives all nodes the same host. */
function callAll(fake: FakeCluster, host: string | null): void {
  fake.ranges = evenly(fake.nodes.map(({ name }) => ({ ...name, host })));
}

function expectAtHome(fake: FakeCluster): void {
  for (const name of names) assert.ok(homeOf(fake, name).calls.includes(`SET ${name} 1`), name);
}

type Map = Extract<NonNullable<RedisConfig["cluster"]>["addressMap"], (...args: never[]) => unknown>;

const configOf = ({ addresses }: FakeCluster, addressMap: Map) => ({
  ...timeouts,
  cluster: { nodes: addresses.slice(0, 1), addressMap },
});

const toHere: Map = ({ host, port }) => (host === NOWHERE ? { host: HERE, port } : undefined);

describe("addressMap as a function", () => {
  for (const [how, of] of Object.entries<(map: Map) => Map>({
    "says where": (map) => map,
    "promises to say where": (map) => async (node) => map(node),
  })) {
    test(`${how} what the nodes tell leads, for commands, redirections and subscriptions`, async (world) => {
      const cluster = await world.fake({ host: HERE });
      callAll(cluster, NOWHERE);
      const asked: RedisNode[] = [];
      const addressMap = of((node) => {
        asked.push(node);
        return toHere(node);
      });
      const kv = await world.open(cluster, configOf(cluster, addressMap));
      await Promise.all(names.map((name) => kv.set(name, "1")));
      expectAtHome(cluster);
      const ports = cluster.nodes.map(({ port }) => port).sort();
      assert.deepEqual(asked.map(({ port }) => port).sort(), ports);
      assert.ok(asked.every(({ host }) => host === NOWHERE));
      const home = homeOf(cluster, "a");
      const other = cluster.nodes.find((node) => node !== home) as FakeNode;
      for (const word of ["MOVED", "ASK"]) {
        cluster.answer = ([, key], node) =>
          key === "a" && node === home ? error(`${word} ${slotOf("a")} ${NOWHERE}:${other.port}`) : undefined;
        await kv.set("a", word);
        assert.equal(other.calls.at(-1), `SET a ${word}`);
      }
      const subscribed = kv.subscribe("b", () => {});
      subscribed.catch(() => {});
      await eventually(() => homeOf(cluster, "b").calls.some((call) => /^SUBSCRIBE b/.test(call)));
    });
  }

  for (const host of [null, ""]) {
    test(`is given the host that was asked for one that is ${JSON.stringify(host)}`, async (world) => {
      const cluster = await world.fake({ host: HERE });
      callAll(cluster, host);
      const asked = new Set<string>();
      const kv = await world.open(
        cluster,
        configOf(cluster, (node) => {
          asked.add(node.host);
          return undefined;
        }),
      );
      await Promise.all(names.map((name) => kv.set(name, "1")));
      expectAtHome(cluster);
      assert.deepEqual([...asked], [HERE]);
    });
  }

  test("is not asked about a host that is ?, and is about one without a host in MOVED", async (world) => {
    const cluster = await world.fake({ host: HERE });
    const [unknown] = cluster.nodes;
    cluster.ranges = evenly(
      cluster.nodes.map((node) => ({ ...node.name, host: node === unknown ? "?" : NOWHERE })),
    );
    const asked: string[] = [];
    const kv = await world.open(
      { addresses: cluster.addresses },
      {
        ...configOf(cluster, (node) => {
          asked.push(node.host);
          return toHere(node);
        }),
      },
    );
    const home = cluster.nodes[1] as FakeNode;
    const served = names.filter((name) => homeOf(cluster, name) === home);
    await Promise.all(served.map((name) => kv.set(name, "1")));
    const [name = ""] = served;
    const other = cluster.nodes[2] as FakeNode;
    cluster.answer = ([, key], node) =>
      key === name && node === home ? error(`MOVED ${slotOf(name)} :${other.port}`) : undefined;
    await kv.set(name, "2");
    assert.equal(other.calls.at(-1), `SET ${name} 2`);
    assert.deepEqual([...new Set(asked)], [NOWHERE]);
  });
});

const never = () => new Promise<never>(() => {});
const rubbish: Record<string, [map: () => unknown, message: RegExp]> = {
  throws: [
    () => {
      throw new Error("no map today");
    },
    /redis\.cluster\.addressMap\(\) failed: no map today/,
  ],
  "throws what is no Error": [
    () => {
      throw null;
    },
    /addressMap\(\) failed: object/,
  ],
  rejects: [() => Promise.reject(new Error("closed")), /addressMap\(\) failed: closed/],
  "never settles": [never, /addressMap\(\) gave nothing within 100 ms \(connectTimeout\)/],
  "gives a text": [() => `${HERE}:1`, /addressMap\(\) must give \{ host, port \} or undefined, got string/],
  "gives a number": [() => 7, /must give \{ host, port \} or undefined, got number/],
  "gives no port": [() => ({ host: HERE }), /must give \{ host, port \} or undefined, got object/],
  "gives a port that there is not": [() => ({ host: HERE, port: 65_536 }), /must give \{ host, port \}/],
  "gives a port that is a text": [() => ({ host: HERE, port: "6379" }), /must give \{ host, port \}/],
  "gives an empty host": [() => ({ host: "", port: 6379 }), /must give \{ host, port \}/],
  ...Object.fromEntries(
    Object.entries<[thrown: unknown, told: string]>({
      "an Error": [new Error("revoked"), "revoked"],
      null: [null, "object"],
      "a text": ["revoked", "string"],
      "an Error whose message throws": [
        Object.defineProperty(new Error(), "message", {
          get() {
            throw undefined;
          },
        }),
        "object",
      ],
      "an Error whose message is no text": [Object.assign(new Error(), { message: undefined }), "object"],
    }).map(([what, [thrown, told]]) => [
      `gives a getter that throws ${what}`,
      [
        () => ({
          get host() {
            throw thrown;
          },
        }),
        new RegExp(`redis\\.cluster\\.addressMap\\(\\) failed: ${told}`),
      ],
    ]),
  ),
};

// An answer that says neither an address nor a failure leads where the node says, and a rejection that nobody awaits ends the process.
describe("an addressMap that fails is as a node that cannot be reached: told, and tried again", () => {
  for (const [what, [map, message]] of Object.entries(rubbish)) {
    test(`it ${what}`, async (world) => {
      const cluster = await world.fake({ host: HERE });
      callAll(cluster, NOWHERE);
      let fails = true;
      const addressMap = ((node: RedisNode) => (fails ? map() : toHere(node))) as Map;
      const redis = { ...configOf(cluster, addressMap), connectTimeout: 100, retryDelay: 5, maxRetries: 2 };
      const refused = await errorOf(createKV({ type: "redis", redis }), what);
      assert.equal(refused.code, "CONNECTION");
      assert.match(refused.message, message);
      const kv = new RedisKVStore({ ...redis, maxRetries: undefined });
      world.defer(() => kv.disconnect());
      const told: string[] = [];
      kv.on("reconnecting", ({ cause }) => void told.push(`${cause.message}`));
      const waiting = Promise.all(names.map((name) => kv.set(name, "1")));
      waiting.catch(() => {});
      await eventually(() => told.some((text) => message.test(text)));
      fails = false;
      await waiting;
      expectAtHome(cluster);
    });
  }

  test("its error has a reason of its own, and a hint", async (world) => {
    const cluster = await world.fake();
    const [map] = rubbish.throws as (typeof rubbish)[string];
    const redis = { ...configOf(cluster, map as Map), retryDelay: 5, maxRetries: 1 };
    const { cause } = await errorOf(createKV({ type: "redis", redis }));
    const { reason, hint } = cause as { reason?: string; hint?: string };
    assert.equal(reason, "function");
    assert.match(hint ?? "", /asked again/);
  });
});

test("an addressMap or a servername that is neither is refused before anything is opened", async ({
  fake,
}) => {
  const cluster = await fake();
  const nodes = cluster.addresses;
  for (const redis of [
    { cluster: { nodes, addressMap: 5 } },
    { cluster: { nodes, addressMap: "10.0.0.1:6379" } },
    // It is taken, and no address is looked up in it.
    { cluster: { nodes, addressMap: new Map([["10.0.0.1:6379", nodes[0]]]) } },
    { cluster: { nodes, addressMap: Object.create({ "10.0.0.1:6379": nodes[0] }) } },
    { cluster: { nodes, addressMap: { "10.0.0.1": nodes[0] } } },
    { cluster: { nodes }, tls: { servername: 5 } },
    { cluster: { nodes }, tls: { servername: "" } },
  ]) {
    const { code } = await errorOf(createKV({ type: "redis", redis: redis as never }), JSON.stringify(redis));
    assert.equal(code, "INVALID_ARGUMENT");
  }
  assert.equal(cluster.count("CLUSTER"), 0);
});

nodeTest("a worker thread that ends while its addressMap is asked, ends", { timeout: 60_000 }, async () => {
  const { startFakeCluster } = await import("./fake-nodes.js");
  await using cluster = await startFakeCluster();
  const program = `
    const { parentPort, workerData } = require("node:worker_threads");
    const { RedisKVStore } = require(workerData.main);
    const store = (addressMap, more) =>
      new RedisKVStore({ cluster: { nodes: workerData.nodes, addressMap }, retryDelay: 1, ...more });
    const silent = store(() => (parentPort.postMessage("asked"), new Promise(() => {})), { connectTimeout: 60_000 });
    silent.get("k").catch(() => {});
    const throwing = store(() => { throw new Error("no"); });
    throwing.get("k").catch(() => {});`;
  for (let round = 0; round < 5; round++) {
    const worker = new Worker(program, {
      eval: true,
      execArgv: [],
      workerData: { nodes: cluster.addresses, main: require.resolve("covara-kv") },
    });
    await once(worker, "message");
    await worker.terminate();
  }
  await eventually(() => cluster.nodes.every(({ peers }) => peers.every(({ socket }) => socket.destroyed)));
});
