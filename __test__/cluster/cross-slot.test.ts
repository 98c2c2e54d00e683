// Transactions whose keys are in several slots. Sent to one node as a whole, such a transaction is refused. So each slot gets a transaction of its
// own.
import assert from "node:assert/strict";
import { createKV, KVError, type KVStore } from "covara-kv";
import { eventually } from "../eventually.js";
import { OK, type Peer } from "../fake-server.js";
import { keyIn, shareOf, slotOf } from "../redis-cluster.js";
import { errorOf, watched } from "../replies.js";
import type { FakeCluster } from "./fake-nodes.js";
import { error, homeOf, moved } from "./fake-nodes.js";
import { sharedCluster, test } from "./shared.js";

const cluster = sharedCluster({ nodeTimeout: 500, elections: false });

const nodes = () => ({ cluster: { nodes: cluster().addresses, crossSlot: "split" } }) as const;
const splitting = (fake: FakeCluster, more = {}) => ({
  ...more,
  cluster: { nodes: fake.addresses, crossSlot: "split" as const },
});

/** A key of each master's share, and a second one of the first slot. */
const [a, b, c] = [0, 1, 2].map((shard) => keyIn(shareOf(shard, 3)[0] + 3, "split")) as [
  string,
  string,
  string,
];
const besideA = `${a}:beside`;

async function cleared(kv: KVStore): Promise<KVStore> {
  await kv.del(a, b, c, besideA);
  return kv;
}

/** Answers transactions as a server does: each command is queued, and EXEC answers OK for each. */
function queueing() {
  const queued = new Map<Peer, number>();
  return ([name = ""]: string[], peer: Peer): string | undefined => {
    const count = queued.get(peer);
    if (name === "MULTI") {
      queued.set(peer, 0);
      return OK;
    }
    if (count === undefined) return undefined;
    if (name === "EXEC") {
      queued.delete(peer);
      return `*${count}\r\n${OK.repeat(count)}`;
    }
    queued.set(peer, count + 1);
    return "+QUEUED\r\n";
  };
}

// The framework's store of tasks writes data, status and name of a task in one transaction. These are three keys in three slots.
test('with crossSlot: "split" a transaction is run for each slot, and its results are in the order of the calls', async ({
  open,
}) => {
  const kv = await cleared(await open(cluster(), nodes()));
  const results = await kv
    .multi()
    .set(a, "1")
    .set(b, "2")
    .incr(besideA)
    .get(b)
    .get(a)
    .setnx(c, "3")
    .del(a, "missing", b, c, besideA)
    .get(c)
    .exec();
  assert.deepEqual(results, ["OK", "OK", 1, "2", "1", true, 4, null]);
  assert.deepEqual(await kv.multi().del().set(a, "1").del([]).set(b, "1").exec(), [0, "OK", 0, "OK"]);
});

test("each slot gets one MULTI, and what has one slot is not split", async (world) => {
  const fake = await world.fake();
  const answer = queueing();
  fake.answer = (command, _, peer) => answer(command, peer);
  const kv = await world.open(fake, splitting(fake));
  await kv.multi().set(a, "1").set(b, "2").set(a, "3").set(besideA, "4").exec();
  const calls = (key: string) => homeOf(fake, key).calls;
  assert.deepEqual(calls(a), ["MULTI", `SET ${a} 1`, `SET ${a} 3`, `SET ${besideA} 4`, "EXEC"]);
  assert.deepEqual(calls(b), ["MULTI", `SET ${b} 2`, "EXEC"]);
  await kv.multi().set(c, "1").set(c, "2").exec();
  assert.deepEqual(calls(c), ["MULTI", `SET ${c} 1`, `SET ${c} 2`, "EXEC"]);
});

test("scripts with keys of several slots are refused all the same, and so is every transaction without the option", async ({
  open,
}) => {
  const kv = await open(cluster(), nodes());
  assert.equal((await errorOf(kv.eval("return 1", [a, b], []))).code, "CROSSSLOT");
  const strict = await open(cluster());
  assert.equal((await errorOf(strict.multi().get(a).get(b).exec())).code, "CROSSSLOT");
});

