// What `npm run bench:memory` measures: a row of the table each.
//
//   name        what the row is called, here and on the command line
//   bar         how many times the Map store's operations a second the native store must reach; none: for information
//   peer        the row of the native store that it is compared with in place of the Map store
//   operations  how many operations one `run` does
//   prepare     fills the store
//   run         what is timed: operations awaited one by one
//   restore     not timed: brings the store back to what it was before `run`

import { random, shuffled, text } from "./data.mjs";

const SIMPLE = 1.5;
const ALGORITHM = 50;
const RECIPE = 20;
/** A call into native code does not beat a Map on a key in the processor's cache. */
const HELD = 0.9;

const KEYS = 100_000;
/** Keys that stay in the processor's cache, where a Map is at its best. */
const HOT = 1_000;
const CALLBACKS = 100;
const MEMBERS = 10_000;
/** Operations between two calls of `restore`, in rows where the Map store takes long for each. */
const FEW = 100;
const BATCH = 1_000;
/** The number of sliding windows at one time. */
const USERS = 10;
/** The scores of the sorted sets are times in milliseconds, as in most applications. */
const EPOCH = 1_700_000_000_000;
const FIELDS = ["id", "name", "mail", "role", "language"];

const inOrder = Array.from({ length: KEYS }, (_, i) => `user:${100_000 + i}`);
const keys = shuffled(inOrder);
const friends = shuffled(inOrder);
/** A text of 64 bytes for each key. */
const values = Array.from({ length: KEYS }, (_, i) => text(i));
const members = Array.from({ length: MEMBERS }, (_, i) => `member:${i}`);
const newMembers = Array.from({ length: FEW }, (_, i) => `new member:${i}`);

const perKey = { bar: SIMPLE, operations: KEYS };
const perHotKey = { operations: HOT };
const perMember = { bar: ALGORITHM, operations: FEW, prepare: fillSortedSet };

/** The count of the callbacks of `publish-100`. */
const heard = { count: 0 };

/** Checks the sum of the texts' lengths. A caller too reads the texts that it gets. */
function expectTexts(length, count) {
  if (length !== count * text(0).length) throw new Error("The store gave other texts than it was given.");
}

/**
 * @typedef {(kv: any) => Promise<void>} Step
 * @type {{ name: string, bar?: number, peer?: string, operations: number, prepare: Step, run: Step, restore?: Step }[]}
 */
