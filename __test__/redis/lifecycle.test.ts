// A store on Redis may keep the process alive for ever, or let it end before its commands have had their effect.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  createKV,
  createRedisKV,
  hasGlobalKV,
  initializeKV,
  type KVStatus,
  RedisKVStore,
  registerHandler,
  unregisterHandler,
} from "covara-kv";
import { eventually } from "../backends.js";
import { startFake } from "../fake-server.js";
import { errorOf } from "../replies.js";
import { forward } from "../sockets.js";
import { run } from "./processes.js";
import { open, SharedRedis } from "./servers.js";

const server = new SharedRedis();

describe("a process ends by itself", () => {
  const ending: Record<string, string> = {
    "after disconnect": `
      const kv = await createKV({ type: "redis", redis });
      await kv.set("k", "v");
      await kv.disconnect();`,
    "with a store that was never used": `createRedisKV(redis);`,
    "with many stores that were never used": `for (let i = 0; i < 100; i++) createRedisKV(redis);`,
    "with a store of a server that is not there, never used": `createRedisKV({ port: 1 });`,
    "with a connected store": `await createKV({ type: "redis", redis });`,
    "with a store whose commands are answered": `
      const kv = createRedisKV(redis);
      await Promise.all([kv.set("k", "v"), kv.multi().incr("n").exec(), kv.eval("return 1", [], [])]);`,
    "with listeners of events": `
      const kv = await createKV({ type: "redis", redis });
      kv.on("error", () => {}).on("gap", () => {}).on("reconnecting", () => {});`,
    "with a subscription that was left": `
      const kv = await createKV({ type: "redis", redis });
      await kv.subscribe("c", () => {});
      await kv.psubscribe("c*", () => {});
      const handle = await kv.listen(["d"], () => {});
      await kv.unsubscribe("c");
      await kv.punsubscribe("c*");
      await handle.close();`,
    "after disconnect with a subscription": `
      const kv = await createKV({ type: "redis", redis });
      await kv.subscribe("c", () => {});
      await kv.disconnect();`,
    "after a command that failed": `
      const kv = await createKV({ type: "redis", redis });
      await kv.lpush("list of this", "v");
      await kv.incr("list of this").catch(() => {});`,
    "after a subscription that failed": `
      const kv = createRedisKV({ port: 1, retryDelay: 1, maxRetries: 3 });
      await kv.subscribe("c", () => {}).catch(({ code }) => { if (code !== "CONNECTION") throw code; });`,
    "after many opens and closes": `
      for (let i = 0; i < 100; i++) {
        const kv = await createKV({ type: "redis", redis });
        await kv.disconnect();
      }`,
  };
  for (const [what, program] of Object.entries(ending)) {
    test(what, async () => {
      const outcome = await run(server.address, `${program}\nconsole.log("done");`);
      assert.deepEqual(outcome, { code: 0, stdout: "done\n", stderr: "" });
    });
  }
});

describe("a process stays alive", () => {
  test("until a command that is not awaited has had its effect", async () => {
    const programs = [
      `createRedisKV(redis).set("last line", "1");`,
      `const kv = await createKV({ type: "redis", redis }); kv.incr("last line");`,
      `const kv = await createKV({ type: "redis", redis }); kv.multi().incr("last line").exec();`,
      `createRedisKV(redis).eval("return redis.call('incr', KEYS[1])", ["last line"], []);`,
      `const kv = createRedisKV(redis); kv.incr("last line"); kv.disconnect();`,
    ];
    for (const [index, program] of programs.entries()) {
      assert.deepEqual(await run(server.address, program), { code: 0, stdout: "", stderr: "" });
      assert.equal(await server.admin.get("last line"), `${index + 1}`);
    }
  });

  test("until a command that is answered late is answered", async () => {
    let isWaiting = false;
    let answer = () => {};
    await using fake = await startFake({
      answer: (_, peer) => {
        answer = () => peer.send("$4\r\nlate\r\n");
        // On a busy machine the program prints "waiting" before its command arrives.
        if (isWaiting) answer();
        return undefined;
      },
    });
    const onOutput = () => {
      isWaiting = true;
      answer();
    };
    const program = `
      createRedisKV(redis).get("k").then(console.log);
      // An interval that is unref'd runs only while something else keeps the process alive.
      let ticks = 0;
      setInterval(() => ++ticks === 20 && console.log("waiting"), 1).unref();`;
    const outcome = await run({ port: fake.port }, program, { onOutput });
    assert.deepEqual(outcome, { code: 0, stdout: "waiting\nlate\n", stderr: "" });
  });

  test("while it is subscribed, until it leaves", async () => {
    for (const leave of [`kv.unsubscribe("news")`, `kv.disconnect()`]) {
      const outcome = await run(
        server.address,
        `const kv = await createKV({ type: "redis", redis });
         await kv.subscribe("news", (message) => {
           console.log(message);
           if (message === "stop") ${leave};
         });
         console.log("subscribed");`,
        {
          onOutput: (output) => {
            if (output.endsWith("subscribed\n")) void server.admin.publish("news", "go on");
            if (output.endsWith("go on\n")) void server.admin.publish("news", "stop");
          },
        },
      );
      assert.deepEqual(outcome, { code: 0, stdout: "subscribed\ngo on\nstop\n", stderr: "" });
    }
  });
});