test("a command that fails is told as ever: the others have run, in its slot and in others", async ({
  open,
}) => {
  const kv = await cleared(await open(cluster(), nodes()));
  await kv.rpush(besideA, "x");
  const failed = await errorOf(kv.multi().set(b, "1").incr(besideA).set(a, "2").set(c, "3").exec());
  assert.deepEqual([failed.code, failed.index, failed.command], ["WRONGTYPE", 1, "INCR"]);
  const [first, second, ...others] = failed.results ?? [];
  assert.ok(second instanceof KVError);
  assert.deepEqual([first, ...others], ["OK", "OK", "OK"]);
  assert.deepEqual(await kv.mget(a, b, c), ["2", "1", "3"]);
  await cleared(kv);
});

test("if the connection to one node is lost, the error says which slots were run, and has the others' results", async (world) => {
  const fake = await world.fake();
  const answer = queueing();
  fake.answer = (command, node, peer) => {
    if (node !== homeOf(fake, b) || command[0] !== "EXEC") return answer(command, peer);
    peer.socket.destroy();
    return null;
  };
  const kv = await world.open(fake, splitting(fake));
  const lost = await errorOf(kv.multi().set(a, "1").set(b, "2").set(c, "3").set(b, "4").exec());
  assert.deepEqual([lost.code, lost.reason, lost.index], ["CONNECTION", "lost", 1]);
  const [inA, inB, inC] = [a, b, c].map(slotOf);
  const { host, port } = homeOf(fake, b);
  assert.ok(lost.message.includes(`run in slots ${inA}, ${inC}, perhaps run in slot ${inB}`), lost.message);
  assert.deepEqual([lost.node, lost.slot], [`${host}:${port}`, inB]);
  const results = lost.results?.map((result) => (result instanceof KVError ? result.reason : result));
  assert.deepEqual(results, ["OK", "lost", "OK", "lost"]);
  const commands = lost.results?.map((result) => (result instanceof KVError ? result.command : ""));
  assert.deepEqual(commands, ["", "SET", "", "SET"]);
});

// Whoever is told of WRONGTYPE alone takes all of it for run.
test("an error that leaves open whether a part was run comes before one that tells", async (world) => {
  const fake = await world.fake();
  const answer = queueing();
  fake.answer = (command, node, peer) => {
    const normal = answer(command, peer);
    if (command[0] !== "EXEC" || node === homeOf(fake, c)) return normal;
    if (node === homeOf(fake, a)) return `*1\r\n${error("WRONGTYPE Operation against a key")}`;
    peer.socket.destroy();
    return null;
  };
  const kv = await world.open(fake, splitting(fake));
  const lost = await errorOf(kv.multi().incr(a).set(b, "2").set(c, "3").exec());
  assert.deepEqual([lost.code, lost.reason, lost.index, lost.command], ["CONNECTION", "lost", 1, "SET"]);
  const results = lost.results?.map((result) => (result instanceof KVError ? result.code : result));
  assert.deepEqual(results, ["WRONGTYPE", "CONNECTION", "OK"]);
  const [, ofPart] = lost.results ?? [];
  assert.ok(ofPart instanceof KVError);
  assert.equal(lost.cause, ofPart.cause);
});

test("a part that the server aborts was not run: its calls say so, and what was refused comes first", async (world) => {
  const fake = await world.fake();
  const answer = queueing();
  const isB = (key = "") => key === b;
  fake.answer = (command, node, peer) => {
    const normal = answer(command, peer);
    if (node !== homeOf(fake, b)) return normal;
    if (isB(command[1]) && command[2] === "no") return error("OOM command not allowed");
    return command[0] === "EXEC"
      ? error("EXECABORT Transaction discarded because of previous errors.")
      : normal;
  };
  const kv = await world.open(fake, splitting(fake));
  const aborted = await errorOf(kv.multi().set(b, "1").set(a, "2").set(b, "no").exec());
  assert.deepEqual([aborted.code, aborted.index], ["OOM", 2]);
  assert.ok(
    aborted.message.includes(`run in slot ${slotOf(a)}, not run in slot ${slotOf(b)}`),
    aborted.message,
  );
  const results = aborted.results?.map((result) => (result instanceof KVError ? result.code : result));
  assert.deepEqual(results, ["EXECABORT", "OK", "OOM"]);
});

