// A mistake in a URL or in the fields of `sentinel` is only found at the first failover unless it is CONFIG.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type RedisConfig, RedisKVStore } from "covara-kv";
import { Redis } from "ioredis";
import { startRedis } from "../redis-server.js";
import { MASTER } from "../sentinel.js";
import { closedPort, HOST } from "../sockets.js";
import { by, fakeSentinel } from "./fake-sentinel.js";
import { open, SECRET } from "./servers.js";

test("what a URL says of Sentinels is heard, and what is wrong with it is CONFIG", async () => {
  const one = await startRedis();
  const admin = new Redis({ host: one.host, port: one.port, db: 2 });
  await using sentinel = await fakeSentinel(one);
  try {
    await admin.config("SET", "requirepass", SECRET);
    const closed = await closedPort();
    const url = `redis+sentinel://default:${encodeURIComponent(SECRET)}@${HOST}:${closed},${HOST}:${sentinel.port}/${MASTER}/2`;
    await using kv = await open({ url });
    await kv.set("k", "v");
    assert.equal(await admin.get("k"), "v");
    const handshake = sentinel.commands.find(([name]) => name === "HELLO");
    assert.ok(!handshake?.includes("AUTH"), "the master's password is not for the Sentinels");
  } finally {
    admin.disconnect();
    await one.stop();
  }
  const wrong: [RedisConfig, RegExp][] = [
    [{ url: "redis+sentinel://h:1" }, /^redis\.url: it names no master/],
    [{ url: "redis+sentinel://h:1,:2/m" }, /^redis\.url: the address of a Sentinel is none/],
    [{ url: "redis+sentinel:///m" }, /^redis\.url: the address of a Sentinel is none/],
    [{ url: "redis+sentinel://h:1,/m" }, /^redis\.url: the address of a Sentinel is none/],
    [{ url: "redis+sentinel://h:99999/m" }, /^redis\.url: the address of a Sentinel is none/],
    [{ url: "redis+sentinel://h/m/x" }, /^redis\.url: Invalid database number/],
    [{ url: "redis+sentinel://h/m/1?db=2" }, /^redis\.url: it names two databases/],
    [{ url: "redis+sentinel://h/m#1" }, /^redis\.url: nothing may follow a #/],
    [{ url: "redis+sentinel://h/m?hunter=2" }, /^redis\.url: the parameter hunter is not known/],
    [{ url: "redis+sentinel://user@h/m" }, /^redis\.username: a user needs a password/],
    [
      { url: "redis+sentinel://h/m?sentinelUsername=u" },
      /^redis\.sentinel\.username: a user needs a password/,
    ],
    [{ url: "redis+sentinel://h/m", port: 1 }, /^redis\.sentinel: .*give either/],
    [{ url: "redis://h", ...by({ host: "h", port: 1 }) }, /^redis\.sentinel: .*give either/],
    [{ host: "h", ...by({ host: "h", port: 1 }) }, /^redis\.sentinel: .*give either/],
    [{ path: "/h", ...by({ host: "h", port: 1 }) }, /^redis\.sentinel: .*give either/],
  ];
  for (const [config, message] of wrong) {
    assert.throws(() => new RedisKVStore(config), { code: "CONFIG", message }, JSON.stringify(config));
  }
});

test("a field of sentinel that is wrong is INVALID_ARGUMENT, by its name", () => {
  const [name, nodes] = ["m", [{ host: "h", port: 1 }]];
  const wrong: [unknown, RegExp][] = [
    [null, /redis\.sentinel must be an object/],
    [{ nodes }, /redis\.sentinel\.name must be a string/],
    [{ name: "", nodes }, /redis\.sentinel\.name must have text, and no NUL/],
    [{ name: "a\0b", nodes }, /redis\.sentinel\.name must have text, and no NUL/],
    [{ name }, /redis\.sentinel\.nodes must be an array/],
    [{ name, nodes: [] }, /redis\.sentinel\.nodes must be an array .*, one at least/],
    [{ name, nodes: ["h:1"] }, /redis\.sentinel\.nodes\[0\] must be an object/],
    [{ name, nodes: [{ host: "", port: 1 }] }, /redis\.sentinel\.nodes\[0\]\.host must have text/],
    [{ name, nodes: [...nodes, { host: "h" }] }, /redis\.sentinel\.nodes\[1\]\.port must be an integer/],
    [
      { name, nodes: [{ host: "h", port: 0 }] },
      /redis\.sentinel\.nodes\[0\]\.port must be an integer from 1/,
    ],
    [{ name, nodes, username: 5 }, /redis\.sentinel\.username must be a string/],
    [{ name, nodes, password: {} }, /redis\.sentinel\.password must be a string/],
    [{ name, nodes, tls: 1 }, /redis\.sentinel\.tls must be an object/],
    [{ name, nodes, tls: { rejectUnauthorized: 1 } }, /redis\.sentinel\.tls\.rejectUnauthorized must be/],
  ];
  for (const [sentinel, message] of wrong) {
    const config = { sentinel } as RedisConfig;
    assert.throws(
      () => new RedisKVStore(config),
      { code: "INVALID_ARGUMENT", message },
      JSON.stringify(sentinel),
    );
  }
  const ca = { name, nodes, tls: { ca: "/etc/ca.pem" } };
  assert.throws(() => new RedisKVStore({ sentinel: ca }), { code: "CONFIG", reason: "certificate" });
});
