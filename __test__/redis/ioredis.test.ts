// An ioredis client in place of a configuration must lead to the same server. A dropped option leads to another one, or to none.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { createSecureContext } from "node:tls";
import {
  createKV,
  createRedisKV,
  createRedisKVFromConfig,
  type KVError,
  type KVStore,
  RedisKVStore,
} from "covara-kv";
import { type RedisOptions as Options5, Redis as Redis5 } from "ioredis";
import { type RedisOptions as Options6, Redis as Redis6 } from "ioredis6";
import { closedPort, HOST } from "../sockets.js";
import { warningsOf } from "../warnings.js";
import { Authority } from "./certificates.js";
import { SECRET, SharedRedis } from "./servers.js";

const directory = mkdtempSync(join(tmpdir(), "covara-kv-ioredis-"));
const socket = join(directory, "redis.sock");
const authority = new Authority("covara-kv tests");
const identity = authority.sign("server", "subjectAltName=DNS:localhost,DNS:redis.example.org,IP:127.0.0.1");
const me = authority.sign("client", "extendedKeyUsage=clientAuth");
let tlsPort = 0;
after(() => {
  authority.remove();
  rmSync(directory, { recursive: true, force: true });
});
const server = new SharedRedis(
  async () => {
    tlsPort = await closedPort();
    return {
      unixsocket: socket,
      ...authority.redisConfig(tlsPort, identity, "optional"),
    };
  },
  (admin) => admin.call("ACL", "SETUSER", "alice", "on", `>${SECRET}`, "~*", "&*", "+@all"),
);

/** Makes a client that does not connect by itself. */
type Make = (...args: [Options5] | [url: string, Options5]) => Redis5;

const versions: Record<string, { make: Make }> = {
  "ioredis 5": {
    make: (...args) => {
      const options = { lazyConnect: true, ...(args.at(-1) as Options5) };
      return typeof args[0] === "string" ? new Redis5(args[0], options) : new Redis5(options);
    },
  },
  "ioredis 6": {
    make: ((...args: [object] | [string, object]) => {
      const options = { lazyConnect: true, ...(args.at(-1) as object) };
      return typeof args[0] === "string" ? new Redis6(args[0], options) : new Redis6(options);
    }) as unknown as Make,
  },
};

const name = "taken-over";
const { ca } = authority;