export const rows = [
  {
    name: "get",
    ...perKey,
    prepare: fillStrings,
    async run(kv) {
      let length = 0;
      for (const key of keys) length += (await kv.get(key)).length;
      expectTexts(length, KEYS);
    },
  },
  {
    name: "set",
    ...perKey,
    prepare: fillStrings,
    async run(kv) {
      for (let i = 0; i < KEYS; i += 1) await kv.set(keys[i], values[i]);
    },
    // A server stores texts that it has just made. For a text that exists already a Map would only store a pointer.
    async restore() {
      for (let i = 0; i < KEYS; i += 1) values[i] = text(random(KEYS));
    },
  },
  {
    name: "incr",
    ...perKey,
    async prepare(kv) {
      for (const key of inOrder) await kv.incr(key);
    },
    async run(kv) {
      for (const key of keys) await kv.incr(key);
    },
  },
  {
    name: "hget",
    ...perKey,
    prepare: fillHashes,
    async run(kv) {
      let length = 0;
      for (const key of keys) length += (await kv.hget(key, "name")).length;
      expectTexts(length, KEYS);
    },
  },
  {
    name: "hset",
    ...perKey,
    prepare: fillHashes,
    async run(kv) {
      for (let i = 0; i < KEYS; i += 1) await kv.hset(keys[i], "name", values[i]);
    },
  },
  {
    name: "sadd",
    ...perKey,
    async prepare(kv) {
      for (let i = 0; i < KEYS; i += 1) {
        for (const step of [1, 2, 3]) await kv.sadd(inOrder[i], friends[(i + step) % KEYS]);
      }
    },
    async run(kv) {
      for (let i = 0; i < KEYS; i += 1) await kv.sadd(keys[i], friends[i]);
    },
    async restore(kv) {
      for (let i = 0; i < KEYS; i += 1) await kv.srem(keys[i], friends[i]);
    },
  },
  {
    name: "lpush",
    ...perKey,
    prepare: fillLists,
    async run(kv) {
      for (let i = 0; i < KEYS; i += 1) await kv.lpush(keys[i], values[i]);
    },
    async restore(kv) {
      for (const key of keys) await kv.lpop(key);
    },
  },
  {
    name: "rpop",
    ...perKey,
    prepare: fillLists,
    async run(kv) {
      let length = 0;
      for (const key of keys) length += (await kv.rpop(key)).length;
      expectTexts(length, KEYS);
    },
    async restore(kv) {
      for (let i = 0; i < KEYS; i += 1) await kv.rpush(keys[i], values[i]);
    },
  },
  {
    name: "zadd",
    ...perMember,
    async run(kv) {
      for (const member of newMembers) await kv.zadd("index", EPOCH + random(MEMBERS), member);
    },
    async restore(kv) {
      await kv.zrem("index", ...newMembers);
    },
  },
  {
    name: "zrangebyscore",
    ...perMember,
    async run(kv) {
      let found = 0;
      for (let i = 0; i < FEW; i += 1) {
        const from = EPOCH + random(MEMBERS - 10);
        found += (await kv.zrangebyscore("index", from, from + 9)).length;
      }
      if (found !== FEW * 10) throw new Error("A range of 10 had more or fewer members.");
    },
  },
  {
    name: "zrem",
    ...perMember,
    async run(kv) {
      for (let i = 0; i < MEMBERS; i += MEMBERS / FEW) await kv.zrem("index", members[i]);
    },
    async restore(kv) {
      for (let i = 0; i < MEMBERS; i += MEMBERS / FEW) await kv.zadd("index", EPOCH + i, members[i]);
    },
  },
  {
    name: "lpop",
    bar: ALGORITHM,
    operations: BATCH,
    async prepare(kv) {
      for (let i = 0; i < KEYS; i += BATCH) await kv.rpush("queue", ...values.slice(i, i + BATCH));
    },
    async run(kv) {
      let length = 0;
      for (let i = 0; i < BATCH; i += 1) length += (await kv.lpop("queue")).length;
      expectTexts(length, BATCH);
    },
    async restore(kv) {
      await kv.rpush("queue", ...values.slice(0, BATCH));
    },
  },
  {
    name: "scan",
    bar: ALGORITHM,
    operations: 1,
    prepare: fillStrings,
    async run(kv) {
      let cursor = "0";
      let found = 0;
      do {
        const page = await kv.scan(cursor, { count: 100 });
        cursor = page.cursor;
        found += page.keys.length;
      } while (cursor !== "0");
      if (found !== KEYS) throw new Error(`SCAN found ${found} of ${KEYS} keys.`);
    },
  },
  {
    name: "changelog",
    bar: RECIPE,
    operations: FEW,
    async prepare(kv) {
      for (let i = 0; i < MEMBERS; i += 1) await append(kv);
    },
    async run(kv) {
      for (let i = 0; i < FEW; i += 1) await append(kv);
    },
  },
  {
    name: "hot-get",
    ...perHotKey,
    prepare: fillStrings,
    async run(kv) {
      let length = 0;
      for (let i = 0; i < HOT; i += 1) length += (await kv.get(inOrder[i])).length;
      expectTexts(length, HOT);
    },
  },
  {
    name: "hot-set",
    ...perHotKey,
    prepare: fillStrings,
    async run(kv) {
      for (let i = 0; i < HOT; i += 1) await kv.set(inOrder[i], values[i]);
    },
  },
  {
    name: "hot-set-ex",
    ...perHotKey,
    bar: 1 / 1.3,
    peer: "hot-set",
    prepare: fillStrings,
    async run(kv) {
      for (let i = 0; i < HOT; i += 1) await kv.set(inOrder[i], values[i], { ex: 3_600 });
    },
  },
  {
    name: "hot-hset",
    ...perHotKey,
    bar: HELD,
    prepare: fillHashes,
    async run(kv) {
      for (let i = 0; i < HOT; i += 1) await kv.hset(inOrder[i], "name", values[i]);
    },
  },
  {
    name: "hot-hget",
    ...perHotKey,
    bar: HELD,
    prepare: fillHashes,
    async run(kv) {
      let length = 0;
      for (let i = 0; i < HOT; i += 1) length += (await kv.hget(inOrder[i], "name")).length;
      expectTexts(length, HOT);
    },
  },
  {
    name: "hot-hgetall",
    ...perHotKey,
    bar: HELD,
    async prepare(kv) {
      for (let i = 0; i < HOT; i += 1) await kv.hset(inOrder[i], "name", values[i]);
    },
    async run(kv) {
      let length = 0;
      for (let i = 0; i < HOT; i += 1) length += (await kv.hgetall(inOrder[i])).name.length;
      expectTexts(length, HOT);
    },
  },
  {
    name: "hot-sismember",
    ...perHotKey,
    bar: HELD,
    async prepare(kv) {
      for (let i = 0; i < HOT; i += 1) await kv.sadd(inOrder[i], friends[i], friends[i + 1]);
    },
    async run(kv) {
      let found = 0;
      for (let i = 0; i < HOT; i += 1) found += Number(await kv.sismember(inOrder[i], friends[i]));
      if (found !== HOT) throw new Error("A set lacked a member.");
    },
  },
  {
    name: "hot-lpush-rpop",
    ...perHotKey,
    bar: 0.8,
    async prepare() {},
    async run(kv) {
      let length = 0;
      for (let i = 0; i < HOT; i += 1) {
        await kv.lpush(inOrder[i], values[i]);
        length += (await kv.rpop(inOrder[i])).length;
      }
      expectTexts(length, HOT);
    },
  },
  {
    name: "publish-100",
    ...perHotKey,
    bar: 1,
    async prepare(kv) {
      for (let i = 0; i < CALLBACKS; i += 1) await kv.subscribe("news", () => heard.count++);
    },
    async run(kv) {
      heard.count = 0;
      for (let i = 0; i < HOT; i += 1) await kv.publish("news", values[i]);
      if (heard.count !== HOT * CALLBACKS) throw new Error("A callback missed a message.");
    },
  },
  rateLimit(100),
  rateLimit(1_000),
  { ...rateLimit(MEMBERS), bar: RECIPE },
];

