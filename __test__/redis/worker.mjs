// The jobs of the tests' worker threads, by name.
import { setImmediate as turn } from "node:timers/promises";
import { workerData } from "node:worker_threads";
import { createKV, createRedisKV } from "covara-kv";

const { job, redis, signal } = workerData;
const raise = () => void Atomics.add(signal, 0, 1);
const channel = "threads";

const jobs = {
  async useAndLeave() {
    const kv = await createKV({ type: "redis", redis });
    await kv.set("thread", "was here");
    await kv.disconnect();
  },

  /** The thread ends although its store is open, as nothing is in flight. */
  async use() {
    const kv = await createKV({ type: "redis", redis });
    await kv.set("thread", "was here");
  },

  // The following jobs run until the thread is terminated.

  async connecting() {
    for (;;) {
      const kv = createRedisKV(redis);
      const connected = kv.connect();
      raise();
      await connected;
      await kv.disconnect();
    }
  },

  async load() {
    const kv = await createKV({ type: "redis", redis });
    for (;;) {
      const replies = Array.from({ length: 200 }, (_, n) => kv.set(`key ${n}`, "x".repeat(n * 10)));
      raise();
      await Promise.all([...replies, kv.multi().incr("n").lpush("list", "v").exec(), kv.ltrim("list", 0, 9)]);
    }
  },

  async gets() {
    const kv = await createKV({ type: "redis", redis });
    for (;;) {
      await kv.get("key");
      raise();
    }
  },

  async pubsub() {
    const kv = await createKV({ type: "redis", redis });
    await kv.subscribe(channel, raise);
    await kv.psubscribe("thr*", raise);
    for (;;) {
      await kv.publish(channel, "to itself and others");
      await turn();
    }
  },

  async longValues() {
    const kv = await createKV({ type: "redis", redis });
    await kv.set("long", "x".repeat(20_000));
    const caller = async () => {
      for (;;) {
        await kv.get("long");
        raise();
      }
    };
    await Promise.all(Array.from({ length: 1_000 }, caller));
  },

  async scripts() {
    const kv = await createKV({ type: "redis", redis });
    for (;;) {
      await kv.eval("for i = 1, 1000 do redis.call('incr', KEYS[1]) end return {1, 'two'}", ["n"], []);
      raise();
    }
  },
};

await jobs[job]();
