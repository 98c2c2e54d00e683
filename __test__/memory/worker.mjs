// The jobs of the tests' worker threads, by name.
import { setImmediate as turn } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import { createMemoryKV } from "covara-kv";

const { job, shared, signal, ...data } = workerData;
const kv = createMemoryKV(data.prefix, { shared });
/** The signal that is shared with the starting thread: this thread raises [0] while it makes progress, the other raises [1]. */
const [RAISED_HERE, RAISED_THERE] = [0, 1];

const raise = () => {
  Atomics.add(signal, RAISED_HERE, 1);
  Atomics.notify(signal, RAISED_HERE);
};

const jobs = {
  async write() {
    for (const [key, value] of Object.entries(data.values)) await kv.set(key, value);
  },

  /** Holds the store open until the other thread raises its signal. */
  async hold() {
    await kv.connect();
    raise();
    Atomics.wait(signal, RAISED_THERE, 0);
  },

  /** Runs one transaction after another, each on new keys. */
  async fill() {
    for (let round = 0; ; round++) {
      const transaction = kv.multi();
      for (let n = 0; n < data.keys; n++) transaction.set(`${round}:${n}`, "v");
      const done = transaction.exec();
      raise();
      await done;
      await kv.del(...Array.from({ length: data.keys }, (_, n) => `${round}:${n}`));
    }
  },

  async incrementPairs() {
    for (let round = 0; round < data.rounds; round++) await kv.multi().incr("a").incr("b").exec();
  },

  async transfer() {
    const script = `
      local amount = math.min(tonumber(ARGV[1]), tonumber(redis.call("get", KEYS[1])))
      redis.call("decrby", KEYS[1], amount)
      redis.call("incrby", KEYS[2], amount)
      return amount`;
    for (let round = 0; round < data.rounds; round++) {
      const [from, to] = round % 2 === data.parity ? ["a", "b"] : ["b", "a"];
      await kv.eval(script, [from, to], [`${(round * 7) % 50}`]);
    }
  },

  /** Adds to a counter by a read and a write, which is safe only under a lock. */
  async incrementUnderLock() {
    for (let round = 0; round < data.rounds; round++) {
      while (!(await kv.setnx("lock", data.name))) await turn();
      await kv.set("counter", `${Number(await kv.get("counter")) + 1}`);
      await kv.del("lock");
    }
  },

  async publish() {
    for (let n = 0; n < data.count; n++) await kv.publish(data.channel, `${data.name} ${n}`);
    raise();
  },

  /** Answers each question, until the question is `stop`. */
  async answer() {
    await kv.subscribe("ask", async (question) => {
      await kv.publish("answer", `${data.name}: ${question}!`);
      if (question === "stop") await kv.unsubscribe("ask");
    });
    raise();
  },

  /** Subscribes in one of the ways, and leaves in the matching way at the message `stop`. Nothing else keeps the thread alive. */
  async listen() {
    const leave = await ways[data.way]((message) => {
      if (message === "stop") void leave();
    });
    raise();
  },

  // The following jobs run until the thread is terminated.

  async commands() {
    for (let n = 0; ; n++) {
      await kv.set(`key ${n % 100}`, "x".repeat(n % 1000), { px: 1 + (n % 50) });
      await kv.zadd("zset", n % 1000, `member ${n % 100}`);
      await kv
        .multi()
        .hset("hash", `field ${n % 100}`, "v")
        .lpush("list", "v")
        .exec();
      await kv.ltrim("list", 0, 9);
      await kv.scan("0");
      raise();
    }
  },

  async publishing() {
    for (;;) {
      await kv.publish("news", "from a thread that is about to end");
      raise();
    }
  },

  async subscribed() {
    await kv.subscribe("news", raise);
    await kv.psubscribe("n*", raise);
    for (;;) {
      await kv.publish("news", "to itself and others");
      await turn();
    }
  },

  async scripts() {
    const script =
      "for i = 1, 1000 do redis.call('incr', KEYS[1]) end return redis.call('publish', 'news', 'm')";
    for (;;) {
      await kv.eval(script, ["n"], []);
      raise();
    }
  },
};

const ways = {
  async subscribe(callback) {
    await kv.subscribe("news", callback);
    return () => kv.unsubscribe("news");
  },
  async psubscribe(callback) {
    await kv.psubscribe("n*", callback);
    return () => kv.punsubscribe("n*");
  },
  async listen(callback) {
    const handle = await kv.listen(["news"], callback);
    return () => handle.close();
  },
  async disconnect(callback) {
    await kv.subscribe("news", callback);
    return () => kv.disconnect();
  },
};

await jobs[job]();
parentPort?.postMessage("done");