for (const [version, { make }] of Object.entries(versions)) {
  describe(`of a client of ${version}`, () => {
    /** Resolves to the line of CLIENT LIST for a store on this client. */
    const connectionOf = async (client: Redis5, use?: (kv: KVStore) => Promise<void>) => {
      const before = client.status;
      await using kv = createRedisKV(client);
      await kv.connect();
      await kv.set("k", "v");
      await use?.(kv);
      assert.equal(client.status, before);
      return await server.client(name);
    };
    const connectionName = name;

    test("host, port, user, password, database and name are taken over", async () => {
      const credentials = { username: "alice", password: SECRET };
      const client = make({ ...server.address, ...credentials, db: 3, connectionName });
      const { user, db } = await connectionOf(client);
      assert.deepEqual([user, db], ["alice", "3"]);
    });

    test("what its url says is taken over", async () => {
      const url = `redis://alice:${encodeURIComponent(SECRET)}@${server.endpoint}/4`;
      const { user, db } = await connectionOf(make(url, { connectionName }));
      assert.deepEqual([user, db], ["alice", "4"]);
    });

    test("a socket is taken over", async () => {
      const { addr } = await connectionOf(make({ path: socket, connectionName }));
      assert.equal(addr, `${socket}:0`);
    });

    test("TLS is taken over, with certificates as strings, Buffers and lists", async () => {
      for (const authorities of [ca, Buffer.from(ca), [ca], [Buffer.from(ca)]]) {
        const tls = { ca: authorities, cert: Buffer.from(me.cert), key: Buffer.from(me.key) };
        await connectionOf(make({ host: "localhost", port: tlsPort, tls, connectionName }));
      }
      const named = { ca, servername: "redis.example.org" };
      await connectionOf(make({ host: HOST, port: tlsPort, tls: named, connectionName }));
    });

    test("rediss:// is taken over", async () => {
      const url = `rediss://localhost:${tlsPort}/2`;
      const { db } = await connectionOf(make(url, { tls: { ca }, connectionName }));
      assert.equal(db, "2");
      const trusting = make(url, { tls: { rejectUnauthorized: false }, connectionName });
      assert.equal((await connectionOf(trusting)).db, "2");
      const wary = new RedisKVStore(make(url, {}));
      await assert.rejects(wary.connect(), {
        code: "CONNECTION",
        message: /^TLS with localhost:.*of an authority that is not known here/,
      });
      await wary.disconnect();
    });

    test("keyPrefix comes before the store's own", async () => {
      const client = make({ ...server.address, keyPrefix: "app:" });
      const [kv, inner] = [new RedisKVStore(client), createRedisKV(client, "inner")];
      assert.deepEqual([kv.prefix, inner.prefix], ["app", "app:inner"]);
      await Promise.all([kv.set("a", "1"), inner.set("b", "2")]);
      assert.deepEqual(await server.admin.select(0).then(() => server.admin.mget("app:a", "app:inner:b")), [
        "1",
        "2",
      ]);
      assert.deepEqual((await kv.keys("*")).sort(), ["a", "inner:b"]);
      assert.deepEqual(await inner.keys("*"), ["b"]);
      await Promise.all([kv.del("a"), inner.del("b")]);
      await Promise.all([kv.disconnect(), inner.disconnect()]);
    });

    test("a keyPrefix that does not end with a colon is CONFIG", () => {
      for (const keyPrefix of ["app", ":app", "app: "]) {
        const client = make({ ...server.address, keyPrefix });
        assert.throws(() => createRedisKV(client), { code: "CONFIG", message: /keyPrefix/ });
      }
    });

    // An option that is dropped without an error makes the store use another server, or trust one that it should not.
    test("an option that may change the server or whom it trusts is honoured or CONFIG", async () => {
      const tls = (options: object) => ({ host: "localhost", port: tlsPort, tls: { ca, ...options } });
      const refusedOptions: Record<string, object> = {
        "tls.checkServerIdentity": tls({ checkServerIdentity: () => undefined }),
        "tls.secureContext": tls({ secureContext: createSecureContext({ ca }) }),
        "tls.pfx": tls({ pfx: Buffer.from("hunter2"), passphrase: "hunter2" }),
        "tls.crl": tls({ crl: "hunter2" }),
        "tls.ciphers": tls({ ciphers: "ECDHE-RSA-AES128-GCM-SHA256" }),
        "tls.ALPNProtocols": tls({ ALPNProtocols: ["redis"] }),
        "tls.minVersion": tls({ minVersion: "TLSv1.3" }),
        "tls.maxVersion": tls({ maxVersion: "TLSv1.2" }),
        "tls.host": tls({ host: "192.0.2.1" }),
        "tls.lookup": tls({ lookup: () => {} }),
        "tls.whatever": tls({ whatever: "hunter2" }),
        family: { host: "localhost", family: 6 },
        natMap: { natMap: { "10.0.0.1:6379": { host: "h", port: 1 } } },
        Connector: { Connector: class Connector {} },
        readOnly: { readOnly: true },
      };
      for (const [option, options] of Object.entries(refusedOptions)) {
        const client = make(options as Options5);
        assert.throws(
          () => createRedisKV(client),
          (error: KVError) => {
            assert.equal(error.code, "CONFIG");
            assert.match(
              error.message,
              new RegExp(`^client\\.options\\.${option.replace(".", "\\.")} may change`),
            );
            assert.doesNotMatch(error.message, /hunter2/);
            return true;
          },
        );
      }
      // These options change nothing for this package.
      const usual = {
        minVersion: "TLSv1.2",
        maxVersion: "TLSv1.3",
        checkServerIdentity: undefined,
        noDelay: true,
      };
      await connectionOf(make({ ...tls(usual), connectionName } as Options5));
      await connectionOf(make({ ...server.address, family: 4, connectionName }));
    });

    test("options for no connection are ignored, and an unknown one is warned of", async () => {
      const patient = { retryStrategy: () => null, enableReadyCheck: false, maxRetriesPerRequest: null };
      const known = make({ ...server.address, ...patient, connectionName });
      assert.deepEqual(await warningsOf(() => createRedisKV(known).disconnect()), []);
      const unknown = make({ ...server.address, frobnicate: "hunter2" } as Options5);
      assert.deepEqual(await warningsOf(() => createRedisKV(unknown).disconnect()), [
        {
          code: "COVARA_KV_CONFIG",
          message: "client.options.frobnicate is not known to covara-kv and changes nothing",
        },
      ]);
    });

    test("a user without a password is CONFIG", () => {
      const client = make({ ...server.address, username: "alice" });
      assert.throws(() => createRedisKV(client), { code: "CONFIG", message: /^redis\.username/ });
    });

    test("nothing is changed, and it stays usable while the store comes and goes", async () => {
      const client = make({ ...server.address, db: 5, keyPrefix: "mine:" });
      const { options } = client;
      const before = { ...options };
      await client.connect();
      const heard: string[] = [];
      const kv = createRedisKV(client);
      await kv.subscribe("c", (message) => heard.push(message));
      assert.equal(await client.set("k", "of the client"), "OK");
      assert.equal(await kv.get("k"), "of the client");
      await kv.set("k", "of the store");
      await kv.disconnect();
      assert.equal(await client.get("k"), "of the store");
      assert.equal(client.status, "ready");
      assert.equal(client.options, options);
      assert.deepEqual({ ...options }, before);
      for (const event of ["error", "end", "ready", "message"])
        assert.equal(client.listenerCount(event), 0, event);
      client.disconnect();
    });

    test("that was disconnected, the options are enough", async () => {
      const client = make({ ...server.address, connectionName });
      await client.connect();
      client.disconnect();
      await new Promise((resolve) => client.once("end", resolve));
      await connectionOf(client);
    });

    test("the options are what createKV takes too", async () => {
      const client = make({ ...server.address, db: 6, connectionName });
      await using _ = await createKV({ type: "redis", redis: client as object, prefix: "p" });
      assert.equal((await server.client(name)).db, "6");
    });
  });
}

