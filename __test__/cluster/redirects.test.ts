// A slot moves while it is written to. A redirected write must not run behind a write that is called later.
import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import type { KVStore } from "covara-kv";
import { eventually } from "../eventually.js";
import { bulk, OK, type Peer } from "../fake-server.js";
import { SLACK, timeOf } from "../faults/faults.js";
import { keyIn, shareOf, slotOf } from "../redis-cluster.js";
import { errorOf, watched } from "../replies.js";
import { ask, error, type FakeNode, homeOf, moved, TRYAGAIN } from "./fake-nodes.js";
import { isReady, sharedCluster, test, type World } from "./shared.js";

const cluster = sharedCluster({ nodeTimeout: 1_000, elections: false });

const timeouts = { commandTimeout: 3_000, queueTimeout: 5_000 } as const;

/** Pushes growing numbers to a list, some in each millisecond, until it is stopped. It waits for no reply. */
function pusher({ every }: World, kv: KVStore, key: string) {
  const replies: Promise<number>[] = [];
  const stop = every(1, () => {
    for (let index = 0; index < 4; index++) replies.push(watched(kv.rpush(key, `${replies.length}`)));
  });
  return {
    /** Resolves once so many more are pushed. */
    more(count: number): Promise<void> {
      const before = replies.length;
      return eventually(() => replies.length >= before + count);
    },
    /** How many have been pushed. Fails if one has failed. */
    async stop(): Promise<number> {
      stop();
      const lengths = await Promise.all(replies);
      assert.deepEqual(
        lengths,
        replies.map((_, index) => index + 1),
      );
      return lengths.length;
    },
  };
}

async function expectInOrder(kv: KVStore, key: string, count: number): Promise<void> {
  const numbers = Array.from({ length: count }, (_, index) => `${index}`);
  assert.deepEqual(await kv.lrange(key, 0, -1), numbers);
  await kv.del(key);
}

// Writes wait at the old master meanwhile: for 4 s if Redis's first election is not won, after which there is another.
test("the writes of one key keep their order through a planned failover, and none fails", async (world) => {
  const kv = await world.open(cluster(), { ...timeouts, commandTimeout: 10_000 });
  for (let round = 0; round < 3; round++) {
    const push = pusher(world, kv, "{order}list");
    await push.more(200);
    await cluster().failover("{order}list");
    await push.more(200);
    await expectInOrder(kv, "{order}list", await push.stop());
    await cluster().converged();
  }
});

// A redirected write must not change places with another write of its key: an update would be lost (ered #38, redis #2151, ioredis #2075).
test("the writes of one key keep their order while its slot moves key by key, and none fails", async (world) => {
  const kv = await world.open(cluster(), timeouts);
  const slot = slotOf("{order}");
  const { from, to } = await cluster().mastersFor(slot);
  for (const target of [to, from]) {
    const pushes = ["{order}a", "{order}b"].map((key) => ({ key, push: pusher(world, kv, key) }));
    const more = () => Promise.all(pushes.map(({ push }) => push.more(100)));
    await more();
    const migration = await cluster().migrate(slot, target);
    await more();
    await migration.moveKeys("{order}a");
    await more();
    await migration.move();
    await more();
    await migration.finish();
    await more();
    for (const { key, push } of pushes) await expectInOrder(kv, key, await push.stop());
  }
});

// ASKING holds for one command. Nothing may be sent between ASKING and its command (redis #3203, rueidis #703, redis-rs PR#2305).
test("every redirected command has an ASKING of its own directly before it", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, timeouts);
  const home = homeOf(fake, "a");
  const other = fake.nodes.find((node) => node !== home);
  assert.ok(other);
  const own = Array.from({ length: 1_000 }, (_, index) => `own ${index}`).find(
    (key) => homeOf(fake, key) === other,
  );
  assert.ok(own);
  fake.answer = (command, node) =>
    command[1] === "a" && node === home ? ask(slotOf("a"), other) : undefined;
  await Promise.all(
    Array.from({ length: 50 }, (_, index) => [kv.set("a", `${index}`), kv.set(own, `${index}`)]).flat(),
  );
  let asked = 0;
  for (const { commands } of other.peers) {
    for (const [index, [name, key]] of commands.entries()) {
      const isBehindAsking = commands[index - 1]?.[0] === "ASKING";
      if (name === "SET") assert.equal(isBehindAsking, key === "a");
      if (name === "SET" && key === "a") asked += 1;
    }
  }
  assert.equal(asked, 50);
  assert.deepEqual(
    other.calls.filter((call) => call.startsWith("SET a ")),
    Array.from({ length: 50 }, (_, index) => `SET a ${index}`),
  );
});

