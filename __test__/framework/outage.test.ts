// An outage of Redis may end a process of the framework, or leave its streams silent afterwards.
import assert from "node:assert/strict";
import { eventually } from "../backends.js";
import { test, type World } from "../faults/faults.js";
import type { RedisServer } from "../redis-server.js";
import { type AppOptions, Instance, type Stream } from "./instances.js";

/** Short timeouts, so that calls reject in a short outage. */
const SHORT = { queueTimeout: 200, commandTimeout: 200, retryDelay: 20 };

const RESOURCE = "posts";

async function start(
  world: World,
  { host, port }: RedisServer,
  options: Omit<AppOptions, "redis">,
): Promise<Instance> {
  const instance = await Instance.start({ ...options, redis: { host, port, ...SHORT } });
  world.defer(() => instance.kill());
  return instance;
}

const mutate = (instance: Instance, object: unknown) =>
  instance.post("/mutations", { resource: RESOURCE, object });

const objectsOf = ({ events }: Stream) => events.map(({ object }) => object);

for (const kind of ["module", "commonjs"] as const) {
  for (const way of ["register", "setGlobalKV"] as const) {
    // Node.js ends the process at the first rejected changelog entry, so that an outage of 3 s ends every instance that takes a write.
    test(`${kind}, ${way}: every process lives through an outage, and streams hear again`, async (world) => {
      const server = await world.redis();
      const [first, second] = await Promise.all([
        start(world, server, { kind, way }),
        start(world, server, { kind, way, listens: true, prefix: "" }),
      ]);
      const before = await first.stream();
      world.defer(() => before.close());
      await first.post("/subscriptions", { handlerId: before.handlerId, resource: RESOURCE });
      await eventually(async () => {
        await mutate(second, "before");
        return before.events.length > 0;
      });

      await server.kill();
      // The first stream of an instance subscribes for all of them, once, and does not try again.
      const during = await second.stream();
      world.defer(() => during.close());
      for (const instance of [first, second]) {
        assert.match((await mutate(instance, "during")).code ?? "", /^(CONNECTION|TIMEOUT)$/);
      }
      await eventually(() => first.errors.includes("COVARA_KV_UNHANDLED"));
      await eventually(() => second.lines.some(({ command }) => command === "INCR"));
      // Longer than a call waits for a connection.
      await new Promise((resolve) => setTimeout(resolve, 2 * SHORT.queueTimeout));

      await server.restart();
      for (const [instance, stream] of [
        [first, before],
        [second, during],
      ] as const) {
        await eventually(async () => {
          const { handlerId } = stream;
          return (
            (await instance.post("/subscriptions", { handlerId, resource: RESOURCE })).code === undefined
          );
        });
      }
      let sent = 0;
      const heard = (stream: Stream) => objectsOf(stream).includes(`after ${sent}`);
      await eventually(async () => {
        sent += 1;
        await Promise.all([mutate(first, `after ${sent}`), mutate(second, `after ${sent}`)]);
        return heard(before) && heard(during);
      });
      assert.deepEqual([first.ended, second.ended], [undefined, undefined]);
      assert.equal(first.errors.match(/COVARA_KV_UNHANDLED/g)?.length, 1, first.errors);
      assert.equal(second.errors, "");
    });
  }
}

test("without the guard the process ends", async (world) => {
  const server = await world.redis();
  const instance = await start(world, server, { kind: "module", way: "bare" });
  await server.kill();
  await mutate(instance, "during").catch(() => {}); // The process may end before it answers.
  await eventually(() => instance.ended !== undefined);
  assert.equal(instance.ended, 1);
  assert.match(instance.errors, /KVError/);
});

// A loop that has ended is started again only by a new process. So this process must end, and not run on without the loop.
test("a task worker's loop that is over ends the process", async (world) => {
  const server = await world.redis();
  const instance = await start(world, server, { kind: "module", way: "register", workers: 1 });
  await server.kill();
  await eventually(() => instance.ended !== undefined);
  assert.equal(instance.ended, 1);
  assert.match(instance.errors, /KVError/);
});
