// A mistake in where a server is, who asks it or by which certificates connects a store to the wrong one. It must be CONFIG before anything
// is opened.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createKV, RedisKVStore } from "covara-kv";
import { startRedis } from "../redis-server.js";
import { asConfig, refuses } from "./refused.js";
import { SECRET } from "./servers.js";

// An environment variable may not be set. A store that then uses localhost makes a production system write into an empty server there.
test("where the server is, given as undefined, is CONFIG", async () => {
  for (const name of ["url", "host", "path", "port"]) {
    const told = new RegExp(
      `^redis\\.${name} is given, but undefined: is an environment variable not set\\?`,
    );
    await refuses({ [name]: undefined }, "CONFIG", told);
    await refuses({ password: undefined, db: 1, [name]: undefined }, "CONFIG", told);
  }
  await refuses({ host: undefined, port: 6379 }, "CONFIG", /^redis\.host /);
  for (const name of ["sentinel", "cluster"])
    await refuses({ [name]: undefined }, "CONFIG", new RegExp(`^redis\\.${name} is given, but undefined: `));
  for (const name of ["url", "host", "path"]) {
    const told = new RegExp(`^redis\\.${name} is given, but empty: is an environment variable not set\\?`);
    await refuses({ [name]: "" }, "CONFIG", told);
  }
  // Another field gives the address.
  for (const config of [
    { url: undefined, host: "h" },
    { url: "redis://h", host: undefined },
    { url: undefined, port: undefined, cluster: { nodes: [{ host: "h", port: 1 }] } },
    { url: undefined, host: undefined, sentinel: { name: "m", nodes: [{ host: "h", port: 1 }] } },
    { password: undefined },
  ]) {
    await new RedisKVStore(asConfig(config)).disconnect();
  }
});

// A store that takes the word of `tls` sends the password in plain text.
test("a url with TLS, and tls: false, is CONFIG", async () => {
  for (const protocol of ["rediss", "REDISS", "valkeys", "rediss+sentinel"]) {
    const url = `${protocol}://default:${encodeURIComponent(SECRET)}@h/m`;
    await refuses({ url, tls: false }, "CONFIG", /^redis\.tls is false, and .* redis\.url .* give either$/);
  }
  await new RedisKVStore({ url: "redis://h", tls: false }).disconnect();
  await new RedisKVStore({ url: "rediss://h", tls: true }).disconnect();
});

// AUTH takes both. If nothing is sent, the server takes the connection for its default user, who may run any command.
test("a user without a password is CONFIG", async () => {
  const told = /^redis\.username: a user needs a password/;
  await refuses({ username: "alice" }, "CONFIG", told);
  await refuses({ username: "alice", password: "" }, "CONFIG", told);
  await refuses({ url: "redis://alice@127.0.0.1" }, "CONFIG", told);
  await refuses({ url: "unix:///tmp/s?user=alice" }, "CONFIG", told);
  await new RedisKVStore({ url: "redis://alice@127.0.0.1", password: SECRET }).disconnect();
});

// Other clients understand `?db=3`. A store that ignores it uses database 0.
test("a url's query names the database, and what else it says is CONFIG", async () => {
  const server = await startRedis();
  try {
    const kv = await createKV({
      type: "redis",
      redis: { url: `redis://${server.host}:${server.port}?db=3` },
    });
    await kv.set("in", "3");
    await kv.disconnect();
    const admin = await createKV({ type: "redis", redis: { host: server.host, port: server.port, db: 3 } });
    assert.equal(await admin.get("in"), "3");
    await admin.disconnect();
  } finally {
    await server.stop();
  }
  await refuses(
    { url: "redis://h?protocol=hunter2" },
    "CONFIG",
    /^redis\.url: the parameter protocol is not known/,
  );
  await refuses({ url: "rediss://h/0#insecure" }, "CONFIG", /^redis\.url: nothing may follow a #/);
  await refuses({ url: "redis://h/1?db=2" }, "CONFIG", /^redis\.url: it names two databases/);
  // A password that is not encoded ends at its question mark. The rest of it must not be shown as a parameter's name.
  await refuses({ url: "redis://user:12?hunter2=x@h" }, "CONFIG", /^redis\.url: its query has a parameter/);
});

test("the nodes of a cluster are checked, and stand in place of an address", async () => {
  const nodes = [{ host: "127.0.0.1", port: 1 }];
  for (const wrong of [
    [],
    {},
    "h:1",
    [{}],
    [{ host: "h" }],
    [{ host: "", port: 1 }],
    [{ host: "h", port: 0 }],
  ]) {
    const cluster = { nodes: wrong } as unknown as { nodes: typeof nodes };
    await refuses({ cluster }, "INVALID_ARGUMENT", /redis\.cluster\.nodes/);
  }
  const addressMap = { h: nodes[0] } as never;
  await refuses({ cluster: { nodes, addressMap } }, "INVALID_ARGUMENT", /redis\.cluster\.addressMap/);
  for (const beside of [{ url: "redis://h" }, { host: "h" }, { port: 1 }, { path: "/s" }]) {
    await refuses({ cluster: { nodes }, ...beside }, "CONFIG", /^redis\.cluster: /);
  }
  await refuses({ cluster: { nodes }, db: 1 }, "CONFIG", /^redis\.db: /);
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
