import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import { after, before, describe, test } from "node:test";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { type RedisConfig, RedisKVStore, type RedisTlsConfig } from "covara-kv";
import { eventually } from "../backends.js";
import { commandsOf } from "../fake-server.js";
import { startRedis } from "../redis-server.js";
import { Authority, type Identity } from "./certificates.js";
import { run } from "./processes.js";
import { closedPort, forward, HOST, listen, open, type Peer, refusalOf, SECRET } from "./servers.js";

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

/** A Redis with TLS on one port, and plain text on another. */
class TlsRedis {
  port = 0;
  plainPort = 0;

  constructor(clients: "yes" | "no") {
    let stop: (() => Promise<void>) | undefined;
    before(async () => {
      this.port = await closedPort();
      const started = await startRedis(authority.redisConfig(this.port, server, clients));
      this.plainPort = started.port;
      stop = () => started.stop();
    });
    after(() => stop?.());
  }

  /** The same server behind a port of its own, which counts connections. */
  async counting(tls: RedisTlsConfig | boolean): Promise<{ peer: Peer; redis: RedisConfig }> {
    const peer = await forward({ host: HOST, port: this.port }, { host: HOST });
    return { peer, redis: { port: peer.port, tls, password: SECRET, retryDelay: 10 } };
  }
}

const redis = new TlsRedis("no");
const mutual = new TlsRedis("yes");

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

/** A TLS server that completes the handshake of Redis, with any certificate: redis-server refuses some. */
async function tlsFake(
  { cert, key }: Identity,
  options: TlsOptions = {},
): Promise<AsyncDisposable & { port: number }> {
  const sockets = new Set<Socket>();
  const replies: Record<string, string> = { PING: "+PONG\r\n", HELLO: "%0\r\n", GET: "$1\r\nv\r\n" };
  const replyTo = ([name = ""]: readonly string[]) => replies[name] ?? "+OK\r\n";
  const fake = createTlsServer({ cert, key, ...options }, (socket) => {
    socket.on("data", (chunk) => void socket.write(commandsOf(chunk).commands.map(replyTo).join("")));
    socket.on("error", () => {});
  });
  fake.on("connection", (socket: Socket) => sockets.add(socket));
  fake.on("tlsClientError", () => {});
  fake.listen(0, HOST);
  await once(fake, "listening");
  return {
    port: (fake.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      fake.close();
      await once(fake, "close");
    },
  };
}

async function gets(config: RedisConfig): Promise<void> {
  await using kv = await open(config);
  assert.equal(await kv.get("k"), "v");
}

/** A time so many days ago, in openssl's format. */
const ago = (days: number) =>
  `${new Date(Date.now() - days * 86_400_000).toISOString().replace(/[-:T]/g, "").slice(0, 14)}Z`;

const VERSIONS = ["TLSv1.2", "TLSv1.3"] as const;

