// Without the checks of TLS a store talks to a server that is not the one that it is configured for.
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { type RedisConfig, RedisKVStore, type RedisTlsConfig } from "covara-kv";
import { eventually } from "../backends.js";
import { HOST, listen } from "../sockets.js";
import { Authority } from "./certificates.js";
import { open, refusalOf, SECRET } from "./servers.js";
import { TlsRedis } from "./tls-servers.js";

const authority = new Authority("covara-kv tests");
const stranger = new Authority("somebody else");
after(() => {
  authority.remove();
  stranger.remove();
});
const { ca } = authority;
const server = authority.sign("server", "subjectAltName=DNS:localhost,DNS:redis.example.org,IP:127.0.0.1");
const client = authority.sign("client", "extendedKeyUsage=clientAuth");
const ancient = authority.sign("ancient", "");
const impostor = stranger.sign("client", "extendedKeyUsage=clientAuth");

const redis = new TlsRedis(authority, server, "no");
const mutual = new TlsRedis(authority, server, "yes");

async function works(config: RedisConfig): Promise<void> {
  await using kv = await open(config);
  await kv.set("k", "v");
  assert.equal(await kv.get("k"), "v");
}

describe("TLS with the authority that signed the server", () => {
  const forms: Record<string, () => RedisConfig> = {
    "by an address": () => ({ port: redis.port, tls: { ca } }),
    "by a name": () => ({ host: "localhost", port: redis.port, tls: { ca } }),
    "by rediss:// and ca": () => ({ url: `rediss://localhost:${redis.port}/3`, tls: { ca } }),
    "by valkeys:// and ca": () => ({ url: `valkeys://127.0.0.1:${redis.port}`, tls: { ca } }),
    "among other authorities": () => ({ port: redis.port, tls: { ca: stranger.ca + ca } }),
    "by a servername that the certificate has": () => ({
      port: redis.port,
      tls: { ca, servername: "redis.example.org" },
    }),
    "with a client's certificate": () => ({
      port: mutual.port,
      tls: { ca, cert: client.cert, key: client.key },
    }),
  };
  for (const [how, config] of Object.entries(forms)) test(how, () => works(config()));
});

test("a servername that is a function is given the server before each connection", async () => {
  const asked: string[] = [];
  const servername = ({ host, port }: { host: string; port: number }) => {
    asked.push(`${host}:${port}`);
    return "redis.example.org";
  };
  await works({ port: redis.port, tls: { ca, servername } });
  await works({
    url: `rediss://127.0.0.1:${redis.port}`,
    tls: { ca, servername: async (node) => servername(node) },
  });
  assert.deepEqual(asked, Array(2).fill(`${HOST}:${redis.port}`));
  const error = await refusalOf({ port: redis.port, tls: { ca, servername: () => "other.example.org" } });
  assert.match(error.message, /is not for other\.example\.org/);
});

describe("rejectUnauthorized: false takes any certificate", () => {
  test("of an unknown authority", () => works({ port: redis.port, tls: { rejectUnauthorized: false } }));

  test("of another name", () =>
    works({ port: redis.port, tls: { ca, servername: "other.example.org", rejectUnauthorized: false } }));

  test("and rejectUnauthorized: true does not", async () => {
    const error = await refusalOf({ port: redis.port, tls: { rejectUnauthorized: true } });
    assert.equal(error.code, "CONNECTION");
  });
});

describe("createKV rejects at the first attempt", () => {
  const refused: Record<string, [RedisTlsConfig | boolean, RegExp]> = {
    "a server of an authority that the system does not know": [
      true,
      /^TLS with 127\.0\.0\.1:\d+: the server's certificate is of an authority that is not known here: give/,
    ],
    "a server of another authority": [{ ca: stranger.ca }, /an authority that is not known here/],
    "a server of another name": [
      { ca, servername: "other.example.org" },
      /is not for other\.example\.org: it is for localhost, redis\.example\.org, 127\.0\.0\.1\. /,
    ],
    "a server that does not have this address": [
      { ca, servername: "127.0.0.2" },
      /is not for 127\.0\.0\.2: it is for/,
    ],
  };
  for (const [what, [tls, message]] of Object.entries(refused)) {
    test(what, async () => {
      const { peer, redis: config } = await redis.counting(tls);
      await using _ = peer;
      const error = await refusalOf(config);
      assert.equal(error.code, "CONNECTION");
      assert.match(error.message, message);
      assert.equal(peer.connections, 1);
    });
  }
});

