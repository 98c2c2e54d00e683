import { setTimeout as wait } from "node:timers/promises";
import { getGlobalKV } from "./kv/index.mjs";

const QUEUE = "covara:tasks:queue";
const POLL_MS = 20;
const LOCK_SECONDS = 30;
const BEAT_MS = 100;
const TICK_MS = 1_000;

const dataOf = (id) => `covara:tasks:data:${id}`;
const lockOf = (id) => `covara:tasks:lock:${id}`;

const state = { turns: [], running: 0, done: [] };

export async function enqueue(ids, duration) {
  const kv = getGlobalKV();
  for (const id of ids) {
    await kv.hmset(dataOf(id), { id, duration: String(duration), status: "waiting" });
    await kv.zadd(QUEUE, Date.now(), id);
  }
}

/** Starts loops that poll for tasks, and the timers beside them. None of them is awaited. */
export function startTasks(workers) {
  state.turns = Array.from({ length: workers }, () => 0);
  for (let worker = 0; worker < workers; worker++) void poll(worker);
  setInterval(() => void tick(), TICK_MS);
}

/** The loop ends when one of its calls rejects. */
async function poll(worker) {
  const kv = getGlobalKV();
  const owner = `${process.pid}-${worker}`;
  while (true) {
    state.turns[worker] += 1;
    const ids = await kv.zrangebyscore(QUEUE, "-inf", Date.now(), { limit: { offset: 0, count: 50 } });
    for (const id of ids) {
      await kv.set(lockOf(id), owner, { nx: true, ex: LOCK_SECONDS });
      if ((await kv.get(lockOf(id))) !== owner) continue;
      const task = await kv.hgetall(dataOf(id));
      const beating = setInterval(() => void beat(id), BEAT_MS);
      state.running += 1;
      await wait(Number(task.duration));
      state.running -= 1;
      clearInterval(beating);
      if ((await kv.zrem(QUEUE, id)) === 1) state.done.push(id);
    }
    await wait(POLL_MS);
  }
}

async function beat(id) {
  const kv = getGlobalKV();
  await kv.hset(dataOf(id), "beat", String(Date.now()));
  await kv.expire(lockOf(id), LOCK_SECONDS);
}

async function tick() {
  const kv = getGlobalKV();
  const due = await kv.zrangebyscore("covara:tasks:recurring", "-inf", Date.now());
  for (const id of due) await kv.hgetall(`covara:tasks:recurring:${id}`);
}

export function taskState() {
  return state;
}