test("process.exit ends a process in the middle of the work of its stores", async () => {
  for (const when of ["0", "100", "5_000"]) {
    const outcome = await run(
      server.address,
      `const kvs = Array.from({ length: 5 }, () => createRedisKV(redis));
       let done = 0;
       for (const kv of kvs) {
         kv.subscribe("c", () => {});
         const load = async () => {
           for (;;) {
             await Promise.all([kv.set("k", "x".repeat(10_000)), kv.publish("c", "m"), kv.multi().incr("n").exec()]);
             if (++done > ${when}) process.exit(7);
           }
         };
         for (let i = 0; i < 20; i++) void load();
       }`,
    );
    assert.deepEqual(outcome, { code: 7, stdout: "", stderr: "" });
  }
  await eventually(async () => (await server.clients()).length === 0);
});

test("an unhandled rejection of a command ends a process, and shows no stack of a defect", async () => {
  const { code, stderr } = await run({ port: 1, maxRetries: 0 }, `createRedisKV(redis).get("k");`);
  assert.equal(code, 1);
  assert.match(stderr, /KVError: No connection to 127\.0\.0\.1:1 after 1 attempt/);
});

test("disconnect lets what is in flight finish, and refuses what comes later", async () => {
  const kv = await open(server.address);
  const replies = Array.from({ length: 1_000 }, () => kv.incr("in flight"));
  const transaction = kv.multi().incr("in flight").exec();
  const disconnected = kv.disconnect();
  const late = [kv.incr("in flight"), kv.multi().incr("in flight").exec(), kv.subscribe("c", () => {})];
  for (const call of late) assert.equal((await errorOf(call)).code, "CLOSED");
  await disconnected;
  assert.equal((await Promise.all(replies)).at(-1), 1_000);
  assert.deepEqual(await transaction, [1_001]);
  assert.equal(await server.admin.get("in flight"), "1001");
});

test("disconnect of a store without a connection lets its commands have theirs", async () => {
  await using peer = await forward(server.address);
  const kv = createRedisKV({ port: peer.port });
  const reply = kv.set("late", "v");
  await kv.disconnect();
  await reply;
  assert.equal(await server.admin.get("late"), "v");
});

