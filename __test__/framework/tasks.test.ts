// The polling loop of the task worker has no catch: it ends without a sign when one of its calls rejects.
import assert from "node:assert/strict";
import { setTimeout as wait } from "node:timers/promises";
import { eventually } from "../backends.js";
import { test } from "../faults/faults.js";
import { Instance } from "./instances.js";

/** Shorter than a call waits for a connection by default, in ms. */
const OUTAGE = process.env.FAULTS_LONG === "1" ? 8_000 : 2_000;
const WORKERS = 20;
const TASKS = 40;

interface Progress {
  /** The number of rounds of each loop. */
  readonly turns: number[];
  /** The number of tasks that are being done. */
  readonly running: number;
  readonly done: string[];
}

// An outage of 6 s ends all four loops if a call fails in it: no task of 40 is done afterwards.
test("every loop outlives an outage, and all tasks are done", async (world) => {
  const server = await world.redis({ appendonly: "yes" });
  const { host, port } = server;
  const instance = await Instance.start({
    kind: "module",
    way: "register",
    redis: { host, port },
    workers: WORKERS,
    survives: true,
  });
  world.defer(() => instance.kill());
  const state = () => instance.get<Progress>("/");
  const ids = Array.from({ length: TASKS }, (_, index) => `task-${index}`);
  await instance.post("/tasks", { ids, duration: 1_500 });
  // At this moment no loop has a write in flight: such a write fails with an unknown outcome, and ends its loop.
  await eventually(async () => (await state()).running === WORKERS);
  await server.kill();
  await wait(OUTAGE);
  const before = await state();
  assert.ok(before.done.length < TASKS);
  await server.restart();

  await eventually(async () => (await state()).done.length >= TASKS);
  await eventually(async () =>
    (await state()).turns.every((count, worker) => count > (before.turns[worker] ?? 0)),
  );
  assert.deepEqual((await state()).done.sort(), ids.sort());
  // The write of a beat may have been in flight.
  const lost = instance.lines.filter((line) => "lost" in line);
  for (const { lost: code, command } of lost) {
    assert.ok(code === "CONNECTION" && ["HSET", "EXPIRE"].includes(String(command)), `${code} ${command}`);
  }
});
