// How to open each backend, and how to run a test on all of them.
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { after, before, describe, test as nodeTest } from "node:test";
import { createKV, type KVStore } from "covara-kv";
import { FakeNamespace } from "./durable-object/fake-namespace.js";
import { FakeSqlStorage, FakeStorage } from "./durable-object/fake-storage.js";
import { eventually, timeoutFactor } from "./eventually.js";
import { type RedisCluster, startCluster } from "./redis-cluster.js";
import { type RedisServer, startRedis } from "./redis-server.js";
import { type SentinelSet, startSentinels } from "./sentinel.js";
import { notHere } from "./servers.js";
import { cannotRun, namespaceOf, startWorker, type Worker } from "./workerd/workerd.js";

export { eventually, timeoutFactor };

export interface OpenOptions {
  prefix?: string;
  /** Refuse keys of another type. A backend that always does may ignore it. */
  strict?: boolean;
}

interface Skip {
  readonly test: string;
  readonly reason: string;
}

export interface Backend {
  readonly name: string;
  /** Starts what the tests of one file need. Resolves to a function that stops it. */
  readonly start?: () => Promise<() => Promise<void>>;
  /** Opens a connected store. */
  open(options?: OpenOptions): Promise<KVStore>;
  /** Tests that do not hold for this backend, as `family: name` or a whole family, each with the reason. */
  readonly skip: readonly Skip[];
}

const eachStoreIsItsOwn = [
  "pubsub: channels have no prefix",
  "scan: only the keys of the store's own prefix, which is taken literally",
  "transactions: nobody sees a transaction half done",
].map((test) => ({ test, reason: "a store of its own has no other store to share with" }));

const goesOnAfterItsEnd = [
  "lifecycle: after disconnect every method rejects, until connect",
  "lifecycle: a transaction that was begun before disconnect is refused after it",
].map((test) => ({ test, reason: "a memory store that is not strict goes on, empty: memory/store.test.ts" }));

const runsNoScripts = [
  "scripting",
  "pubsub: a subscription made in a delivery gets nothing of that delivery",
].map((test) => ({ test, reason: "a Durable Object runs no scripts: eval rejects with UNSUPPORTED" }));

const tellsNoDiagnostics: Backend["skip"] = [
  { test: "diagnostics", reason: "Workers have no node:diagnostics_channel" },
];

const isLimited: Backend["skip"] = [
  {
    test: "strings: keys and values of a megabyte",
    reason: "an entry of the storage holds 2 MB with its name",
  },
];

const onSqlite = [...runsNoScripts, ...tellsNoDiagnostics, ...isLimited];

const hearsAtHomes: Backend["skip"] = [
  {
    test: "pubsub: messages come in the order of their publication",
    reason: "channels of several slots have no order to each other: cluster/ looks at those of one channel",
  },
  ...[
    "pubsub: a pattern hears of every channel that it matches",
    "pubsub: a channel and each pattern deliver on their own",
    "pubsub: 50 channels and 50 patterns",
    "pubsub: unsubscribe drops every callback of its channel, and nothing else",
    "scripting: messages that a script publishes arrive",
  ].map((test) => ({ test, reason: "PUBLISH counts who hears at one node: a pattern may be at another" })),
];

/** In a cluster the cursor is text, and a page may be empty. So these tests do not hold. */
const scansByMaster: Backend["skip"] = [
  "arguments: what was left out as undefined is not too many",
  "keys and expiry: an expired key is gone for every command, swept or not",
  "scan: a page stays near its count",
].map((test) => ({ test, reason: "a scan goes from master to master, and its cursor says how far" }));

const tellsItsTag = { test: "diagnostics", reason: "the prefix of its messages has the tag in front" };

const showsItsTag = {
  test: "scripting: a script sees its keys under the prefix, and its arguments as they are",
  reason: "the prefix of its keys has the tag in front",
};

const hasNoTag = [
  "arguments: hset and zadd take more pairs",
  "arguments: methods that take any number of strings take arrays of them",
  "keys and expiry: a transaction finds an expired key gone",
  "scripting: a token bucket lets through what its rate allows",
  "scripting: a script sees its keys under the prefix, and its arguments as they are",
  "scripting: many keys and arguments",
  "transactions: every command gives its result in its place",
  "transactions: if a command fails the others have run, and the failure says which",
  "transactions: nobody sees a transaction half done",
].map((test) => ({ test, reason: "its keys have several slots: CROSSSLOT, unless a tag is in the prefix" }));

/** A Redis that all tests of a file share. */
function redis(name: string, config: Record<string, string> = {}): Backend {
  let server: RedisServer | undefined;
  return {
    name,
    async start() {
      const started = await startRedis(config);
      server = started;
      return () => started.stop();
    },
    open({ prefix } = {}) {
      if (server === undefined) throw new Error("there is no server before the tests");
      const { host, port } = server;
      return createKV({ type: "redis", ...(prefix !== undefined && { prefix }), redis: { host, port } });
    },
    get skip() {
      return notHere();
    },
  };
}

/** A Redis with a replica that three Sentinels name, and that all tests of a file share. They start as fast as a cluster. */
function sentinel(name: string): Backend {
  let set: SentinelSet | undefined;
  return {
    name,
    async start() {
      const started = await startSentinels({ replicas: 1 });
      set = started;
      return () => started.stop();
    },
    open({ prefix } = {}) {
      if (set === undefined) throw new Error("there is no Sentinel before the tests");
      const redis = { sentinel: set.sentinel };
      return createKV({ type: "redis", ...(prefix !== undefined && { prefix }), redis });
    },
    get skip() {
      return notHere();
    },
  };
}