/** Appends to a log that keeps its last entries. */
async function append(kv) {
  const id = await kv.incr("changelog:id");
  await kv.zadd("changelog", id, `{"id":${id},"type":"created","resource":"posts"}`);
  if ((await kv.zcard("changelog")) <= MEMBERS) return;
  await kv.zrem("changelog", ...(await kv.zrange("changelog", 0, -MEMBERS - 1)));
}

/** Requests of users, of whom each makes `limit` requests in each sliding window. */
function rateLimit(limit) {
  const length = limit * USERS;
  let now = EPOCH;
  const request = async (kv) => {
    now += 1;
    const key = `requests:${now % USERS}`;
    const old = await kv.zrangebyscore(key, "-inf", now - length);
    if (old.length > 0) await kv.zrem(key, ...old);
    if ((await kv.zcard(key)) >= limit) throw new Error("The requests must all be within the limit.");
    await kv.zadd(key, now, `request:${now}`);
    await kv.expire(key, 3_600);
  };
  return {
    name: `rate-limit-${limit}`,
    operations: FEW,
    async prepare(kv) {
      for (let i = 0; i < length; i += 1) await request(kv);
    },
    async run(kv) {
      for (let i = 0; i < FEW; i += 1) await request(kv);
    },
  };
}

async function fillStrings(kv) {
  for (let i = 0; i < KEYS; i += 1) await kv.set(inOrder[i], text(i));
}

async function fillHashes(kv) {
  for (const key of inOrder) {
    for (let i = 0; i < FIELDS.length; i += 1) await kv.hset(key, FIELDS[i], text(i));
  }
}

async function fillLists(kv) {
  for (const key of inOrder) {
    for (let i = 0; i < 8; i += 1) await kv.rpush(key, text(i));
  }
}

async function fillSortedSet(kv) {
  for (const i of shuffled(members.keys())) await kv.zadd("index", EPOCH + i, members[i]);
}
