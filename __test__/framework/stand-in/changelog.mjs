import { getGlobalKV } from "./kv/index.mjs";

const MAX_ENTRIES = 1_000;

/** Its callers do not await it. */
export async function appendToChangelog(resource, change) {
  const kv = getGlobalKV();
  const seq = await kv.incr("covara:changelog:seq");
  const key = `covara:changelog:${resource}`;
  await kv.zadd(key, seq, JSON.stringify({ seq, ...change }));
  const surplus = (await kv.zcard(key)) - MAX_ENTRIES;
  if (surplus > 0) await kv.zrem(key, ...(await kv.zrange(key, 0, surplus - 1)));
}