/** A cluster that all tests of a file share. With a tag all keys have one slot. */
function redisCluster(name: string, tag: string, skip: Backend["skip"]): Backend {
  let cluster: RedisCluster | undefined;
  return {
    name,
    async start() {
      const started = await startCluster({ replicasEach: 0 });
      cluster = started;
      return () => started.stop();
    },
    open({ prefix = "" } = {}) {
      if (cluster === undefined) throw new Error("there is no cluster before the tests");
      return createKV({
        type: "redis",
        prefix: `${tag}${prefix}`,
        redis: { cluster: { nodes: cluster.addresses } },
      });
    },
    get skip() {
      return [...notHere(), ...skip];
    },
  };
}

/** A Durable Object that all tests of a file share, on a storage of its own. */
function durableObject(name: string, newStorage: () => FakeStorage, skip: Backend["skip"]): Backend {
  const namespace = new FakeNamespace(newStorage);
  return {
    name,
    open: (options) => createKV({ type: "durable-object", durableObject: { namespace }, ...options }),
    skip,
  };
}

/** A Durable Object in workerd that all tests of a file share. The stores are here. */
function workerd(name: string, skip: Backend["skip"]): Backend {
  let worker: Worker | undefined;
  return {
    name,
    async start() {
      const started = await startWorker(join(__dirname, "workerd/forwarder.ts"));
      worker = started;
      return () => started.stop();
    },
    open(options) {
      if (worker === undefined) throw new Error("there is no Worker before the tests");
      return createKV({
        type: "durable-object",
        durableObject: { namespace: namespaceOf(worker) },
        ...options,
      });
    },
    skip,
  };
}

const all: readonly Backend[] = [
  {
    name: "memory",
    open: (options) => createKV({ type: "memory", ...options }),
    skip: [...eachStoreIsItsOwn, ...goesOnAfterItsEnd],
  },
  {
    name: "memory, strict",
    open: (options) => createKV({ type: "memory", ...options, strict: true }),
    skip: eachStoreIsItsOwn,
  },
  {
    name: "memory, shared",
    open: (options) =>
      createKV({ type: "memory", ...options, shared: `strict: ${options?.strict ?? false}` }),
    skip: goesOnAfterItsEnd,
  },
  redis("Redis"),
  // Like servers before 6.0, which have no HELLO and so no RESP 3.
  redis("Redis, RESP 2", { "rename-command": 'HELLO ""' }),
  sentinel("Redis, Sentinel"),
  redisCluster("Redis Cluster", "{tag}", [...hearsAtHomes, ...scansByMaster, tellsItsTag, showsItsTag]),
  redisCluster("Redis Cluster, no tag", "", [...hearsAtHomes, ...scansByMaster, ...hasNoTag]),
  durableObject("Durable Object", () => new FakeStorage(), [...runsNoScripts, ...tellsNoDiagnostics]),
  durableObject("Durable Object, SQLite", () => new FakeSqlStorage(), onSqlite),
  ...(cannotRun ? [] : [workerd("Durable Object, workerd", onSqlite)]),
];

const { TEST_BACKENDS } = process.env;

/** All of them, or those that TEST_BACKENDS names: a few are enough for each of many test runners. */
export const backends = all.filter(({ name }) => TEST_BACKENDS?.split("; ").includes(name) ?? true);

/** What a test is given. */
export interface World {
  /** A fresh store, whose prefix no other test has. */
  readonly kv: KVStore;
  /** Opens one more store on the same backend, with the prefix of `kv` unless told otherwise. It is closed after the test. */
  open(options?: OpenOptions): Promise<KVStore>;
  /** A name that no other test has: for channels, which have no prefix, and for prefixes. */
  unique(name: string): string;
}

export type Test = (name: string, body: (world: World) => Promise<void>) => void;

/** Runs each test that `define` defines on every backend. */
export function onEveryBackend(family: string, define: (test: Test) => void): void {
  describe(family, () => {
    /** The stop function of each backend. All start at the same time, because a cluster takes two seconds. */
    let starting: Promise<(() => Promise<void>) | undefined>[] = [];
    before(() => {
      starting = backends.map(async (backend) => backend.start?.());
      // If a backend does not start, only its own tests fail.
      for (const one of starting) one.catch(() => {});
    });
    after(async () => {
      for (const one of await Promise.allSettled(starting))
        if (one.status === "fulfilled") await one.value?.();
    });
    for (const [index, backend] of backends.entries()) {
      describe(`${family}, ${backend.name}`, () => {
        before(() => starting[index]?.then(() => {}));
        defineOn(backend, family, define);
      });
    }
  });
}

function defineOn(backend: Backend, family: string, define: (test: Test) => void): void {
  const names = new Set<string>();
  const skips = backend.skip;
  define((name, body) => {
    names.add(`${family}: ${name}`);
    const isMeant = ({ test }: Skip) => test === family || test === `${family}: ${name}`;
    const skip = skips.find(isMeant)?.reason ?? false;
    nodeTest(name, { skip, timeout: 60_000 * timeoutFactor }, () => inNewWorld(backend, body));
  });
  const stale = skips.find(({ test }) => test.startsWith(`${family}: `) && !names.has(test));
  if (stale !== undefined) throw new Error(`${backend.name} skips a test that is not there: ${stale.test}`);
}

async function inNewWorld(backend: Backend, body: (world: World) => Promise<void>): Promise<void> {
  const id = randomUUID();
  const stores: KVStore[] = [];
  const open = async (options: OpenOptions = {}) => {
    const store = await backend.open({ prefix: `test-${id}`, ...options });
    stores.push(store);
    return store;
  };
  try {
    await body({ kv: await open(), open, unique: (name) => `${name}-${id}` });
  } finally {
    await Promise.all(stores.map((store) => store.disconnect()));
  }
}