// The target has one key of two, and answers TRYAGAIN. A later write that was sent with it there would be overwritten by the older one.
test("what asks for several keys of a slot on its way is not overtaken", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, timeouts);
  const home = homeOf(fake, "{m}1");
  const target = fake.nodes.find((node) => node !== home);
  assert.ok(target);
  let refusals = 2;
  fake.answer = ([name], node) => {
    if (name !== "DEL" && name !== "SET") return undefined;
    if (node === home) return ask(slotOf("{m}1"), target);
    return name === "DEL" && refusals-- > 0 ? TRYAGAIN : undefined;
  };
  await Promise.all([kv.del("{m}1", "{m}2"), kv.set("{m}1", "new"), kv.set("{m}2", "new")]);
  const deleting = "DEL {m}1 {m}2";
  assert.deepEqual(target.calls, [deleting, deleting, deleting, "SET {m}1 new", "SET {m}2 new"]);
});

// The slot goes on while a command follows its ASK (redix #295).
for (const [what, redirect] of Object.entries({ MOVED: moved, "another ASK": ask }))
  test(`a command whose ASK ends in ${what} is run once, where that leads`, async (world) => {
    const fake = await world.fake();
    const kv = await world.open(fake, timeouts);
    const home = homeOf(fake, "a");
    const [target, last] = fake.nodes.filter((node) => node !== home);
    assert.ok(target && last);
    fake.answer = ([name], node) => {
      if (name !== "INCR" || node === last) return undefined;
      return node === home ? ask(slotOf("a"), target) : redirect(slotOf("a"), last);
    };
    await Promise.all([kv.incr("a"), kv.incr("a")]);
    assert.deepEqual(last.calls, ["INCR a", "INCR a"]);
  });

test("what is answered with MOVED runs at the new owner, in the order of the calls", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, timeouts);
  const home = homeOf(fake, "a");
  const other = fake.nodes.find((node) => node !== home);
  assert.ok(other);
  fake.answer = ([, key], node) => (key === "a" && node === home ? moved(slotOf("a"), other) : undefined);
  const calls: Promise<unknown>[] = [];
  for (let tick = 0; tick < 20; tick++) {
    for (let index = 0; index < 5; index++) calls.push(kv.set("a", `${calls.length}`));
    await turn();
  }
  await Promise.all(calls);
  assert.deepEqual(
    other.calls,
    calls.map((_, index) => `SET a ${index}`),
  );
});

// A transaction that meets MOVED must follow its slot, or it fails until a restart (node-redis PR#3395, go-redis PR#3909). EXECABORT hides the MOVED
// (StackExchange.Redis #1520).
test("a transaction follows its slot: moved, and on its way", async ({ open }) => {
  const kv = await open(cluster(), timeouts);
  const slot = slotOf("{multi}");
  const { from, to } = await cluster().mastersFor(slot);
  const run = () => kv.multi().incr("{multi}a").incr("{multi}b").exec();
  assert.deepEqual(await run(), [1, 1]);
  const migration = await cluster().migrate(slot, to);
  assert.deepEqual(await run(), [2, 2]);
  await migration.moveKeys("{multi}a");
  // One key has moved and one has not. TRYAGAIN is the answer until both are at the target: Redis's target gives it, Valkey's source.
  const tryAgain = async () => (await from.errors("TRYAGAIN")) + (await to.errors("TRYAGAIN"));
  const before = await tryAgain();
  const waiting = run();
  await eventually(async () => (await tryAgain()) > before);
  await migration.moveKeys("{multi}b");
  assert.deepEqual(await waiting, [3, 3]);
  assert.deepEqual(await run(), [4, 4]);
  await migration.finish();
  assert.deepEqual(await run(), [5, 5]);
  await (await cluster().migrate(slot, from)).finish();
  assert.deepEqual(await run(), [6, 6]);
  await kv.del("{multi}a", "{multi}b");
});

