// In Workers a request cannot use what another one has opened. Two isolates, with handlers in different requests, must hear each other over
// one object.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { FanoutEvent, FanoutStats } from "covara-kv";
import { eventually } from "../backends.js";
import { type Lines, openLines } from "./lines.js";
import { cannotRun, startWorker, type Worker } from "./workerd.js";

/** The Worker, in one of its isolates. */
class Isolate {
  readonly #worker: Worker;
  readonly #host: string;

  constructor(worker: Worker, host: string) {
    this.#worker = worker;
    this.#host = host;
  }

  /** Resolves once the stream is live. Each test has ids of its own: a stream that a client leaves unregisters its handler later. */
  stream(id: string, ...subscriptions: string[]): Promise<Lines> {
    return openLines(this.#ask, "stream", { id, subscriptions });
  }

  watch(resource: string): Promise<Lines> {
    return openLines(this.#ask, "watch", resource);
  }

  publish(subscriptionId: string, event: unknown): Promise<boolean> {
    return this.#json("publish", { type: "added", subscriptionId, event } satisfies FanoutEvent);
  }

  notify = (resource: string) => this.#json("notify", resource);
  unregister = (id: string) => this.#json("unregister", id);
  stats = () => this.#json<FanoutStats>("stats", null);

  async #json<T>(path: string, body: unknown): Promise<T> {
    return (await (await this.#ask(path, JSON.stringify(body))).json()) as T;
  }

  readonly #ask = (path: string, body: string) =>
    this.#worker.fetch(`http://${this.#host}/${path}`, { method: "POST", body });
}

describe("the fan-out in Workers", { skip: cannotRun }, () => {
  let worker: Worker;
  let here: Isolate;
  let there: Isolate;
  before(async () => {
    worker = await startWorker(join(__dirname, "fanout-worker.ts"), { isolates: ["here", "there"] });
    [here, there] = [new Isolate(worker, "here"), new Isolate(worker, "there")];
  });
  after(() => worker.stop());

  test("nothing is opened while there is no handler", async () => {
    assert.equal(await here.publish("1:x", 1), false);
  });

  test("streams hear what any request publishes, in their isolate and in another, in order", async () => {
    const [a, b, c] = [
      await here.stream("a", "1:x"),
      await here.stream("b", "2:x"),
      await there.stream("c", "3:x"),
    ];
    for (let n = 0; n < 50; n++) {
      for (const isolate of [here, there]) {
        for (const id of ["1:x", "2:x", "3:x"]) assert.equal(await isolate.publish(id, { n }), true);
      }
    }
    await eventually(() => [a, b, c].every(({ got }) => got.length === 100));
    for (const [stream, id] of [
      [a, "1:x"],
      [b, "2:x"],
      [c, "3:x"],
    ] as const) {
      const expected = Array.from({ length: 100 }, (_, i) => [id, `{"n":${Math.floor(i / 2)}}`]);
      assert.deepEqual(stream.got, expected);
    }
    assert.equal((await here.stats()).handlers, 2);
    for (const stream of [a, b, c]) await stream.leave();
  });

  test("when the client of a stream goes away, its handler and its socket do", async () => {
    const stream = await here.stream("leaves", "1:x");
    await stream.leave();
    await eventually(async () => !(await there.publish("1:x", 1)));
    assert.equal((await here.stats()).handlers, 0);
  });

  // A request may not use the socket of another request, so the object is asked to close it.
  test("another request may unregister a handler", async () => {
    const stream = await here.stream("unregistered", "1:x");
    await here.unregister("unregistered");
    await eventually(async () => !(await there.publish("1:x", 1)));
    await stream.leave();
    assert.deepEqual(stream.got, []);
  });

  test("a handler that another request registers again moves there with its subscriptions", async () => {
    const old = await here.stream("moves", "1:x");
    const stream = await here.stream("moves");
    await here.publish("1:x", 1);
    await eventually(() => stream.got.length === 1);
    // It may have missed something between the two sockets.
    assert.deepEqual(stream.first, [["1:x", '{"type":"invalidate","reason":"fanout-gap"}']]);
    assert.deepEqual(stream.got, [["1:x", "1"]]);
    assert.deepEqual(old.got, []);
    await stream.leave();
    await old.leave();
  });

  test("watchers hear of changes from anywhere, after a first call once they are live", async () => {
    const [a, b] = [await here.watch("posts"), await there.watch("posts")];
    await here.notify("posts");
    await there.notify("posts");
    await there.notify("users");
    await eventually(() => a.got.length === 2 && b.got.length === 2);
    assert.deepEqual([a.first, a.got, b.got], [[[]], [[], []], [[], []]]);
    for (const watcher of [a, b]) await watcher.leave();
    await eventually(async () => (await here.stats()).watchers + (await there.stats()).watchers === 0);
  });
});
