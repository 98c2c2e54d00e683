// Object.prototype has what any code of the process, or a hostile JSON document, has put there.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createKV, RedisKVStore } from "covara-kv";
import { startRedis } from "../redis-server.js";
import { errorOf } from "../replies.js";
import { closedPort, listen } from "../sockets.js";
import { Authority } from "./certificates.js";
import { SECRET } from "./servers.js";

/** Runs something while Object.prototype has these properties. */
async function polluting<T>(fields: object, run: () => Promise<T>): Promise<T> {
  try {
    Object.assign(Object.prototype, fields);
    return await run();
  } finally {
    for (const name of Object.keys(fields)) delete (Object.prototype as Record<string, unknown>)[name];
  }
}

/** A server whose certificate, for this name, is of an authority that nobody knows. */
async function unknownServer(name: string) {
  const authority = new Authority("nobody knows it");
  const { certFile, keyFile } = authority.sign("server", `subjectAltName=${name}`);
  const tlsPort = await closedPort();
  const { host, port, stop } = await startRedis({
    "tls-port": `${tlsPort}`,
    "tls-cert-file": certFile,
    "tls-key-file": keyFile,
    "tls-ca-cert-file": authority.self.certFile,
    "tls-auth-clients": "no",
  });
  return {
    ...{ host, port, tlsPort },
    async [Symbol.asyncDispose]() {
      await stop();
      authority.remove();
    },
  };
}

// Code that can write to Object.prototype must not switch off the verification of certificates for every store of the process.
test("a property of Object.prototype is no option", async () => {
  const polluted = {
    rejectUnauthorized: false,
    ...{
      host: "192.0.2.1",
      port: 1,
      url: "redis://192.0.2.1",
      path: "/none",
      db: 9,
      useTls: true,
      username: "u",
    },
    ...{ options: { host: "192.0.2.1" }, type: "redis", redis: {}, prefix: "polluted", shared: "polluted" },
    ...{ strict: true, ex: 1, px: 1, nx: true, match: "none", count: 1, limit: { offset: 9, count: 9 } },
    ...{ patterns: ["*"], withScores: true, name: "polluted", ca: "polluted", tls: {}, maxRetries: 0 },
  };
  await using server = await unknownServer("IP:127.0.0.1");
  await polluting(polluted, async () => {
    const { host, tlsPort: port } = server;
    const refusal = await errorOf(createKV({ type: "redis", redis: { host, port, tls: true } }), "createKV");
    assert.match(refusal.message, /of an authority that is not known here/);
    const plain = await createKV({ type: "redis", redis: { host, port: server.port } });
    const memory = await createKV({ type: "memory" });
    for (const kv of [plain, memory]) {
      assert.equal((kv as unknown as { prefix: string }).prefix, "");
      await kv.set("k", "v");
      await kv.set("k", "w", {});
      assert.deepEqual([await kv.get("k"), await kv.ttl("k")], ["w", -1]);
      assert.deepEqual((await kv.scan("0")).keys, ["k"]);
      await kv.zadd("z", 1, "a");
      assert.deepEqual(await kv.zrangebyscore("z", 0, 2), ["a"]);
      const heard: string[] = [];
      const handle = await kv.listen(["c"], (message) => heard.push(message));
      assert.equal(await kv.publish("d", "not for it"), 0);
      await handle.close();
      await kv.disconnect();
    }
  });
});

describe("a property of Object.prototype is no option beside one that is spread over several fields", () => {
  // Without the check of the certificate, anyone on the way reads the password.
  test("with cluster.servername the certificate is checked", async () => {
    await using server = await unknownServer("DNS:x");
    const nodes = [{ host: server.host, port: server.tlsPort }];
    const redis = { cluster: { nodes, servername: "x" }, tls: true, maxRetries: 0 };
    const refusal = await polluting({ rejectUnauthorized: false }, () =>
      errorOf(createKV({ type: "redis", redis })),
    );
    assert.match(refusal.message, /of an authority that is not known here/);
  });

  test("Sentinels are asked over TLS", async () => {
    const first: (number | undefined)[] = [];
    await using peer = await listen((socket) => {
      socket.once("data", (data) => {
        first.push(data[0]);
        socket.destroy();
      });
    });
    const sentinel = { name: "m", nodes: [{ host: "127.0.0.1", port: peer.port }] };
    const redis = { sentinel, tls: { rejectUnauthorized: true }, maxRetries: 0 };
    await polluting({ useTls: false }, () => errorOf(createKV({ type: "redis", redis })));
    const HANDSHAKE = 22;
    assert.ok(first.length > 0);
    assert.deepEqual([...new Set(first)], [HANDSHAKE]);
  });

  test("there is no name for certificates", async () => {
    const redis = { cluster: { nodes: [{ host: "127.0.0.1", port: 1 }], servername: "x" }, tls: {} };
    await polluting({ servername: "polluted" }, () => new RedisKVStore(redis).disconnect());
  });
});

// An answer with one field too many leads to another server, or to another user.
test("a property of Object.prototype is no answer of a function", async () => {
  await using peer = await listen((socket) => socket.destroy());
  const redis = { port: peer.port, password: () => SECRET, maxRetries: 0 };
  const failure = "polluted";
  const refusal = await polluting({ failure }, () => errorOf(createKV({ type: "redis", redis })));
  assert.doesNotMatch(refusal.message, /polluted/);
});