// OpenSSL, and so every other client, accepts such a certificate. The error was `Other(OtherError(CaUsedAsEndEntity))`.
describe("a certificate that signed itself, given as ca", () => {
  const self = authority.selfSigned("self", "subjectAltName=DNS:localhost,IP:127.0.0.1");
  const other = authority.selfSigned("other-self", "subjectAltName=DNS:localhost,IP:127.0.0.1");

  for (const version of VERSIONS) {
    test(`is taken from the server, over ${version}`, async () => {
      await using fake = await tlsFake(self, { minVersion: version, maxVersion: version });
      await gets({ port: fake.port, tls: { ca: self.cert } });
      await gets({ port: fake.port, tls: { ca: other.cert + self.cert } });
    });
  }

  test("must still have the server's name", async () => {
    await using fake = await tlsFake(self);
    const error = await refusalOf({ port: fake.port, tls: { ca: self.cert, servername: "example.org" } });
    assert.match(error.message, /is not for example\.org: it is for localhost, 127\.0\.0\.1\. /);
  });

  test("must still be in its period of validity", async () => {
    const extensions = "subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:TRUE";
    const old = authority.signFor("old-self", extensions, ago(30), ago(2.5), true);
    await using fake = await tlsFake(old);
    const error = await refusalOf({ port: fake.port, tls: { ca: old.cert } });
    assert.match(error.message, /certificate expired 2 days ago$/);
  });

  test("must be the very same", async () => {
    await using fake = await tlsFake(self);
    const error = await refusalOf({ port: fake.port, tls: { ca: other.cert } });
    assert.match(error.message, /an authority's own, and not known here: give it as tls\.ca$/);
  });

  test("and not given, has its reason", async () => {
    await using fake = await tlsFake(self);
    const error = await refusalOf({ port: fake.port, tls: true });
    assert.equal(error.reason, "unknown-authority");
    assert.match(error.message, /an authority's own, and not known here: give it as tls\.ca$/);
  });
});

// The option is documented as "takes any certificate". This certificate was refused as UnsupportedCertVersion.
describe("a certificate of X.509's version 1", () => {
  for (const version of VERSIONS) {
    test(`is any certificate to rejectUnauthorized: false, over ${version}`, async () => {
      await using fake = await tlsFake(ancient, { minVersion: version, maxVersion: version });
      await gets({ port: fake.port, tls: { rejectUnauthorized: false } });
    });
  }

  test("is refused in words by others", async () => {
    await using fake = await tlsFake(ancient);
    const error = await refusalOf({ port: fake.port, tls: { ca } });
    assert.match(
      error.message,
      /is of X\.509's version 1, which has no names to check: it must be of version 3$/,
    );
  });
});

// The errors had the words of the TLS library, with a link to its documentation.
describe("what is wrong with a certificate is said in words", () => {
  const names = "subjectAltName=IP:127.0.0.1";
  const wrong: Record<string, [() => Identity, RegExp]> = {
    "that it expired": [
      () => authority.signFor("expired", names, ago(30), ago(2.5)),
      /^TLS with 127\.0\.0\.1:\d+: the server's certificate expired 2 days ago$/,
    ],
    "that it is not valid yet": [
      () => authority.signFor("early", names, ago(-3.5), ago(-30)),
      /certificate is not valid for another 3 days: is the clock of this machine right\?$/,
    ],
    "that it has no name": [
      () => authority.sign("nameless", "basicConstraints=CA:FALSE"),
      /is not for 127\.0\.0\.1: it has no name \(subjectAltName\)\. /,
    ],
    "that it is for clients": [
      () => authority.sign("for-clients", `${names}\nextendedKeyUsage=clientAuth`),
      /is not for servers \(extendedKeyUsage\)$/,
    ],
  };
  for (const [what, [identity, message]] of Object.entries(wrong)) {
    test(what, async () => {
      await using fake = await tlsFake(identity());
      const error = await refusalOf({ port: fake.port, tls: { ca }, retryDelay: 60_000 });
      assert.equal(error.code, "CONNECTION");
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /OtherError|https?:/);
    });
  }

  test("that there is none: the server answers in plain text", async () => {
    await using plain = await listen((socket) => {
      socket.once("data", () => socket.write("-ERR unknown command\r\n"));
    });
    const error = await refusalOf({ port: plain.port, tls: { ca } });
    assert.match(
      error.message,
      /answers in plain text: its port has no TLS, and the url begins with redis:\/\/$/,
    );
  });

  test("that the server has TLS, and no TLS was asked for", async () => {
    await using fake = await tlsFake(server);
    for (const { port } of [redis, fake]) {
      const error = await refusalOf({ port, retryDelay: 0, connectTimeout: 500 });
      assert.equal(error.code, "CONNECTION");
      assert.match(error.message, /TLS.*rediss:\/\//);
    }
  });
});

// Images such as node:slim have no certificates of the system. Node.js brings its own.
describe("authorities that Node.js trusts", () => {
  /** The output of stores with TLS and no authority of their own: the value, or the error's text. */
  const get = async (port: number, env: Record<string, string>, before = "") => {
    const program = `${before}
      for (const tls of [true, {}]) {
        await createKV({ type: "redis", redis: { ...redis, tls } }).then(
          async (kv) => { console.log(await kv.get("k")); await kv.disconnect(); },
          ({ message }) => console.log(message),
        );
      }`;
    return (await run({ port, retryDelay: 60_000 }, program, { env })).stdout;
  };

  test("in NODE_EXTRA_CA_CERTS count", async () => {
    await using fake = await tlsFake(server);
    assert.equal(await get(fake.port, { NODE_EXTRA_CA_CERTS: authority.self.certFile }), "v\nv\n");
    assert.match(await get(fake.port, {}), /of an authority that is not known here/);
  });

  test("of its own count where the system has none", async () => {
    await using fake = await tlsFake(server);
    // Node.js's certificates cannot be replaced, but the module that has them can.
    const before = `
      const { default: Module } = await import("node:module");
      const load = Module._load;
      Module._load = (name, ...rest) => name === "node:tls" ? { rootCertificates: ${JSON.stringify([ca])} } : load(name, ...rest);`;
    const system = (file: string) => ({ SSL_CERT_FILE: file, SSL_CERT_DIR: "/nonexistent" });
    assert.equal(await get(fake.port, system("/nonexistent"), before), "v\nv\n");
    // The certificates of the system count alone, where it has some.
    assert.match(await get(fake.port, system(stranger.self.certFile), before), /of an authority that is not/);
    assert.match(await get(fake.port, system("/nonexistent")), /of an authority that is not known here/);
  });
});
