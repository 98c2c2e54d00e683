import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { inspect } from "node:util";
import { createKV, createRedisKV, createRedisKVFromConfig, type RedisConfig, RedisKVStore } from "covara-kv";
import { errorOf } from "../replies.js";
import { listen, SECRET, withoutSecret } from "./servers.js";

function thrownBy(make: () => unknown): unknown {
  try {
    make();
  } catch (error) {
    return error;
  }
  assert.fail("nothing was thrown");
}

const asConfig = (value: unknown) => value as RedisConfig;

/** Fails unless every way to make a store refuses the configuration, before anything is opened. */
async function refuses(config: unknown, code: string, message: RegExp): Promise<void> {
  const redis = asConfig(config);
  const errors = [
    thrownBy(() => new RedisKVStore(redis)),
    thrownBy(() => createRedisKV(redis)),
    thrownBy(() => createRedisKVFromConfig(redis)),
    await errorOf(createKV({ type: "redis", redis }), "createKV"),
  ];
  for (const error of errors) {
    assert.equal(withoutSecret(error).code, code, (error as Error).message);
    assert.match((error as Error).message, message);
  }
}

const lone = "a\ud800b";
const notText = [1, 0n, true, null, {}, [], ["a"], () => "a", Symbol("a"), new String("a"), lone];
const noInteger = ["1", 1n, null, true, {}, [1], Number.NaN, 1.5, Number.POSITIVE_INFINITY, -1, 2 ** 53];

const wrong: Record<string, unknown[]> = {
  url: [...notText, "", "redis://127.0.0.1\0"],
  host: [...notText, "", "127.0.0.1\0"],
  path: [...notText, "", "/tmp/redis\0"],
  port: [...noInteger, 0, 65_536],
  username: notText,
  password: notText,
  db: [...noInteger, 2 ** 31],
  clientName: [...notText, "", "two words", "line\n", "nul\0", "ümlaut", "\x7f"],
  tls: [null, "true", 1, [], () => ({})],
  "tls.ca": [...notText, "", "\0"],
  "tls.cert": [...notText, "", "\0"],
  "tls.key": [...notText, "", "\0"],
  "tls.servername": [...notText, "", "localhost\0"],
  "tls.rejectUnauthorized": ["false", 0, null, {}],
  maxRetries: [...noInteger, 2 ** 32],
  retryDelay: [...noInteger, 2 ** 31],
  commandTimeout: [...noInteger, 0, 2 ** 31],
  queueTimeout: [...noInteger.filter((value) => value !== Infinity), 2 ** 31],
  connectTimeout: [...noInteger, 0, 2 ** 31],
  maxQueue: [...noInteger, 2 ** 32],
  maxReplySize: [...noInteger, 0, 2 ** 32],
};

describe("a field of a wrong type or out of range is INVALID_ARGUMENT, and named", () => {
  for (const [field, values] of Object.entries(wrong)) {
    test(`redis.${field}`, async () => {
      const [outer, inner] = field.split(".") as [string, string?];
      for (const value of values) {
        const config = { password: SECRET, [outer]: inner === undefined ? value : { [inner]: value } };
        await refuses(config, "INVALID_ARGUMENT", new RegExp(`redis\\.${field}\\b`));
      }
    });
  }
});

test("a field that is undefined is as if it were not there", async () => {
  const fields = Object.keys(wrong).filter((field) => !field.includes("."));
  const absent = Object.fromEntries([...fields, "sentinel", "cluster"].map((field) => [field, undefined]));
  const tls = {
    ca: undefined,
    cert: undefined,
    key: undefined,
    servername: undefined,
    rejectUnauthorized: undefined,
  };
  for (const config of [absent, { ...absent, tls: false }, { ...absent, tls }]) {
    await new RedisKVStore(asConfig(config)).disconnect();
  }
});

describe("a configuration that is none is refused", () => {
  for (const config of [5, "redis://127.0.0.1", true, [], Symbol("s")]) {
    test(inspect(config), () => refuses(config, "INVALID_ARGUMENT", /redis must be an object/));
  }

  test("null and undefined", async () => {
    for (const redis of [null, undefined].map(asConfig)) {
      assert.throws(() => new RedisKVStore(redis), {
        code: "INVALID_ARGUMENT",
        message: /redis must be an object/,
      });
      await assert.rejects(createKV({ type: "redis", redis }), {
        code: "CONFIG",
        message: /^Redis configuration required/,
      });
    }
    await assert.rejects(createKV({ type: "redis" }), {
      code: "CONFIG",
      message: /^Redis configuration required/,
    });
  });
});

describe("an object that resists is INVALID_ARGUMENT", () => {
  const fail = () => {
    throw new Error("no");
  };
  const hostile: Record<string, () => unknown> = {
    "a getter that throws": () => Object.defineProperty({}, "host", { get: fail, enumerable: true }),
    "a getter that throws in tls": () => ({ tls: Object.defineProperty({}, "ca", { get: fail }) }),
    "a proxy that lets nothing be read": () => new Proxy({}, { get: fail }),
    "a proxy that lets nothing be asked for": () => new Proxy({}, { has: fail }),
    "a revoked proxy": () => {
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      return proxy;
    },
    "a revoked proxy in tls": () => {
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      return { tls: proxy };
    },
    "a client whose options cannot be read": () => Object.defineProperty({}, "options", { get: fail }),
    "a client without options": () => ({ options: null }),
  };
  for (const [what, make] of Object.entries(hostile)) {
    test(what, () => refuses(make(), "INVALID_ARGUMENT", /^RedisKVStore: /));
  }
});