test("createRedisKVFromConfig takes a configuration and a prefix", async () => {
  const kv = createRedisKVFromConfig({ ...server.address, db: 7, clientName: name }, "p");
  await kv.set("k", "v");
  assert.equal((await server.client(name)).db, "7");
  await server.admin.select(7);
  assert.equal(await server.admin.get("p:k"), "v");
  assert.ok(kv instanceof RedisKVStore);
  await kv.disconnect();
});

// All of these lead to the Redis on localhost if their fields, which are not those of a configuration, are not read.
test("what is neither a client with options nor a configuration is CONFIG", async () => {
  class OtherClient {
    connection = { host: "192.0.2.1" };
    sendCommand() {}
  }
  const strangers = [
    new OtherClient(),
    { options: {} },
    { options: { servers: ["192.0.2.1"] } },
    { url: "redis://192.0.2.1", options: { host: "192.0.2.1" } },
    new Map([["host", "192.0.2.1"]]),
  ];
  for (const stranger of strangers as object[]) {
    const refusal = { code: "CONFIG", message: /neither a configuration .* nor a client/ };
    assert.throws(() => createRedisKV(stranger), refusal);
    await assert.rejects(createKV({ type: "redis", redis: stranger }), refusal);
  }
});

// When a release of ioredis has a new option, this test asks what to do with it, before it is dropped.
test("every option of ioredis is known", () => {
  type Known = keyof Options5 | keyof Options6;
  const options: { [K in Known]-?: unknown } = {
    ...{ host: "h", port: 1, path: "", family: 0, tls: {}, username: "", password: "", db: 0, keyPrefix: "" },
    ...{ connectionName: "n", connectTimeout: 1, commandTimeout: 1, Connector: "", natMap: "", readOnly: "" },
    ...{
      sentinels: null,
      retryStrategy: 1,
      reconnectOnError: 1,
      maxRetriesPerRequest: 1,
      maxLoadingRetryTime: 1,
    },
    ...{ lazyConnect: 1, enableOfflineQueue: 1, enableReadyCheck: 1, enableAutoPipelining: 1 },
    ...{
      autoPipeliningIgnoredCommands: 1,
      autoResubscribe: 1,
      autoResendUnfulfilledCommands: 1,
      offlineQueue: 1,
    },
    ...{ commandQueue: 1, monitor: 1, socketTimeout: 1, disconnectTimeout: 1, blockingTimeout: 1 },
    ...{ blockingTimeoutGrace: 1, keepAlive: 1, noDelay: 1, disableClientInfo: 1, clientInfoTag: 1 },
    ...{ stringNumbers: 1, protocol: 1, replyMapping: 1, himportFieldsets: 1, scripts: 1, name: 1, role: 1 },
    ...{
      showFriendlyErrorStack: 1,
      preferredSlaves: 1,
      sentinelUsername: 1,
      sentinelPassword: 1,
      sentinelTLS: 1,
    },
    ...{ sentinelRetryStrategy: 1, sentinelReconnectStrategy: 1, sentinelCommandTimeout: 1 },
    ...{ sentinelMaxConnections: 1, enableTLSForSentinelMode: 1, updateSentinels: 1, failoverDetector: 1 },
  };
  return warningsOf(() => createRedisKV({ options: options as object }).disconnect()).then((warnings) =>
    assert.deepEqual(warnings, []),
  );
});

test("a client of another library works, if it has options", async () => {
  const kv = createRedisKV({
    options: { ...server.address, db: 8, username: null, password: null, path: null },
  });
  assert.equal(await kv.ping(), "PONG");
  await kv.disconnect();
});
