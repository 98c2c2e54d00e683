// The rows of bench:redis: each runs on one client, warms up, then measures.

const WARM_UP = 400;
const MEASURED = 1_000;
const KEYS = 1_000;
const SIZES = { "64 B": 64, "16 KB": 16 * 1024 };

export const CALLERS = [1, 16, 256, 2_000];

/** A fixed number of callers that each await one call before the next. */
function calls(command, sizeName, callers) {
  const value = "x".repeat(SIZES[sizeName]);
  const name = `${command} ${sizeName}, ${callers.toLocaleString("en")} ${callers === 1 ? "caller" : "callers"}`;
  return {
    name,
    callers,
    async run(client, { measured }) {
      const keys = Array.from({ length: KEYS }, (_, index) => `bench:${sizeName.replace(" ", "")}:${index}`);
      for (const key of keys) await client.set(key, value);
      const call = command === "GET" ? (key) => client.get(key) : (key) => client.set(key, value);

      /** Resolves to the number of answered calls within a time; every eighth latency is added to `latencies`. */
      const load = async (milliseconds, latencies) => {
        const end = performance.now() + milliseconds;
        let count = 0;
        const caller = async (first) => {
          for (let at = first; ; at += 1) {
            const start = performance.now();
            if (start >= end) return;
            await call(keys[at % KEYS]);
            count += 1;
            if (latencies !== undefined && count % 8 === 0) latencies.push(performance.now() - start);
          }
        };
        await Promise.all(Array.from({ length: callers }, (_, index) => caller(index)));
        return count;
      };

      await load(WARM_UP);
      const latencies = [];
      const result = await measured(() => load(MEASURED, latencies));
      latencies.sort((a, b) => a - b);
      const percentile = (part) => 1_000 * latencies[Math.floor(part * (latencies.length - 1))];
      return { ...result, p50: percentile(0.5), p99: percentile(0.99) };
    },
  };
}

/** Messages that another process publishes at a steady rate. */
function pubsub(callbacks) {
  return {
    name: `pub/sub, ${callbacks.toLocaleString("en")} ${callbacks === 1 ? "callback" : "callbacks"}`,
    callbacks,
    async run(client, { measured, wait }) {
      let heard = 0;
      const listeners = Array.from({ length: callbacks }, (_, index) => () => {
        if (index === 0) heard += 1;
      });
      await client.subscribe("bench", listeners);
      // The publisher may still be starting.
      while (heard === 0) await wait(10);
      await wait(WARM_UP);
      return measured(async () => {
        const before = heard;
        await wait(MEASURED);
        return heard - before;
      });
    },
  };
}

export const redisRows = [
  ...["GET", "SET"].flatMap((command) =>
    Object.keys(SIZES).flatMap((size) => CALLERS.map((callers) => calls(command, size, callers))),
  ),
  pubsub(1),
  pubsub(1_000),
];