test("each field is read once, so that none changes after its check", async () => {
  const reads = new Map<PropertyKey, number>();
  const counting = (target: object): object =>
    new Proxy(target, {
      get(of, name) {
        reads.set(name, (reads.get(name) ?? 0) + 1);
        return Reflect.get(of, name);
      },
    });
  const config = { host: "127.0.0.1", port: 1, password: SECRET, db: 1, maxQueue: 1, tls: counting({}) };
  await new RedisKVStore(asConfig(counting(config))).disconnect();
  for (const [name, count] of reads) assert.equal(count, 1, `${String(name)} was read ${count} times`);
  assert.ok(reads.has("ca") && reads.has("port"));
});

test("a configuration is copied: what changes afterwards changes nothing", async () => {
  await using peer = await listen((socket) => socket.destroy());
  const config: RedisConfig = { port: peer.port, maxRetries: 1 };
  const kv = new RedisKVStore(config);
  Object.assign(config, { port: 1, host: "nonexistent.invalid" });
  await assert.rejects(kv.connect(), { message: new RegExp(`127\\.0\\.0\\.1:${peer.port}`) });
  await kv.disconnect();
});

test("fields may be inherited, and __proto__ as a key is none", async () => {
  await using peer = await listen((socket) => socket.destroy());
  const inherited = Object.create({ port: peer.port, maxRetries: 1 });
  await assert.rejects(createKV({ type: "redis", redis: inherited }), {
    message: new RegExp(`:${peer.port} `),
  });
  const own = JSON.parse(`{ "port": ${peer.port}, "maxRetries": 1, "__proto__": { "host": 5 } }`);
  await assert.rejects(createKV({ type: "redis", redis: own }), {
    message: new RegExp(`127.0.0.1:${peer.port} `),
  });
});

test("sentinel and cluster are UNSUPPORTED", async () => {
  const nodes = [{ host: "127.0.0.1", port: 1 }];
  await refuses({ sentinel: { name: "main", nodes } }, "UNSUPPORTED", /^redis\.sentinel /);
  await refuses({ cluster: { nodes } }, "UNSUPPORTED", /^redis\.cluster /);
});

test("a prefix that is no string is INVALID_ARGUMENT", async () => {
  for (const prefix of [5, null, {}, lone] as unknown[] as string[]) {
    assert.throws(() => new RedisKVStore({}, prefix), { code: "INVALID_ARGUMENT", message: /prefix/ });
    await assert.rejects(createKV({ type: "redis", redis: {}, prefix }), { code: "INVALID_ARGUMENT" });
  }
});

describe("a url that is wrong is CONFIG", () => {
  const credentials = `user:${encodeURIComponent(SECRET)}`;
  const urls = {
    "another scheme": `http://${credentials}@127.0.0.1`,
    "no scheme": `${credentials}@127.0.0.1`,
    "a password that is not encoded": `redis://user:${SECRET}@127.0.0.1`,
    "no host": `redis://${credentials}@`,
    "no host, but a database": `redis://${credentials}@/0`,
    "a port that is no number": `redis://${credentials}@127.0.0.1:port`,
    "a port that is too large": `redis://${credentials}@127.0.0.1:65536`,
    "a database that is no number": `redis://${credentials}@127.0.0.1/first`,
    "a negative database": `redis://${credentials}@127.0.0.1/-1`,
    "a database that is too large": `redis://${credentials}@127.0.0.1/99999999999999999999`,
    "a host that is none": `redis://${credentials}@a b`,
    "a socket without a path": "unix://",
    "the password alone": SECRET,
    "nothing but a scheme": "redis://",
    "white space": " ",
  };
  for (const [what, url] of Object.entries(urls)) {
    test(what, () => refuses({ url }, "CONFIG", /^redis\.url: /));
  }

  test("TLS over a socket", async () => {
    await refuses({ path: "/tmp/redis.sock", tls: true }, "CONFIG", /^redis\.tls: /);
    await refuses({ url: "rediss://127.0.0.1", path: "/tmp/redis.sock" }, "CONFIG", /^redis\.tls: /);
  });
});

describe("a certificate that is wrong is CONFIG", () => {
  const pem = (label: string) => `-----BEGIN ${label}-----\nAAAA\n-----END ${label}-----\n`;
  const certificate = pem("CERTIFICATE");
  const key = pem("PRIVATE KEY");
  const cases: Record<string, [object, RegExp]> = {
    "an authority that is no PEM": [{ ca: SECRET }, /^redis\.tls\.ca: /],
    "an authority that is a key": [{ ca: key }, /^redis\.tls\.ca: /],
    "an authority that holds nothing": [{ ca: certificate }, /^redis\.tls\.ca: /],
    "an authority that is cut off": [{ ca: certificate.slice(0, 40) }, /^redis\.tls\.ca: /],
    "a certificate without a key": [{ cert: certificate }, /^redis\.tls: cert and key/],
    "a key without a certificate": [{ key }, /^redis\.tls: cert and key/],
    "a certificate that is no PEM": [{ cert: SECRET, key }, /^redis\.tls\.cert: /],
    "a key that is no PEM": [{ cert: certificate, key: SECRET }, /^redis\.tls\.key: /],
    "a key that is encrypted": [
      { cert: certificate, key: pem("ENCRYPTED PRIVATE KEY") },
      /^redis\.tls\.key: /,
    ],
    "a servername that is none": [{ servername: "not a name" }, /^redis\.tls\.servername: /],
  };
  for (const [what, [tls, message]] of Object.entries(cases)) {
    test(what, () => refuses({ tls }, "CONFIG", message));
  }
});
