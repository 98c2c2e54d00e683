// Another client takes a certificate that we refuse, or the refusal does not say why. Which certificates a store takes, and the words of
// its refusals.
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import type { RedisConfig } from "covara-kv";
import { listen } from "../sockets.js";
import { Authority, type Identity } from "./certificates.js";
import { run } from "./processes.js";
import { open, refusalOf } from "./servers.js";
import { TlsRedis, tlsFake } from "./tls-servers.js";

const authority = new Authority("covara-kv tests");
const stranger = new Authority("somebody else");
after(() => {
  authority.remove();
  stranger.remove();
});
const { ca } = authority;
const server = authority.sign("server", "subjectAltName=DNS:localhost,DNS:redis.example.org,IP:127.0.0.1");
const ancient = authority.sign("ancient", "");

const redis = new TlsRedis(authority, server, "no");

async function gets(config: RedisConfig): Promise<void> {
  await using kv = await open(config);
  assert.equal(await kv.get("k"), "v");
}

/** A time so many days ago, in openssl's format. */
const ago = (days: number) =>
  `${new Date(Date.now() - days * 86_400_000).toISOString().replace(/[-:T]/g, "").slice(0, 14)}Z`;

const VERSIONS = ["TLSv1.2", "TLSv1.3"] as const;

// OpenSSL, and so every other client, accepts such a certificate. Without this it fails with `Other(OtherError(CaUsedAsEndEntity))`.
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

// The option is documented as "takes any certificate". It must not refuse this one as UnsupportedCertVersion.
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

// Errors with the words of the TLS library, and a link to its documentation, do not tell a user what is wrong.
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