describe("createKV rejects with CONNECTION, and says why", () => {
  test("no client's certificate where one is wanted", async () => {
    const error = await refusalOf({ port: mutual.port, tls: { ca }, password: SECRET, retryDelay: 0 });
    assert.equal(error.code, "CONNECTION");
    assert.match(error.message, /wants a certificate from its clients: give tls\.cert and tls\.key$/);
  });

  test("a client's certificate of another authority", async () => {
    const tls = { ca, cert: impostor.cert, key: impostor.key };
    const error = await refusalOf({ port: mutual.port, tls, password: SECRET, retryDelay: 0 });
    assert.equal(error.code, "CONNECTION");
    assert.match(error.message, /does not know the authority of the certificate in tls\.cert$/);
  });

  test("TLS asked of a port that has none", async () => {
    const config = {
      port: redis.plainPort,
      tls: { ca },
      password: SECRET,
      retryDelay: 0,
      connectTimeout: 200,
    };
    const error = await refusalOf(config);
    assert.equal(error.code, "CONNECTION");
    assert.match(error.message, /TLS|did not answer within 200 ms/);
  });

  test("no TLS asked of a port that has it", async () => {
    const config = { port: redis.port, password: SECRET, retryDelay: 0, connectTimeout: 200 };
    const error = await refusalOf(config);
    assert.equal(error.code, "CONNECTION");
    assert.match(error.message, new RegExp(`127\\.0\\.0\\.1:${redis.port}`));
  });

  test("a server that says nothing to a handshake", async () => {
    await using silent = await listen((socket) => socket.resume());
    const config = { port: silent.port, tls: { ca }, retryDelay: 0, connectTimeout: 100 };
    const error = await refusalOf(config);
    assert.equal(error.code, "CONNECTION");
    assert.match(
      error.message,
      /did not answer as a server with TLS does within 100 ms: if its port has none, the url begins with redis:/,
    );
  });
});

describe("what TLS cannot use is CONFIG before anything is opened", () => {
  test("a certificate and a key that do not belong together", () => {
    const tls = { ca, cert: client.cert, key: impostor.key };
    assert.throws(() => new RedisKVStore({ port: mutual.port, tls }), {
      code: "CONFIG",
      message: /^redis\.tls/,
    });
  });

  test("a client's certificate of X.509's version 1", () => {
    const tls = { ca, cert: ancient.cert, key: ancient.key };
    assert.throws(() => new RedisKVStore({ port: mutual.port, tls }), {
      code: "CONFIG",
      message: /^redis\.tls/,
    });
  });
});

describe("over TLS", () => {
  const connected = () => open({ port: redis.port, tls: { ca } });

  test("1,000 commands of one tick are answered in order", async () => {
    await using kv = await connected();
    const replies = Array.from({ length: 1_000 }, (_, n) => kv.rpush("list", `${n}`));
    assert.deepEqual(
      await Promise.all(replies),
      Array.from({ length: 1_000 }, (_, n) => n + 1),
    );
    assert.deepEqual(
      await kv.lrange("list", 0, -1),
      Array.from({ length: 1_000 }, (_, n) => `${n}`),
    );
  });

  test("a value of 5 MB goes there and back", async () => {
    await using kv = await connected();
    const value = "0123456789abcdé".repeat(330_000);
    await kv.set("large", value);
    assert.ok((await kv.get("large")) === value);
    const both = await Promise.all([kv.get("large"), kv.get("large"), kv.set("k", "v"), kv.get("k")]);
    assert.ok(both[0] === value && both[1] === value && both[3] === "v");
  });

  test("MULTI and scripts run", async () => {
    await using kv = await connected();
    assert.deepEqual(await kv.multi().set("a", "1").incr("a").get("a").exec(), ["OK", 2, "2"]);
    for (let round = 0; round < 3; round++)
      assert.equal(await kv.eval("return ARGV[1]", [], [`${round}`]), `${round}`);
  });

  test("messages come", async () => {
    await using kv = await connected();
    const heard: string[] = [];
    await kv.subscribe("c", (message) => heard.push(message));
    await kv.psubscribe("c*", (message) => heard.push(`matched ${message}`));
    assert.equal(await kv.publish("c", "x".repeat(100_000)), 2);
    await eventually(() => heard.length === 2);
    assert.deepEqual(heard.map((message) => message.length).sort(), [100_000, 100_008]);
  });

  test("what is in flight is answered before disconnect resolves", async () => {
    const kv = new RedisKVStore({ port: redis.port, tls: { ca } });
    const replies = Promise.all(Array.from({ length: 100 }, () => kv.incr("in flight")));
    await kv.disconnect();
    assert.equal((await replies)[99], 100);
  });
});
