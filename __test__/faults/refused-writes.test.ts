// A server that has become a replica refuses writes in words of its own: alone, within a transaction, and within a script. Redis 6.2 tells a script's
// first write, where later servers refuse EVAL. The script was rejected with ERR, and not run by the next master.
import assert from "node:assert/strict";
import { eventually } from "../eventually.js";
import { emissions, PATIENT, test } from "./faults.js";
import { movable } from "./movable.js";

test("a transaction and a script that a replica refused are run by the next master, once", async (world) => {
  const { redis, client, open } = world;
  const [old, next] = [await redis(), await redis()];
  const name = await movable(world, old);
  const kv = await open(name, PATIENT);
  await kv.set("a", "1");
  await client(old).call("REPLICAOF", next.host, next.port);
  const reconnecting = emissions(kv, "reconnecting");
  const calls = [
    kv.multi().incr("n").sadd("s", "a").exec(),
    kv.eval('return redis.call("incr", KEYS[1])', ["n"], []),
    kv.incr("n"),
  ];
  await eventually(() => reconnecting.length > 0);
  name.move(next);
  assert.deepEqual(await Promise.all(calls), [[1, 1], 2, 3]);
});
