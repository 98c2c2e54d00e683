// The stack of a rejected command must show the async functions that await it. With lines of the package alone it does not tell which of a
// hundred `get`s has failed.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createMemoryKV, KVError, type KVStore, RedisKVStore } from "covara-kv";
import { startFake } from "../fake-server.js";
import { closedPort, HOST } from "../sockets.js";
import { SharedRedis } from "./servers.js";

const server = new SharedRedis();

type Operation = (kv: KVStore) => Promise<unknown>;

const operations: Record<string, Operation> = {
  "a command": (kv) => kv.lpush("string", "x"),
  "a transaction": (kv) => kv.multi().lpush("string", "x").exec(),
  "a script": (kv) => kv.eval("return redis.call('LPUSH', KEYS[1], 'x')", ["string"], []),
  "several at once": (kv) => Promise.all([kv.get("string"), kv.lpush("string", "x")]),
  "what comes after a then": (kv) => kv.lpush("string", "x").then(() => {}),
};

/** The stack of the error of a call, whose callers are `whoCalled` and `whoCalledThat`. */
async function stackOf(kv: KVStore, call: Operation): Promise<string> {
  async function whoCalled() {
    return await call(kv);
  }
  async function whoCalledThat() {
    const result = await whoCalled();
    return [result];
  }
  const error = await whoCalledThat().catch((error: unknown) => error);
  assert.ok(error instanceof KVError, String(error));
  return error.stack ?? "";
}

function showsTheCallers(stack: string): void {
  assert.match(stack, /^KVError: .*\n(.*\n)*.*\bwhoCalled\b.*stacks\.test\.[jt]s.*\n.*\bwhoCalledThat\b/);
}

const stores: Record<string, () => KVStore> = {
  memory: () => createMemoryKV("", { strict: true }),
  Redis: () => new RedisKVStore(server.address),
};

for (const [backend, make] of Object.entries(stores)) {
  describe(backend, () => {
    for (const [what, call] of Object.entries(operations)) {
      test(`shows who called ${what}`, async () => {
        const kv = make();
        try {
          await kv.set("string", "value");
          showsTheCallers(await stackOf(kv, call));
        } finally {
          await kv.disconnect();
        }
      });
    }
  });
}

describe("Redis, without an answer", () => {
  test("shows who called what has timed out", async () => {
    const fake = await startFake({});
    const kv = new RedisKVStore({ host: fake.host, port: fake.port, commandTimeout: 50 });
    try {
      showsTheCallers(await stackOf(kv, (kv) => kv.get("key")));
    } finally {
      await kv.disconnect();
      await fake.stop();
    }
  });

  test("shows who called connect, and what was called after disconnect", async () => {
    const kv = new RedisKVStore({ host: HOST, port: await closedPort(), maxRetries: 1 });
    try {
      showsTheCallers(await stackOf(kv, (kv) => kv.connect()));
    } finally {
      await kv.disconnect();
    }
    showsTheCallers(await stackOf(kv, (kv) => kv.get("key")));
  });
});
