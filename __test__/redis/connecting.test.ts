// A form of configuration that leads elsewhere, or drops a password or a database, fails only in production.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { lookup } from "node:dns/promises";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { type RedisConfig, RedisKVStore } from "covara-kv";
import type { Redis } from "ioredis";
import { startFake } from "../fake-server.js";
import { unlike70 } from "../servers.js";
import { closedPort, forward, HOST } from "../sockets.js";
import { open, SECRET, SharedRedis } from "./servers.js";

const directory = mkdtempSync(join(tmpdir(), "covara-kv-socket-"));
const socket = join(directory, "redis.sock");
after(() => rmSync(directory, { recursive: true, force: true }));

const password = encodeURIComponent(SECRET);
const user = encodeURIComponent("al/ice:@");

const old = { "rename-command": 'HELLO ""' };
const withUser = (admin: Redis) =>
  admin.call("ACL", "SETUSER", "al/ice:@", "on", `>${SECRET}`, "~*", "&*", "+@all");
const withPassword = (admin: Redis) => admin.config("SET", "requirepass", SECRET);

const server = new SharedRedis(() => ({ unixsocket: socket }), withUser);
const oldServer = new SharedRedis(() => old, withUser);
const protectedServer = new SharedRedis(undefined, withPassword);
const oldProtectedServer = new SharedRedis(() => old, withPassword);

/** Fails unless the store works, and keeps its keys in the database `db`. */
async function works(redis: RedisConfig, { on = server, db = 0 } = {}): Promise<void> {
  const key = randomUUID();
  await using kv = await open(redis);
  assert.equal(kv.status, "ready");
  await kv.set(key, "v");
  assert.equal(await kv.get(key), "v");
  await on.admin.select(db);
  assert.equal(await on.admin.exists(key), 1);
}

describe("the address", () => {
  const forms: Record<string, () => [RedisConfig, db?: number]> = {
    "host and port": () => [server.address],
    "a port alone, on 127.0.0.1": () => [{ port: server.address.port }],
    "a host's name": () => [{ host: "localhost", port: server.address.port }],
    "redis://": () => [{ url: `redis://${server.endpoint}` }],
    "redis:// with a slash": () => [{ url: `redis://${server.endpoint}/` }],
    "valkey://": () => [{ url: `valkey://${server.endpoint}` }],
    "redis:// with a database": () => [{ url: `redis://${server.endpoint}/7` }, 7],
    "redis:// with a user, a password and a database": () => [
      { url: `redis://${user}:${password}@${server.endpoint}/3` },
      3,
    ],
    "valkey:// with a user and a password": () => [
      { url: `valkey://${user}:${password}@${server.endpoint}` },
    ],
    path: () => [{ path: socket }],
    "path, with a user, a password and a database": () => [
      { path: socket, username: "al/ice:@", password: SECRET, db: 5 },
      5,
    ],
    "unix://": () => [{ url: `unix://${socket}` }],
    "unix:// with a database": () => [{ url: `unix://${socket}?db=4` }, 4],
    "unix:// with a user and a password": () => [{ url: `unix://${socket}?user=${user}&pass=${password}` }],
    db: () => [{ ...server.address, db: 15 }, 15],
  };
  for (const [form, given] of Object.entries(forms)) {
    test(`is taken as ${form}`, () => {
      const [redis, db = 0] = given();
      return works(redis, { db });
    });
  }

  test("is taken as [::1], in a url and as a host", async () => {
    await using peer = await forward(server.address, { host: "::1" });
    await works({ url: `redis://[::1]:${peer.port}` });
    await works({ host: "::1", port: peer.port });
  });

  test("of a host that listens on one of its addresses only is found", async (t) => {
    const addresses = await lookup("localhost", { all: true });
    if (addresses.length < 2) return t.skip("localhost has one address on this machine");
    for (const { address } of addresses) {
      await using peer = await forward(server.address, { host: address });
      for (let round = 0; round < 10; round++) await works({ host: "localhost", port: peer.port });
    }
  });
});

describe("what is given beside the url wins over it", () => {
  const wrong = `redis://nobody:wrong@nonexistent.invalid:1/9`;
  const given = () => ({ ...server.address, username: "al/ice:@", password: SECRET, db: 2 });

  test("all of it", () => works({ url: wrong, ...given() }, { db: 2 }));

  for (const [field, url] of Object.entries({
    host: (port: number) => `redis://${user}:${password}@nonexistent.invalid:${port}/2`,
    port: () => `redis://${user}:${password}@${HOST}:1/2`,
    username: (port: number) => `redis://nobody:${password}@${HOST}:${port}/2`,
    password: (port: number) => `redis://${user}:wrong@${HOST}:${port}/2`,
    db: (port: number) => `redis://${user}:${password}@${HOST}:${port}/9`,
  })) {
    test(field, () => {
      const value = given()[field as keyof ReturnType<typeof given>];
      return works({ url: url(server.address.port), [field]: value }, { db: 2 });
    });
  }

  test("path, over a host", () => works({ url: "redis://nonexistent.invalid", path: socket }));

  test("a host and a port, over a socket", () => works({ url: `unix://${socket}x`, ...server.address }));
});

