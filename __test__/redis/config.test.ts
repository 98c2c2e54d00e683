// A wrong field that is ignored makes the store connect to another server, or without the security that the user asks for.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { inspect } from "node:util";
import { createKV, type KVConfig, type RedisConfig, RedisKVStore, type RedisTlsConfig } from "covara-kv";
import { listen } from "../sockets.js";
import { warningsOf } from "../warnings.js";
import { asConfig, refuses } from "./refused.js";
import { SECRET } from "./servers.js";

const lone = "a\ud800b";
const notText = [1, 0n, true, null, {}, [], ["a"], () => "a", Symbol("a"), new String("a"), lone];
const notTextOrFunction = notText.filter((value) => typeof value !== "function");
const noInteger = ["1", 1n, null, true, {}, [1], Number.NaN, 1.5, Number.POSITIVE_INFINITY, -1, 2 ** 53];

type Field = Exclude<keyof RedisConfig, "sentinel" | "cluster"> | `tls.${keyof RedisTlsConfig}`;

const wrong: Record<Field, unknown[]> = {
  // An empty address is CONFIG: see config-server.test.ts.
  url: [...notText, "redis://127.0.0.1\0"],
  host: [...notText, "127.0.0.1\0"],
  path: [...notText, "/tmp/redis\0"],
  port: [...noInteger, 0, 65_536],
  username: notTextOrFunction,
  password: notTextOrFunction,
  protocol: [...noInteger, 0, 1, 4, 2.5],
  db: [...noInteger, 2 ** 31],
  clientName: [...notText, "", "two words", "line\n", "nul\0", "ümlaut", "\x7f"],
  tls: [null, "true", 1, [], () => ({})],
  "tls.ca": [...notText, "", "\0"],
  "tls.cert": [...notText, "", "\0"],
  "tls.key": [...notText, "", "\0"],
  "tls.servername": [...notTextOrFunction, "", "localhost\0"],
  "tls.rejectUnauthorized": ["false", 0, null, {}],
  maxRetries: [...noInteger, 2 ** 32],
  retryDelay: [...noInteger, 2 ** 31],
  commandTimeout: [...noInteger, 0, 2 ** 31],
  queueTimeout: [...noInteger.filter((value) => value !== Infinity), 2 ** 31],
  connectTimeout: [...noInteger, 0, 2 ** 31],
  maxQueue: [...noInteger, 2 ** 32],
  maxReplySize: [...noInteger, 0, 2 ** 32],
  fanout: [...notText, "", "Targeted", "none"],
  readFrom: [...notText, "", "Replica", "secondary"],
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
  const all = [...fields, "sentinel", "cluster"].map((field) => [field, undefined]);
  const absent = { ...Object.fromEntries(all), host: "127.0.0.1" };
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

describe("a configuration of another type is refused", () => {
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
    "a proxy that lets nothing be read": () => new Proxy({ host: "h" }, { get: fail }),
    "a proxy that lets nothing be asked for": () => new Proxy({}, { getOwnPropertyDescriptor: fail }),
    "a proxy that does not show its keys": () => new Proxy({}, { ownKeys: fail }),
    "a proxy without a prototype to show": () => new Proxy({}, { getPrototypeOf: fail }),
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
  const reads = new Map<PropertyKey, object[]>();
  const counting = (target: object): object =>
    new Proxy(target, {
      get(of, name) {
        reads.set(name, [...(reads.get(name) ?? []), of]);
        return Reflect.get(of, name);
      },
    });
  const config = {
    host: "127.0.0.1",
    port: 1,
    password: SECRET,
    db: 1,
    maxQueue: 1,
    tls: counting({ ca: undefined, servername: "one" }),
  };
  const node = () => ({ host: "127.0.0.1", port: 1 });
  const by = () => "other";
  const where = [
    config,
    { tls: counting({ servername: by }), cluster: counting({ nodes: [counting(node())], addressMap: node }) },
    { tls: true, cluster: counting({ nodes: [node()], servername: by, crossSlot: undefined }) },
    {
      tls: counting({ servername: "one" }),
      sentinel: counting({
        name: "m",
        nodes: [counting(node())],
        username: by,
        password: by,
        tls: counting({ servername: by }),
      }),
    },
  ];
  for (const each of where) {
    reads.clear();
    await new RedisKVStore(asConfig(counting(each))).disconnect();
    for (const [name, objects] of reads) {
      assert.equal(new Set(objects).size, objects.length, `${String(name)} was read twice`);
    }
    assert.ok(reads.has("servername"));
  }
});

test("a configuration is copied: what changes afterwards changes nothing", async () => {
  await using peer = await listen((socket) => socket.destroy());
  const config: RedisConfig = { port: peer.port, maxRetries: 1 };
  const kv = new RedisKVStore(config);
  Object.assign(config, { port: 1, host: "nonexistent.invalid" });
  await assert.rejects(kv.connect(), { message: new RegExp(`127\\.0\\.0\\.1:${peer.port}`) });
  await kv.disconnect();
});

test("__proto__ as a key is no field", async () => {
  await using peer = await listen((socket) => socket.destroy());
  const own = JSON.parse(`{ "port": ${peer.port}, "maxRetries": 1, "__proto__": { "host": 5 } }`);
  const warnings = await warningsOf(() =>
    assert.rejects(createKV({ type: "redis", redis: own }), {
      message: new RegExp(`127.0.0.1:${peer.port} `),
    }),
  );
  assert.equal(warnings.length, 1);
});

// An application may have a class with getters for its configuration. A store that ignores inherited fields connects to localhost.
test("fields that are inherited are CONFIG", async () => {
  class Settings {
    get host() {
      return "redis.example.org";
    }
  }
  await refuses(new Settings(), "CONFIG", /^redis\.host must not be inherited/);
  await refuses(Object.create({ port: 1 }), "CONFIG", /^redis\.port must not be inherited/);
  await refuses({ tls: Object.create({ ca: "x" }) }, "CONFIG", /^redis\.tls\.ca must not be inherited/);
  const config = Object.create({ type: "memory" });
  await assert.rejects(createKV(config), { code: "CONFIG", message: /^type must not be inherited/ });
});

describe("an unknown field is warned of, once, with the field that may be meant", () => {
  const code = "COVARA_KV_CONFIG";
  const warned = async (config: object, ...texts: RegExp[]) => {
    const warnings = await warningsOf(async () => {
      const kv = await createKV(config as KVConfig).catch(() => undefined);
      await kv?.disconnect();
    });
    assert.deepEqual(
      warnings.map(({ code }) => code),
      texts.map(() => code),
      JSON.stringify(warnings),
    );
    for (const [i, text] of texts.entries()) assert.match(warnings[i]?.message ?? "", text);
    assert.doesNotMatch(JSON.stringify(warnings), /hunter2/);
  };
  const nowhere = { host: "127.0.0.1", port: 1, maxRetries: 0 };
  const redis = (fields: object) => ({ type: "redis", redis: { ...nowhere, ...fields } });

  // `stric: true` leaves the store lenient, and `keyPrefix` mixes its keys with those of other applications, both without a warning.
  test("by its letters", async () => {
    await warned({ type: "memory", stric: true }, /^stric is no field .*did you mean strict\?$/);
    await warned({ type: "memory", Shared: "s" }, /^Shared is .*did you mean shared\?$/);
    await warned(redis({ comandTimeout: 5 }), /^redis\.comandTimeout is .*did you mean commandTimeout\?$/);
    await warned(redis({ client_name: "n" }), /^redis\.client_name is .*did you mean clientName\?$/);
    await warned(redis({ tls: { rejectUnauthorised: false } }), /^redis\.tls\..*mean rejectUnauthorized\?$/);
    await warned({ type: "memory", frobnicate: "hunter2" }, /^frobnicate is no field .* changes nothing$/);
  });

  test("by what other clients call it", async () => {
    for (const [given, meant] of Object.entries({
      keyPrefix: "prefix, beside redis",
      prefix: "prefix, beside redis",
      connectionName: "clientName",
      name: "clientName",
      database: "db",
      user: "username",
      pass: "password",
      maxRetriesPerRequest: "maxRetries",
      retryStrategy: "retryDelay",
      socket: "path",
      nodes: "cluster",
      startupNodes: "cluster",
    })) {
      await warned(
        redis({ [given]: "hunter2" }),
        new RegExp(`^redis\\.${given} is .*did you mean ${meant}\\?$`),
      );
    }
  });

  test("each by itself, and not what is undefined", async () => {
    await warned({ ...redis({ foo: 1 }), bar: 2 }, /^bar /, /^redis\.foo /);
    await warned({ ...redis({ foo: undefined }), bar: undefined });
    const { sentinel } = { sentinel: { name: "m", nodes: [{ host: "h", port: 1 }], nmae: "hunter2" } };
    await warned(redis({ sentinel }), /^redis\.sentinel\.nmae is no field/);
  });

  test("one that is not for the type", async () => {
    await warned({ ...redis({}), shared: "s" }, /^shared is not for the type "redis"/);
    await warned({ ...redis({}), strict: true }, /^strict is not for the type "redis"/);
    await warned({ type: "memory", redis: {} }, /^redis is not for the type "memory"/);
    const durable = { type: "durable-object", durableObject: { binding: {} } };
    await warned(
      { ...durable, shared: "s" },
      /^shared is not/,
      /^durableObject\.binding .*mean namespace\?$/,
    );
  });
});

test("a prefix that is no string is INVALID_ARGUMENT", async () => {
  for (const prefix of [5, null, {}, lone] as unknown[] as string[]) {
    assert.throws(() => new RedisKVStore({}, prefix), { code: "INVALID_ARGUMENT", message: /prefix/ });
    await assert.rejects(createKV({ type: "redis", redis: {}, prefix }), { code: "INVALID_ARGUMENT" });
  }
});