test("a script follows its slot, known to the new owner or not", async ({ open }) => {
  const kv = await open(cluster(), timeouts);
  const slot = slotOf("{eval}");
  const { from, to } = await cluster().mastersFor(slot);
  const run = () => kv.eval('return redis.call("incr", KEYS[1])', ["{eval}n"], []);
  assert.equal(await run(), 1);
  const migration = await cluster().migrate(slot, to);
  await migration.moveKeys("{eval}n");
  // NOSCRIPT uses up the ASKING, so EVAL needs another one.
  assert.equal(await run(), 2);
  await migration.finish();
  assert.equal(await run(), 3);
  await (await cluster().migrate(slot, from)).finish();
  assert.equal(await run(), 4);
  await kv.del("{eval}n");
});

// Each of two nodes may name the other as the owner. Without a deadline both are asked for ever (ioredis #1582 #1583).
test("nodes that send each other's keys away are not asked for ever", async (world) => {
  const fake = await world.fake({ nodes: 2 });
  const kv = await world.open(fake, { commandTimeout: 800, queueTimeout: 800 });
  const [one, two] = fake.nodes;
  assert.ok(one && two);
  fake.answer = ([name], node) =>
    name === "INCR" ? moved(slotOf("a"), node === one ? two : one) : undefined;
  const calling = kv.incr("a");
  const [time, error] = await Promise.all([timeOf(calling), errorOf(calling)]);
  assert.ok(["MOVED", "TIMEOUT"].includes(error.code), error.message);
  assert.ok(time < 1_600 + SLACK, `${time} ms`);
  const asked = one.calls.length + two.calls.length;
  assert.ok(asked > 1 && asked < 200, `they were asked ${asked} times`);
});

// If every command waits for CLUSTER SLOTS, a node that does not answer it stops all of them (redis-rs).
test("calls of other slots do not wait for CLUSTER SLOTS", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, timeouts);
  const home = homeOf(fake, "a");
  const other = fake.nodes.find((node) => node !== home);
  assert.ok(other);
  // A connection that is opened late asks for CLUSTER SLOTS itself.
  await eventually(() => isReady(kv));
  fake.answer = ([name, key], node) => {
    if (name === "CLUSTER") return null;
    return key === "a" && node === home ? moved(slotOf("a"), other) : undefined;
  };
  await kv.set("a", "1");
  for (const node of fake.nodes) {
    const key = Array.from({ length: 1_000 }, (_, index) => `k${index}`).find(
      (key) => homeOf(fake, key) === node,
    );
    const time = await timeOf(kv.set(key as string, "1"));
    assert.ok(time < 500, `${time} ms`);
  }
});

test("what is in flight to the old owner is not sent to the new one", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, timeouts);
  const key = keyIn(100);
  const home = homeOf(fake, key);
  const other = fake.nodes.find((node) => node !== home);
  assert.ok(other);
  let asked = 0;
  // The old node runs the first INCR and redirects the others.
  fake.answer = ([name], node) =>
    name === "INCR" && node === home && ++asked > 1 ? moved(100, other) : undefined;
  const replies = await Promise.all([kv.incr(key), kv.incr(key), kv.incr(key)]);
  assert.deepEqual([replies, asked], [[1, 1, 2], 3]);
  assert.deepEqual(other.calls, [`INCR ${key}`, `INCR ${key}`]);
});

// A GET is in flight when its slot moves and its connection is lost. It must run before a SET that is called later.
test("a read of a lost connection keeps its place while its slot moves", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, timeouts);
  const key = keyIn(100);
  const [old, next, third] = fake.nodes;
  assert.ok(old && next && third);
  const telling = keyIn(shareOf(2, 3)[1]);
  let isStuck = true;
  fake.answer = ([, asked], node) => {
    if (node === third && asked === telling) return moved(slotOf(telling), next);
    return node === old && isStuck ? null : undefined;
  };
  const read = kv.get(key);
  await eventually(() => old.calls.includes(`GET ${key}`));
  const [first, second, last] = fake.ranges;
  assert.ok(first && second && last);
  fake.ranges = [
    { first: 0, last: 300, nodes: [next.name] },
    { ...first, first: 301 },
    second,
    { ...last, last: last.last - 1 },
    { ...last, first: last.last, nodes: [next.name] },
  ];
  await kv.get(telling);
  // The store has the new map when it asks the new master for a key of another moved slot. That takes a second if the old node, which does not
  // answer, is asked first: less than the slots last.
  const gets: Promise<unknown>[] = [];
  await eventually(() => {
    gets.push(kv.get(keyIn(200 + gets.length)));
    return next.calls.some((call) => call !== `GET ${telling}`);
  }, 20);
  const written = kv.set(key, "1");
  assert.ok(!next.calls.some((call) => call.includes(key)), "what is in flight is awaited first");
  isStuck = false;
  for (const { socket } of old.peers) socket.destroy();
  await Promise.all([read, written, ...gets]);
  assert.deepEqual(
    next.calls.filter((call) => call.includes(key)),
    [`GET ${key}`, `SET ${key} 1`],
  );
});