describe("a user", () => {
  for (const [protocol, on] of [
    ["RESP 3", server],
    ["RESP 2", oldServer],
  ] as const) {
    test(`of the ACL logs in, over ${protocol}`, async () => {
      const credentials = { username: "al/ice:@", password: SECRET };
      await using _ = await open({ ...on.address, ...credentials, clientName: "acl" });
      assert.equal((await on.client("acl")).user, "al/ice:@");
      await works({ ...on.address, ...credentials, db: 1 }, { on, db: 1 });
    });
  }

  for (const [protocol, on] of [
    ["RESP 3", protectedServer],
    ["RESP 2", oldProtectedServer],
  ] as const) {
    test(`of no name logs in with a password, over ${protocol}`, async () => {
      await works({ ...on.address, password: SECRET }, { on });
      await works({ ...on.address, username: "default", password: SECRET, db: 6 }, { on, db: 6 });
      await works({ url: `redis://:${password}@${on.endpoint}` }, { on });
    });
  }

  test("who may do no more than GET and SET can use the store", async () => {
    await server.admin.call(
      "ACL",
      "SETUSER",
      "bob",
      "on",
      `>${SECRET}`,
      "~*",
      "resetchannels",
      "-@all",
      "+get",
      "+set",
    );
    await works({ ...server.address, username: "bob", password: SECRET, clientName: "bob" });
  });
});

describe("a connection", () => {
  /** Only since 7.0 CLIENT LIST has the field `resp`. */
  const skip = unlike70("What came with 7.0");

  test("has the name that was asked for, and speaks RESP 3", { skip }, async () => {
    await using _ = await open({ ...server.address, clientName: "my-name" });
    assert.equal((await server.client("my-name")).resp, "3");
  });

  test("speaks RESP 2 with a server that knows no HELLO, and has its name all the same", {
    skip,
  }, async () => {
    await using kv = await open({ ...oldServer.address, clientName: "my-name" });
    assert.equal((await oldServer.client("my-name")).resp, "2");
    await kv.zadd("scores", 1.5, "m");
    assert.equal(await kv.zscore("scores", "m"), 1.5);
  });

  test("of the subscriptions has the same name, user and database", async () => {
    const redis = { ...server.address, username: "al/ice:@", password: SECRET, db: 3, clientName: "both" };
    await using kv = await open(redis);
    await kv.subscribe("c", () => {});
    const both = (await server.clients()).filter(({ name }) => name === "both");
    assert.deepEqual(both.map(({ user, db, sub }) => [user, db, sub]).sort(), [
      ["al/ice:@", "3", "0"],
      ["al/ice:@", "3", "1"],
    ]);
  });

  test("tells a server that wants to know what library it is", async () => {
    await using fake = await startFake({ answer: () => "+OK\r\n" });
    await using _ = await open({ port: fake.port, clientName: "n", db: 3 });
    const told = fake.commands.filter(([name]) => name === "CLIENT");
    const { version } = require("covara-kv/package.json");
    assert.deepEqual(told, [
      ["CLIENT", "SETINFO", "LIB-NAME", "covara-kv"],
      ["CLIENT", "SETINFO", "LIB-VER", version],
    ]);
  });

  test("is opened by the first command of a store that was not connected", async () => {
    const kv = new RedisKVStore(server.address);
    assert.equal(kv.status, "connecting");
    assert.equal(kv.isConnected(), false);
    assert.equal(await kv.ping(), "PONG");
    assert.equal(kv.status, "ready");
    await kv.disconnect();
  });

  test("is not opened by the constructor", async () => {
    await using fake = await startFake({ answer: () => "+OK\r\n" });
    new RedisKVStore({ port: fake.port });
    const second = new RedisKVStore({ port: fake.port });
    await second.connect();
    await second.disconnect();
    assert.equal(fake.peers.length, 1);
  });

  // Without any pause attempts and their events come as fast as the machine has them fail, and the events pile up.
  test("of a failed address is tried again after a pause, with a retryDelay of 0 too", async () => {
    const kv = new RedisKVStore({ port: await closedPort(), retryDelay: 0 });
    const delays: number[] = [];
    kv.on("reconnecting", ({ delay }) => delays.push(delay));
    await assert.rejects(kv.connect(), { code: "CONNECTION" });
    await kv.disconnect();
    assert.deepEqual(new Set(delays), new Set([1]));
  });

  test("of a failed address that comes up later is made", async () => {
    const port = await closedPort();
    const kv = new RedisKVStore({ port, retryDelay: 10 });
    await assert.rejects(kv.connect(), { code: "CONNECTION" });
    await using _ = await forward(server.address, { host: HOST, port });
    await new Promise((resolve) => kv.on("ready", () => resolve(undefined)));
    assert.equal(await kv.ping(), "PONG");
    await kv.disconnect();
  });
});