test("disconnect while it connects opens nothing that stays", async () => {
  for (let round = 0; round < 50; round++) {
    const kv = new RedisKVStore(server.address);
    const connected = kv.connect().catch(({ code }) => code);
    if (round % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
    await kv.disconnect();
    assert.ok([undefined, "CLOSED"].includes(await connected));
    assert.equal(kv.status, "closed");
  }
  await eventually(async () => (await server.clients()).length === 0);
});

test("a store can be connected again, as often as wanted", async () => {
  const kv = new RedisKVStore(server.address, "cycles");
  const heard: string[] = [];
  for (let round = 1; round <= 20; round++) {
    await Promise.all([kv.connect(), kv.connect()]);
    await kv.subscribe("cycles", (message) => heard.push(message));
    assert.equal(await kv.incr("n"), round);
    await kv.publish("cycles", `${round}`);
    await eventually(() => heard.length === round);
    await Promise.all([kv.disconnect(), kv.disconnect()]);
    assert.equal((await errorOf(kv.incr("n"))).code, "CLOSED");
  }
  await kv.disconnect();
  assert.deepEqual(await server.clients(), []);
});

test("disconnect before anything was asked for resolves, and so does a second one", async () => {
  const kv = createRedisKV(server.address);
  await kv.disconnect();
  await kv.disconnect();
  assert.equal(kv.status, "closed");
});

test("status and events tell what happens", async () => {
  // By its name: the first client of the list may be one of an ended process, which wineserver keeps, and then nothing happened.
  const kv = new RedisKVStore({ ...server.address, clientName: "watched" });
  const seen: [string, KVStatus][] = [];
  const note = (event: string) => () => void seen.push([event, kv.status]);
  kv.on("ready", note("ready")).on("end", note("end")).on("error", note("error"));
  kv.on("reconnecting", note("reconnecting"));
  assert.deepEqual([kv.status, kv.isConnected()], ["connecting", false]);
  await kv.connect();
  assert.deepEqual([kv.status, kv.isConnected()], ["ready", true]);
  const { id } = await server.client("watched");
  await server.admin.client("KILL", "ID", String(id));
  await eventually(() => seen.at(-1)?.[0] === "ready" && seen.length === 3);
  await kv.disconnect();
  assert.deepEqual([kv.status, kv.isConnected()], ["closed", false]);
  assert.deepEqual(seen, [
    ["ready", "ready"],
    ["reconnecting", "reconnecting"],
    ["ready", "ready"],
    ["end", "closed"],
  ]);
});

test("two stores in one process share nothing", async () => {
  const [a, b] = [await open(server.address, "a"), await open({ ...server.address, db: 1 }, "b")];
  const heard: string[] = [];
  await a.subscribe("both", (message) => heard.push(`a ${message}`));
  await b.subscribe("both", (message) => heard.push(`b ${message}`));
  await Promise.all([a.set("k", "of a"), b.set("k", "of b")]);
  assert.deepEqual([await a.get("k"), await b.get("k")], ["of a", "of b"]);
  await a.disconnect();
  assert.equal(await b.publish("both", "m"), 1);
  await eventually(() => heard.length === 1);
  assert.deepEqual(heard, ["b m"]);
  assert.equal(await b.get("k"), "of b");
  await b.disconnect();
});

test("a store that is dropped is collected, and its connections go", async () => {
  const outcome = await run(
    server.address,
    `for (let i = 0; i < 20; i++) {
       await (async () => { await createKV({ type: "redis", redis }); })();
     }
     const kv = await createKV({ type: "redis", redis: { ...redis, clientName: "observer" } });
     const connections = async () => Number(/connected_clients:(\\d+)/.exec(
       await kv.eval("return redis.call('info', 'clients')", [], []))[1]);
     const deadline = Date.now() + 10_000;
     let left;
     do { gc(); await turn(); left = await connections(); } while (left > 2 && Date.now() < deadline);
     console.log(left);`,
    { flags: ["--expose-gc"] },
  );
  assert.deepEqual(outcome, { code: 0, stdout: "2\n", stderr: "" });
});

// The list of stores that keep the process alive must not hold every store that has ever been subscribed.
test("a store that was subscribed and disconnected is collected", async () => {
  const outcome = await run(
    server.address,
    `const stores = [];
     for (let i = 0; i < 20; i++) {
       await (async () => {
         const kv = await createKV({ type: "redis", redis });
         stores.push(new WeakRef(kv));
         await kv.subscribe("c", () => {});
         await kv.disconnect();
       })();
     }
     const deadline = Date.now() + 10_000;
     let left;
     do { gc(); await turn(); left = stores.filter((store) => store.deref()).length; } while (left > 1 && Date.now() < deadline);
     console.log(left <= 1); // V8 may keep the last one in a register of the script's.`,
    { flags: ["--expose-gc"] },
  );
  assert.deepEqual(outcome, { code: 0, stdout: "true\n", stderr: "" });
});

test("subscribe resolves only once a message can come", async () => {
  const kv = await createKV({ type: "redis", redis: server.address });
  for (let round = 0; round < 50; round++) {
    await kv.subscribe(`c ${round}`, () => {});
    assert.equal(await server.admin.publish(`c ${round}`, "m"), 1);
  }
  await kv.disconnect();
});

// A rejected call must not leave an open store behind, as the global store.
test("an initializeKV that rejects leaves no store behind", async () => {
  await server.admin.call("ACL", "SETUSER", "deaf", "on", ">p", "+@all", "~*", "resetchannels");
  const redis = { ...server.address, clientName: "initialized", username: "deaf", password: "p" };
  registerHandler("stream", () => {});
  await assert.rejects(initializeKV({ type: "redis", redis }), { code: "NOPERM" });
  unregisterHandler("stream");
  assert.equal(hasGlobalKV(), false);
  await eventually(async () => (await server.clients()).every(({ name }) => name !== "initialized"));
});

test("connect right after disconnect begins once the end was told", async () => {
  const kv = await createKV({ type: "redis", redis: server.address });
  const events: string[] = [];
  kv.on("end", () => void events.push("end")).on("ready", () => void events.push("ready"));
  const [ended] = [kv.disconnect(), await kv.connect()];
  await ended;
  assert.deepEqual([events, kv.status], [["end", "ready"], "ready"]);
  await kv.disconnect();
});

// It was opened by the `connect` that waited, and nobody closed it any more.
test("a disconnect ends a connect that waits for an earlier disconnect", async () => {
  const clientName = "left-open";
  const kv = await createKV({ type: "redis", redis: { ...server.address, clientName } });
  const [first, connected, last] = [kv.disconnect(), errorOf(kv.connect()), kv.disconnect()];
  await Promise.all([first, last]);
  assert.deepEqual([(await connected).code, kv.status], ["CLOSED", "closed"]);
  await eventually(async () => (await server.clients()).every(({ name }) => name !== clientName));
  await kv.connect();
  assert.equal(await kv.ping(), "PONG");
  await kv.disconnect();
});

// If no wake-up is sent for the socket alone while the first event waits, one of a thousand openings makes a call take its whole timeout.
test("the first calls of many stores are answered at once", async () => {
  const lives = Array.from({ length: 4 }, async () => {
    for (let life = 0; life < 250; life++) {
      await using kv = await open({ ...server.address, commandTimeout: 600_000 });
      await kv.multi().set("k", "v").get("k").exec();
      await Promise.all([kv.get("k"), kv.set("k", "v")]);
      if (life % 2 === 0) await kv.subscribe("c", () => {});
      await kv.ping();
    }
  });
  await Promise.all(lives);
});
