// Jest's resetModules, and a cleared require.cache, make a second copy of the package in the thread. A message from one copy must reach the
// other's subscribers before `publish` resolves.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";
import { describe, test } from "node:test";

type Package = typeof import("covara-kv");

const require = createRequire(join(__dirname, "../../package.json"));

/** Loads another copy of the package; `withBinary` loads the binary anew too. */
function copy(withBinary: boolean): Package {
  for (const path of Object.keys(require.cache)) {
    if (/dist[/\\]index\.js$/.test(path) || (withBinary && path.endsWith(".node")))
      delete require.cache[path];
  }
  return require("./dist/index.js");
}

for (const withBinary of [false, true]) {
  describe(`two copies of the package${withBinary ? ", and of what loads the binary" : ""}`, () => {
    const [first, second] = [copy(withBinary), copy(withBinary)];

    test("are two", () => assert.notEqual(first.KVError, second.KVError));

    test("deliver what either publishes before publish resolves, in one order", async () => {
      const shared = randomUUID();
      const stores = [first, second].map(({ createMemoryKV }) => createMemoryKV("", { shared }));
      const heard: string[] = [];
      try {
        for (const [index, store] of stores.entries()) {
          await store.subscribe("channel", (message) => heard.push(`${index} ${message}`));
        }
        for (const [index, store] of stores.entries()) {
          heard.length = 0;
          assert.equal(await store.publish("channel", `from ${index}`), 2);
          assert.deepEqual(heard.sort(), [`0 from ${index}`, `1 from ${index}`]);
        }
        heard.length = 0;
        await stores[0]?.eval("redis.call('PUBLISH', 'channel', 'by script')", [], []);
        assert.deepEqual(heard.sort(), ["0 by script", "1 by script"]);
        await stores[1]?.unsubscribe("channel");
        heard.length = 0;
        await stores[0]?.publish("channel", "left");
        assert.deepEqual(heard, ["0 left"]);
      } finally {
        for (const store of stores) await store.disconnect();
      }
    });

    test("know each other's KVErrors", async () => {
      for (const [{ createMemoryKV }, { KVError }] of [
        [first, second],
        [second, first],
      ] as const) {
        const kv = createMemoryKV("", { strict: true });
        await kv.set("key", "value");
        const error = await kv.lpush("key", "value").catch((error: unknown) => error);
        await kv.disconnect();
        assert.ok(error instanceof KVError);
        assert.equal((error as InstanceType<Package["KVError"]>).code, "WRONGTYPE");
      }
    });
  });
}