// Without MULTI a server runs the commands one by one, and refuses EXEC. Whoever is told that they were not run calls them again.
test("a user without the right to MULTI is told that the commands may have been run", async ({
  open,
  defer,
}) => {
  const everywhere = (...rights: string[]) =>
    Promise.all(cluster().nodes.map(({ admin }) => admin.call("ACL", ...rights)));
  await everywhere("SETUSER", "single", "on", "nopass", "~*", "&*", "+@all", "-multi");
  defer(() => everywhere("DELUSER", "single"));
  const kv = await open(cluster(), { ...nodes(), username: "single", password: "any" });
  await cleared(kv);
  const refused = await errorOf(kv.multi().set(a, "1").set(b, "2").exec());
  assert.equal(refused.code, "NOPERM");
  assert.match(refused.message, /perhaps run in slots/);
  assert.deepEqual(await kv.mget(a, b), ["1", "2"]);
  await cleared(kv);
});

test("a part whose slot has moved follows it, and the others are not run again", async (world) => {
  const fake = await world.fake();
  const [from, to] = [homeOf(fake, a), homeOf(fake, c)];
  const answer = queueing();
  fake.answer = (command, node, peer) => {
    const normal = answer(command, peer);
    if (node !== from) return normal;
    if (command[1] === a) return moved(slotOf(a), to);
    return command[0] === "EXEC"
      ? error("EXECABORT Transaction discarded because of previous errors.")
      : normal;
  };
  const kv = await world.open(fake, splitting(fake));
  assert.deepEqual(await kv.multi().set(a, "1").set(b, "2").exec(), ["OK", "OK"]);
  assert.deepEqual(to.calls, ["MULTI", `SET ${a} 1`, "EXEC"]);
  assert.deepEqual(homeOf(fake, b).calls, ["MULTI", `SET ${b} 2`, "EXEC"]);
});

test("what is run for each slot keeps its order through a failover, transactions of several slots among it", async ({
  open,
  every,
}) => {
  const kv = await cleared(await open(cluster(), { ...nodes(), queueTimeout: 10_000 }));
  const calls: Promise<unknown>[] = [];
  const stop = every(1, () => {
    const [one, two] = [`${calls.length}`, `${calls.length + 1}`];
    const these: Promise<unknown>[] = [
      kv.multi().rpush(a, one).rpush(b, one).exec(),
      kv.rpush(a, two),
      kv.rpush(b, two),
    ];
    calls.push(...these.map((call) => watched(call)), Promise.resolve());
  });
  await eventually(() => calls.length >= 200);
  await cluster().failover(a);
  const before = calls.length;
  await eventually(() => calls.length >= before + 200);
  stop();
  await Promise.all(calls);
  for (const key of [a, b]) {
    const numbers = (await kv.lrange(key, 0, -1)).map(Number);
    assert.deepEqual(
      numbers,
      [...numbers].sort((one, other) => one - other),
    );
    assert.equal(numbers.length, calls.length / 2);
  }
  await cleared(kv);
});

test("a transaction of 2,000 slots", async ({ open }) => {
  const kv = await open(cluster(), nodes(), "wide");
  const multi = kv.multi();
  for (let index = 0; index < 2_000; index++) multi.set(`k${index}`, `${index}`).incr(`k${index}`);
  const results = await multi.exec();
  assert.deepEqual(results, Array.from({ length: 2_000 }, (_, index) => ["OK", index + 1]).flat());
  await kv.del(Array.from({ length: 2_000 }, (_, index) => `k${index}`));
});

test("any other value of crossSlot is refused", async () => {
  for (const crossSlot of ["", "merge", true, 1, null]) {
    const redis = { cluster: { nodes: cluster().addresses, crossSlot } };
    const { code, message } = await errorOf(createKV({ type: "redis", redis: redis as never }));
    assert.equal(code, "INVALID_ARGUMENT");
    assert.match(message, /redis\.cluster\.crossSlot must be one of split/);
  }
});
