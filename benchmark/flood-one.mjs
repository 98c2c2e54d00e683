// One process that is flooded in one way for `ms`: `node flood-one.mjs port other-port way µs ms [messages-per-second]`, run by flood.mjs.
// It prints how much it has taken, and how late everything else was meanwhile.
import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { setImmediate as turn, setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { FLOOD_AFTER_MS } from "./flood-time.mjs";

const packageUnderTest = process.env.FLOOD_PACKAGE ?? "covara-kv";
const here = fileURLToPath(import.meta.url);
const { createKV, createMemoryKV, initializeEventSubscription, initializeKV, publishEvent, ...fanout } =
  await import(packageUnderTest);

const TIMER_MS = 10;
const CALLERS = 20_000;

/** The CPU time of the thread that runs JavaScript, in ms. Linux only. */
const threadCpu = () =>
  Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ")[0]) / 1e6;

/** Publishes as fast as it can, from a thread of its own. */
async function publish({ way, duration }) {
  await wait(FLOOD_AFTER_MS);
  const end = performance.now() + duration;
  const kv = createMemoryKV("", { shared: "flood" });
  for (let n = 0; performance.now() < end; n += 1) {
    const text = String(n).padStart(12, "0").padEnd(100, "x");
    if (way === "fan-out between threads")
      await publishEvent({ type: "changed", subscriptionId: "flood", event: text });
    else await kv.publish("flood", text);
  }
  await kv.disconnect();
}

async function flooded(port, otherPort, way, work, duration, rate) {
  let [taken, disordered, gaps, last] = [0, 0, 0, -1];
  let [began, ended] = [0, 0];
  const spin = () => {
    if (work === 0) return;
    for (const end = performance.now() + work / 1_000; performance.now() < end; );
  };
  const taking = () => {
    if (taken === 0) began = performance.now();
    taken += 1;
    spin();
    ended = performance.now();
  };
  const hear = (message) => {
    const number = Number(message.slice(0, 12));
    if (number <= last) disordered += 1;
    last = number;
    taking();
  };
  const deliver = (event) => {
    if (event.startsWith("{")) gaps += 1;
    else hear(JSON.parse(event));
  };

  const redis = () => createKV({ type: "redis", redis: { port } });
  const publisher = (channel) =>
    fork(fileURLToPath(new URL("flood-publisher.mjs", import.meta.url)), [
      ...[port, channel, rate, duration].map(String),
    ]);
  const thread = () => new Worker(here, { workerData: { way, duration } });
  const handle = async () => {
    fanout.registerHandler("handler", deliver);
    fanout.trackSubscription("handler", "flood");
    await initializeEventSubscription();
  };
  const heardBy = async (kv, subscribe) => {
    kv.on("gap", () => {
      gaps += 1;
    });
    await subscribe(kv);
    return kv;
  };
  const called = (call) => async () => {
    const kv = await redis();
    await Promise.all(Array.from({ length: 100 }, (_, n) => kv.set(`${n}`, "x".repeat(64))));
    const end = performance.now() + FLOOD_AFTER_MS + duration;
    const caller = async () => {
      while (performance.now() < end) {
        await call(kv);
        taking();
      }
    };
    const start = async () => {
      await wait(FLOOD_AFTER_MS);
      for (let n = 0; n < CALLERS; n += 1) {
        caller();
        if (n % 100 === 0) await turn();
      }
    };
    start();
  };
  const keys = Array.from({ length: 100 }, (_, n) => `${n}`);

  const ways = {
    nothing: async () => taking(),
    subscribe: async () => {
      await heardBy(await redis(), (kv) => kv.subscribe("flood", hear));
      publisher("flood");
    },
    psubscribe: async () => {
      await heardBy(await redis(), (kv) => kv.psubscribe("floo*", hear));
      publisher("flood");
    },
    listen: async () => {
      await heardBy(await redis(), (kv) => kv.listen(["flood"], hear));
      publisher("flood");
    },
    "fan-out": async () => {
      await initializeKV({ type: "redis", redis: { port } });
      await handle();
      publisher("covara:events");
    },
    "fan-out between threads": async () => {
      await initializeKV({ type: "memory" });
      await handle();
      thread();
    },
    "shared memory": async () => {
      await heardBy(createMemoryKV("", { shared: "flood" }), (kv) => kv.subscribe("flood", hear));
      thread();
    },
    "callers of GET": called((kv) => kv.get("1")),
    "callers of MGET": called((kv) => kv.mget(...keys)),
  };

  const late = { timer: [], turn: [], http: [], store: [] };
  const other = await createKV({ type: "redis", redis: { port: otherPort } });
  const server = createServer((_, response) => response.end("ok")).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port: httpPort } = /** @type {import("node:net").AddressInfo} */ (server.address());
  const prober = new Worker(
    `const { request } = require("node:http");
     const { parentPort, workerData } = require("node:worker_threads");
     const ask = () => new Promise((resolve) => {
       const start = performance.now();
       const asked = request({ port: workerData, host: "127.0.0.1", agent: false }, (response) =>
         response.resume().on("end", () => resolve(performance.now() - start)));
       asked.on("error", () => resolve(performance.now() - start)).end();
     });
     (async () => {
       for (;;) {
         parentPort.postMessage(await ask());
         await new Promise((resolve) => setTimeout(resolve, 20));
       }
     })();`,
    { eval: true, workerData: httpPort },
  );
  prober.on("message", (time) => late.http.push(time));

  await ways[way]();
  // The first moments are not measured: code is compiled, and connections are opened.
  await wait(FLOOD_AFTER_MS / 2);
  for (const kind of Object.values(late)) kind.length = 0;
  const [cpu, js] = [process.cpuUsage(), threadCpu()];
  const end = performance.now() + duration;
  const timer = async () => {
    while (performance.now() < end) {
      const [due, cpu] = [performance.now() + TIMER_MS, threadCpu()];
      await wait(TIMER_MS);
      late.timer.push(performance.now() - due);
      late.turn.push(threadCpu() - cpu - TIMER_MS);
    }
  };
  const store = async () => {
    while (performance.now() < end) {
      const asked = performance.now();
      await other.get("k");
      late.store.push(performance.now() - asked);
      await wait(20);
    }
  };
  await Promise.all([timer(), store()]);
  // A request of that time must be answered, too.
  await once(prober, "message");
  const seconds = (ended - began) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  const most = (times) => Math.max(0, ...times);
  return {
    way,
    work,
    perSecond: taken / seconds,
    processEach: (user + system) / taken,
    jsEach: (1e3 * (threadCpu() - js)) / taken,
    timer: most(late.timer),
    turn: most(late.turn),
    http: late.http.length === 0 ? Number.POSITIVE_INFINITY : most(late.http),
    store: most(late.store),
    gaps,
    disordered,
    rss: process.memoryUsage().rss / 2 ** 20,
  };
}

if (!isMainThread) await publish(workerData);
else {
  const [port, otherPort, way, work, duration, rate = "0"] = process.argv.slice(2);
  const result = await flooded(Number(port), Number(otherPort), way, Number(work), Number(duration), rate);
  console.log(JSON.stringify(result));
  process.exit();
}