/** Holds back replies, each with what comes behind it on its connection. */
function replyHolder() {
  const held = new Map<Peer, string[]>();
  const hold = (peer: Peer, reply: string) => {
    held.set(peer, [...(held.get(peer) ?? []), reply]);
    return null;
  };
  return {
    hold,
    behind: (peer: Peer) => (held.has(peer) ? hold(peer, error("ERR too late")) : undefined),
    release({ peers }: FakeNode): void {
      for (const peer of peers) {
        peer.send(held.get(peer)?.join("") ?? "");
        held.delete(peer);
      }
    },
  };
}

/** The node that has "a", another one, and more reads than the first has room for. Its window is 32 MB of replies at most, by the length of the last few. */
async function fullWindow(world: World) {
  const fake = await world.fake();
  const kv = await world.open(fake, timeouts);
  const home = homeOf(fake, "a");
  const other = fake.nodes.find((node) => node !== home);
  assert.ok(other);
  const names = Array.from({ length: 1_000 }, (_, index) => `long ${index}`);
  const key = names.find((key) => homeOf(fake, key) === home) as string;
  const reply = bulk("x".repeat(64 << 10));
  fake.answer = ([name]) => (name === "GET" ? reply : undefined);
  for (let read = 0; read < 40; read++) await kv.get(key);
  return { fake, kv, home, other, read: () => Array.from({ length: 700 }, () => kv.get(key)) };
}

// `set a 1` waits for room in its node's window while `set a 0` is refused. If it stays there, it is sent to the new owner first, and `set a 0`
// comes last.
test("what waits for room at the old owner stays behind what that answers with MOVED", async (world) => {
  const { fake, kv, home, other, read } = await fullWindow(world);
  const { hold, behind, release } = replyHolder();
  fake.answer = ([name, key], node, peer) => {
    if (node === home && key === "a") return moved(slotOf("a"), other);
    return name === "GET" ? hold(peer, bulk("")) : behind(peer);
  };
  const first = kv.set("a", "0");
  const reads = read();
  await Promise.all([first, kv.set("a", "1")]);
  fake.answer = () => undefined;
  release(home);
  await Promise.all(reads);
  assert.deepEqual(other.calls, ["SET a 0", "SET a 1"]);
});

// The same while the slot is on its way: its old owner has room again, and runs `set a 1` before the new one has run `set a 0`.
test("what waits for room at the old owner stays behind what that answers with ASK", async (world) => {
  const { fake, kv, home, other, read } = await fullWindow(world);
  const { hold, behind, release } = replyHolder();
  let isFull = true;
  fake.answer = ([name, key], node, peer) => {
    if (key === "a" && node === other) return hold(peer, OK);
    if (key === "a" && isFull) return ask(slotOf("a"), other);
    return name === "GET" && isFull ? hold(peer, bulk("")) : behind(peer);
  };
  const first = kv.set("a", "0");
  const reads = read();
  const second = kv.set("a", "1");
  await eventually(() => other.calls.includes("SET a 0"));
  isFull = false;
  release(home);
  await Promise.all(reads);
  // What the store has sent to `home` has come there when these are answered.
  await Promise.all(read());
  const isAhead = home.calls.includes("SET a 1");
  release(other);
  await Promise.all([first, second]);
  assert.ok(!isAhead);
});

// The importing node of a slot fails, and its master names another. All of the slot waits for `queueTimeout` behind what does not ask again.
test("what is sent to a node that cannot be reached asks its master again", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, { ...timeouts, retryDelay: 10 });
  const home = homeOf(fake, "a");
  const [lost, third] = fake.nodes.filter((node) => node !== home);
  assert.ok(lost && third);
  await eventually(() => isReady(kv));
  await lost.stop();
  // Before that it would be sent, and lost.
  await eventually(async () => !(await isReady(kv)));
  let asked = 0;
  fake.answer = ([, key], node) =>
    key === "a" && node === home ? ask(slotOf("a"), ++asked <= 2 ? lost : third) : undefined;
  await Promise.all([kv.set("a", "0"), kv.set("a", "1")]);
  assert.deepEqual(third.calls, ["SET a 0", "SET a 1"]);
});
