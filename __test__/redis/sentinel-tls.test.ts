// Sentinels have a password and TLS of their own, and must not get the server's. The rest of Sentinel, which needs no openssl:
// sentinel.test.ts.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Redis } from "ioredis";
import { type RedisServer, startRedis } from "../redis-server.js";
import { MASTER } from "../sentinel.js";
import { closedPort, HOST } from "../sockets.js";
import { Authority } from "./certificates.js";
import { open, refusalOf, SECRET } from "./servers.js";

// ioredis #318 #553 #1054 #2070: a password of the Sentinels' own, and TLS with them.
describe("Sentinels with a password and TLS of their own", () => {
  const authority = new Authority("covara-kv sentinels");
  after(() => authority.remove());
  const identity = authority.sign("server", `subjectAltName=IP:${HOST}`);
  let [master, plain]: RedisServer[] = [];
  let [sentinel, plainSentinel]: RedisServer[] = [];
  let [tlsPort, masterTlsPort] = [0, 0];
  const sentinelSecret = "the-Sentinels-own";
  before(async () => {
    [tlsPort, masterTlsPort] = [await closedPort(), await closedPort()];
    master = await startRedis(authority.redisConfig(masterTlsPort, identity, "no"));
    plain = await startRedis();
    sentinel = await startRedis(
      {
        ...authority.redisConfig(tlsPort, identity, "no"),
        [`sentinel monitor ${MASTER}`]: `${HOST} ${masterTlsPort} 1`,
        "sentinel monitor plain": `${HOST} ${plain.port} 1`,
      },
      "--sentinel",
    );
    const monitor = { [`sentinel monitor ${MASTER}`]: `${HOST} ${masterTlsPort} 1` };
    plainSentinel = await startRedis(monitor, "--sentinel");
    for (const [{ host, port }, secret] of [
      [master, SECRET],
      [sentinel, sentinelSecret],
    ] as const) {
      const admin = new Redis({ host, port });
      await admin.call("ACL", "SETUSER", "default", "resetpass", `>${secret}`);
      admin.disconnect();
    }
  });
  after(() => Promise.all([master, plain, sentinel, plainSentinel].map((server) => server?.stop())));
  const { ca } = authority;
  const nodes = () => [{ host: HOST, port: tlsPort }];

  test("both have their own", async () => {
    await using kv = await open({
      tls: { ca },
      password: SECRET,
      sentinel: { name: MASTER, nodes: nodes(), password: sentinelSecret },
    });
    assert.equal(await kv.ping(), "PONG");
    await using other = await open({
      sentinel: { name: "plain", nodes: nodes(), password: sentinelSecret, tls: { ca } },
    });
    assert.equal(await other.ping(), "PONG");
  });

  // TLS with the servers is not TLS with the Sentinels: asked with it, a Sentinel without answers nothing (ioredis #740 #1448).
  test("servers have TLS, and their Sentinels have none", async () => {
    const { host = HOST, port = 0 } = plainSentinel ?? {};
    const sentinel = { name: MASTER, nodes: [{ host, port }], tls: false as const };
    await using kv = await open({ tls: { ca }, password: SECRET, sentinel });
    assert.equal(await kv.ping(), "PONG");
    assert.equal((await kv.health()).connections[0]?.node, `${HOST}:${masterTlsPort}`);
  });

  test("functions give the password, and are asked for Sentinels and server each", async () => {
    const asked: string[] = [];
    const password = () => {
      asked.push("server");
      return SECRET;
    };
    const ofSentinels = async () => {
      asked.push("sentinel");
      return sentinelSecret;
    };
    await using kv = await open({
      tls: { ca },
      password,
      sentinel: { name: MASTER, nodes: nodes(), password: ofSentinels },
    });
    assert.equal(await kv.ping(), "PONG");
    assert.deepEqual(asked, ["sentinel", "server"]);
  });

  // redis.tls counts for the Sentinels too where sentinel.tls says nothing else, with its function.
  test("a servername that is a function is asked for Sentinels and server each", async () => {
    const asked: string[] = [];
    const name = (who: string) => (node: { port: number }) => {
      asked.push(`${who} ${node.port}`);
      return HOST;
    };
    const own = { name: MASTER, nodes: nodes(), password: sentinelSecret };
    const tls = { ca, servername: name("all") };
    await using kv = await open({ tls, password: SECRET, sentinel: own });
    assert.equal(await kv.ping(), "PONG");
    const sentinel = { ...own, tls: { ca, servername: name("sentinels") } };
    await using other = await open({ tls: { ca }, password: SECRET, sentinel });
    assert.equal(await other.ping(), "PONG");
    assert.deepEqual(asked, [`all ${tlsPort}`, `all ${masterTlsPort}`, `sentinels ${tlsPort}`]);
  });

  test("a wrong password and no TLS are told of each Sentinel, without the password", async () => {
    const sentinel = { name: MASTER, nodes: nodes() };
    const none = await refusalOf({ tls: { ca }, sentinel, maxRetries: 1 });
    assert.deepEqual([none.code, none.reason], ["CONNECTION", "no-sentinel"]);
    assert.match(none.message, /NOAUTH/);
    const wrong = await refusalOf({
      tls: { ca },
      sentinel: { ...sentinel, password: "hunter2" },
      maxRetries: 1,
    });
    assert.match(wrong.message, /No Sentinel could be asked for the master "mymaster": .*WRONGPASS/);
    const plain = await refusalOf({ sentinel: { ...sentinel, password: "hunter2" }, maxRetries: 1 });
    assert.match(plain.message, /has TLS/);
    const failing = () => {
      throw new Error("no token");
    };
    const asked = await refusalOf({
      tls: { ca },
      sentinel: { ...sentinel, password: failing },
      maxRetries: 1,
    });
    assert.match(asked.message, /redis\.sentinel\.password\(\) failed: no token/);
  });
});
