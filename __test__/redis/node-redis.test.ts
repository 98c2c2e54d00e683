// A client of node-redis in place of a configuration must lead to the same server. Its options have names of their own.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { createKV, createRedisKV, type KVError, type KVStore, type RedisClientLike } from "covara-kv";
import * as redis6 from "redis";
import * as redis4 from "redis4";
import * as redis5 from "redis5";
import { closedPort, HOST } from "../sockets.js";
import { warningsOf } from "../warnings.js";
import { Authority } from "./certificates.js";
import { SECRET, SharedRedis } from "./servers.js";

const directory = mkdtempSync(join(tmpdir(), "covara-kv-node-redis-"));
const path = join(directory, "redis.sock");
const authority = new Authority("covara-kv tests");
const identity = authority.sign("server", "subjectAltName=DNS:localhost,DNS:redis.example.org,IP:127.0.0.1");
let tlsPort = 0;
after(() => {
  authority.remove();
  rmSync(directory, { recursive: true, force: true });
});
const server = new SharedRedis(
  async () => {
    tlsPort = await closedPort();
    return {
      unixsocket: path,
      ...authority.redisConfig(tlsPort, identity),
    };
  },
  (admin) => admin.call("ACL", "SETUSER", "alice", "on", `>${SECRET}`, "~*", "&*", "+@all"),
);

/** Makes a client that does not connect by itself. Each version has types of its own. */
type Make = (options?: object) => RedisClientLike & object;

const versions: Record<string, { make: Make; others: () => object[] }> = {
  "node-redis 4": {
    make: (options) => redis4.createClient(options),
    others: () => [redis4.createCluster({ rootNodes: [{ url: "redis://192.0.2.1" }] })],
  },
  "node-redis 5": {
    make: (options) => redis5.createClient(options),
    others: () => [
      redis5.createCluster({ rootNodes: [{ url: "redis://192.0.2.1" }] }),
      redis5.createSentinel({ name: "m", sentinelRootNodes: [{ host: "192.0.2.1", port: 1 }] }),
      redis5.createClientPool({ socket: { host: "192.0.2.1" } }),
    ],
  },
  "node-redis 6": {
    make: (options) => redis6.createClient(options),
    others: () => [
      redis6.createCluster({ rootNodes: [{ url: "redis://192.0.2.1" }] }),
      redis6.createSentinel({ name: "m", sentinelRootNodes: [{ host: "192.0.2.1", port: 1 }] }),
      redis6.createClientPool({ socket: { host: "192.0.2.1" } }),
    ],
  },
};

const name = "taken-over";
const { ca } = authority;

