// What waits behind the fences of slots, at nodes that refuse requests in ways that real ones do not on demand.
import assert from "node:assert/strict";
import { eventually } from "../eventually.js";
import { run } from "../redis/processes.js";
import { keyIn, shareOf, slotOf } from "../redis-cluster.js";
import { errorOf } from "../replies.js";
import { ask, CLUSTERDOWN, error, homeOf, moved, TRYAGAIN } from "./fake-nodes.js";
import { isReady, test } from "./shared.js";

const timeouts = { commandTimeout: 3_000, queueTimeout: 5_000 } as const;

const NULL = "_\r\n";

// A master is gone, 20,000 calls wait for it, and the others refuse calls of 2,000 slots until a replica is elected. For each refusal all
// calls that waited were moved, while JavaScript's thread waited: it stood for a second at a time.
test("the event loop turns while slots are in trouble and many calls wait", async (world) => {
  const fake = await world.fake();
  const [first, next] = fake.nodes;
  assert.ok(first && next);
  let refused = 0;
  fake.answer = ([name]) => {
    if (name !== "GET") return undefined;
    if (refused === 0) return NULL;
    refused += 1;
    // Each of them is tried a few times.
    if (refused < 12_000) return CLUSTERDOWN;
    for (const range of fake.ranges) if (range.nodes[0] === first.name) range.nodes = [next.name];
    return NULL;
  };
  const [, last] = shareOf(0, 3);
  const bySlot = new Map(Array.from({ length: 20_000 }, (_, number) => [slotOf(`k${number}`), `k${number}`]));
  const [lost, alive] = [
    [...bySlot].filter(([slot]) => slot <= last),
    [...bySlot].filter(([slot]) => slot > last),
  ];
  const keys = [...lost.slice(0, 500), ...alive.slice(0, 2_000)].map(([, key]) => key);
  const redis = { cluster: { nodes: fake.addresses }, commandTimeout: 30_000, queueTimeout: 30_000 };
  const program = `
    const keys = ${JSON.stringify(keys)};
    const kv = await createKV({ type: "redis", redis });
    await Promise.all(keys.slice(500).map((key) => kv.get(key)));
    console.log("ready");
    while ((await kv.health()).connections.every(({ state }) => state === "ready")) await turn();
    const calls = Array.from({ length: 20_000 }, (_, call) => kv.get(keys[call % 500]));
    calls.push(...keys.slice(500).map((key) => kv.get(key)));
    await turn();
    const before = performance.eventLoopUtilization();
    await Promise.all(calls);
    console.log(performance.eventLoopUtilization(before).utilization);
    await kv.disconnect();`;
  let isStopped = false;
  const { code, stdout, stderr } = await run(redis, program, {
    onOutput: (output) => {
      if (isStopped || !output.includes("ready")) return;
      isStopped = true;
      refused = 1;
      void first.stop();
    },
  });
  assert.equal(code, 0, stderr);
  const busy = Number(stdout.trim().split("\n").at(-1));
  assert.ok(busy < 0.5, `JavaScript's thread was busy for ${busy} of the time`);
});

// A node that answers EVAL with MOVED has not run the script, and does not know it. Another call of the script went there by its hash, and once
// more with its text, behind the SET that was called after it.
test("a script of which a first call was redirected is run before what is called after it", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, timeouts);
  const [home, next] = fake.nodes;
  assert.ok(home && next);
  const [elsewhere, here] = [keyIn(7), keyIn(8)] as const;
  let isKnown = false;
  fake.answer = ([name = "", , , key], node) => {
    if (node !== home) return name === "EVAL" ? NULL : undefined;
    if (name.startsWith("EVAL") && key === elsewhere) return moved(7, next);
    if (name === "EVALSHA" && !isKnown) return error("NOSCRIPT No matching script. Please use EVAL.");
    if (name === "EVAL") isKnown = true;
    return name.startsWith("EVAL") ? NULL : undefined;
  };
  const script = "return redis.call('get', KEYS[1])";
  await Promise.all([kv.eval(script, [elsewhere], []), kv.eval(script, [here], []), kv.set(here, "new")]);
  const calls = home.calls.map((call) => call.split(" ")[0]);
  assert.deepEqual(calls, ["EVAL", "EVAL", "SET"]);
});

// A node refused a SET, and closed the connection before it answered the GET behind it. The next connection came before the SET was tried
// again: the GET, which waited for it, overtook the SET.
test("what was sent behind a refused call is sent again behind it, however soon there is a connection", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, { ...timeouts, retryDelay: 1 });
  const home = homeOf(fake, "a");
  let isFirst = true;
  fake.answer = ([name], node, { socket }) => {
    if (node !== home || !isFirst) return undefined;
    if (name === "SET") return TRYAGAIN;
    if (name !== "GET") return undefined;
    isFirst = false;
    socket.end();
    return null;
  };
  await Promise.all([kv.set("a", "1"), kv.get("a")]);
  assert.deepEqual(home.calls, ["SET a 1", "GET a", "SET a 1", "GET a"]);
});

// The first of three was redirected, the second asks for two keys of which one has moved, the third was called later. Once the first was
// served the others were sent together: DEL was refused again, and deleted what SET had set.
test("what has once been answered with TRYAGAIN is not overtaken by what is called later", async (world) => {
  const fake = await world.fake();
  const kv = await world.open(fake, timeouts);
  const slot = slotOf("{t}");
  const home = homeOf(fake, "{t}");
  const target = fake.nodes.find((node) => node !== home);
  assert.ok(target);
  let refusals = 3;
  fake.answer = ([name, key], node) => {
    if (node !== home) return undefined;
    if (name === "SET" && key === "{t}a") return ask(slot, target);
    return name === "DEL" && refusals-- > 0 ? TRYAGAIN : undefined;
  };
  const [first, second] = [kv.set("{t}a", "1"), kv.del("{t}a", "{t}b")];
  await first;
  await Promise.all([second, kv.set("{t}b", "new")]);
  const deleting = "DEL {t}a {t}b";
  assert.deepEqual(home.calls.slice(-2), [deleting, "SET {t}b new"]);
});

// `queueTimeout: 0` says that nothing waits for a connection. What a node sends elsewhere is not without one: it failed at once.
for (const [what, redirect] of Object.entries({ MOVED: moved, ASK: ask }))
  test(`with queueTimeout 0 a call follows ${what}, and does not wait for a cluster that is down`, async (world) => {
    const fake = await world.fake();
    const kv = await world.open(fake, { commandTimeout: 3_000, queueTimeout: 0 });
    await eventually(() => isReady(kv));
    const home = homeOf(fake, "a");
    const target = fake.nodes.find((node) => node !== home);
    assert.ok(target);
    fake.answer = ([name], node) => {
      if (name === "SET") return CLUSTERDOWN;
      return name === "INCR" && node === home ? redirect(slotOf("a"), target) : undefined;
    };
    assert.deepEqual(await Promise.all([kv.incr("a"), kv.incr("a")]), [1, 2]);
    assert.equal((await errorOf(kv.set("b", "1"))).code, "TIMEOUT");
  });