// Its options have other names than those of ioredis. If none is read, the store uses 127.0.0.1:6379 without a warning.
for (const [version, { make, others }] of Object.entries(versions)) {
  describe(`of a client of ${version}`, () => {
    /** Resolves to the line of CLIENT LIST for a store on this client. */
    const connectionOf = async (options: object, use?: (kv: KVStore) => Promise<void>) => {
      const warnings = await warningsOf(async () => {
        const kv = createRedisKV(make({ name, ...options }));
        try {
          await kv.set("k", "v");
          await use?.(kv);
          found = await server.client(name);
        } finally {
          await kv.disconnect();
        }
      });
      assert.deepEqual(warnings, []);
      return found;
    };
    let found: Record<string, string> = {};

    const refusal = (option: string) => (error: KVError) => {
      assert.equal(error.code, "CONFIG", error.stack);
      assert.match(error.message, new RegExp(`^client\\.options\\.${option.replace(".", "\\.")} may change`));
      assert.doesNotMatch(error.message, /hunter2/);
      return true;
    };

    test("host, port, user, password, database and name are taken over", async () => {
      const credentials = { username: "alice", password: SECRET };
      const { user, db } = await connectionOf({ socket: server.address, ...credentials, database: 3 });
      assert.deepEqual([user, db], ["alice", "3"]);
    });

    test("what its url says is taken over", async () => {
      const url = `redis://alice:${encodeURIComponent(SECRET)}@${server.endpoint}/4`;
      const { user, db } = await connectionOf({ url });
      assert.deepEqual([user, db], ["alice", "4"]);
    });

    test("a socket is taken over", async () => {
      const { addr } = await connectionOf({ socket: { path } });
      assert.equal(addr, `${path}:0`);
    });

    test("TLS is taken over, by socket and by rediss://", async () => {
      for (const authorities of [ca, Buffer.from(ca), [ca]]) {
        await connectionOf({ socket: { host: "localhost", port: tlsPort, tls: true, ca: authorities } });
      }
      const named = { host: HOST, port: tlsPort, tls: true, ca, servername: "redis.example.org" };
      await connectionOf({ socket: named });
      const url = `rediss://localhost:${tlsPort}/2`;
      assert.equal((await connectionOf({ url, socket: { tls: true, ca } })).db, "2");
      const wary = createRedisKV(make({ url }));
      await assert.rejects(wary.connect(), {
        code: "CONNECTION",
        message: /^TLS with localhost:.*of an authority that is not known here/,
      });
      await wary.disconnect();
    });

    test("without options it is on localhost, as the client is", async () => {
      const kv = createRedisKV(make());
      await kv.disconnect();
    });

    test("an option that may change the server or whom it trusts is CONFIG", () => {
      const socket = (options: object) => ({
        socket: { host: "localhost", port: tlsPort, tls: true, ca, ...options },
      });
      const refused: Record<string, object> = {
        "socket.checkServerIdentity": socket({ checkServerIdentity: () => undefined }),
        "socket.pfx": socket({ pfx: Buffer.from("hunter2"), passphrase: "hunter2" }),
        "socket.minVersion": socket({ minVersion: "TLSv1.3" }),
        "socket.lookup": { socket: { host: "h", lookup: () => {} } },
        "socket.localAddress": { socket: { host: "h", localAddress: "192.0.2.1" } },
        "socket.family": { socket: { host: "h", family: 6 } },
        readonly: { readonly: true },
        credentialsProvider: {
          credentialsProvider: {
            type: "async-credentials-provider",
            credentials: async () => ({ password: "hunter2" }),
          },
        },
      };
      for (const [option, options] of Object.entries(refused)) {
        assert.throws(() => createRedisKV(make(options)), refusal(option));
      }
      const streaming = {
        type: "streaming-credentials-provider",
        subscribe: () => {},
        onReAuthenticationError: () => {},
      };
      const both = { username: "alice", password: SECRET, credentialsProvider: streaming };
      assert.throws(() => createRedisKV(make(both)), refusal("credentialsProvider"));
    });

    test("a user without a password is CONFIG", () => {
      const client = make({ url: "redis://alice@127.0.0.1" });
      assert.throws(() => createRedisKV(client), { code: "CONFIG", message: /^redis\.username/ });
    });

    test("Cluster, sentinels and pools are CONFIG", async () => {
      for (const other of others()) {
        const told = { code: "CONFIG", message: /neither a configuration .* nor a client/ };
        assert.throws(() => createRedisKV(other), told);
        await assert.rejects(createKV({ type: "redis", redis: other }), told);
      }
    });

    test("the options are what createKV takes too, and patience is ignored", async () => {
      const patient = { pingInterval: 1_000, disableOfflineQueue: true, commandsQueueMaxLength: 5 };
      const socket = { ...server.address, reconnectStrategy: () => 5, connectTimeout: 2_000, noDelay: true };
      const redis = make({ socket, database: 6, name, ...patient });
      const warnings = await warningsOf(async () => {
        await using _ = await createKV({ type: "redis", redis: redis as object, prefix: "p" });
        assert.equal((await server.client(name)).db, "6");
      });
      assert.deepEqual(warnings, []);
    });
  });
}

test("keyPrefix comes before the store's own", () => {
  const of = (keyPrefix: string | Buffer) =>
    createRedisKV(redis6.createClient({ keyPrefix }), "inner").prefix;
  assert.deepEqual([of("app:"), of(Buffer.from("app:"))], ["app:inner", "app:inner"]);
  assert.throws(() => of("app"), { code: "CONFIG", message: /keyPrefix/ });
});
