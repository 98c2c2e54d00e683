// A server that forgets its scripts answers NOSCRIPT. Callers would see that, or a script would run twice.
import assert from "node:assert/strict";
import { expectRefusal, refusal } from "../replies.js";
import { test, underLoad } from "./faults.js";

const INCR = "return redis.call('incr', KEYS[1])";

test("SCRIPT FLUSH between two runs of a script goes unnoticed", async ({ redis, client, open }) => {
  const server = await redis();
  const admin = client(server);
  const kv = await open(server);
  assert.equal(await kv.eval(INCR, ["n"], []), 1);
  await admin.script("FLUSH");
  assert.equal(await kv.eval(INCR, ["n"], []), 2);
  await admin.script("FLUSH");
  const many = await Promise.all(Array.from({ length: 20 }, () => kv.eval(INCR, ["n"], [])));
  assert.deepEqual(
    (many as number[]).sort((a, b) => a - b),
    Array.from({ length: 20 }, (_, index) => index + 3),
  );
});

test("SCRIPT FLUSH under load: each run happens once, and each reply is its own", async ({
  redis,
  client,
  open,
}) => {
  const server = await redis();
  const admin = client(server);
  const kv = await open(server);
  let runs = 0;
  const load = underLoad(8, async (worker, round) => {
    const key = `${worker}.${round}`;
    runs += 2;
    const [own, , read] = await Promise.all([
      kv.eval("redis.call('incr', 'n') return KEYS[1] .. '=' .. ARGV[1]", [key], ["é"]),
      kv.eval(INCR, ["n"], []),
      kv.get(`none.${key}`),
    ]);
    assert.deepEqual([own, read], [`${key}=é`, null]);
  });
  for (let flush = 0; flush < 100; flush++) await admin.script("FLUSH");
  await load.stop();
  assert.equal(await kv.get("n"), String(runs));
});

test("what the server has forgotten runs all the same, once, behind what was called with it", async ({
  redis,
  client,
  open,
}) => {
  const server = await redis();
  const kv = await open(server);
  const append = "return redis.call('rpush', KEYS[1], ARGV[1])";
  await kv.eval(append, ["list"], ["0"]);
  await client(server).script("FLUSH");
  await Promise.all([
    kv.rpush("list", "1"),
    kv.eval(append, ["list"], ["2"]),
    kv.rpush("list", "3"),
    kv.eval(append, ["list"], ["4"]),
  ]);
  assert.deepEqual(await kv.lrange("list", 0, -1), ["0", "1", "3", "2", "4"]);
});

test("a script's own NOSCRIPT is its reply", async ({ redis, open }) => {
  const kv = await open(await redis());
  const script = "return redis.error_reply('NOSCRIPT of its own')";
  for (let run = 0; run < 3; run++) await expectRefusal(kv.eval(script, [], []), refusal("NOSCRIPT"));
});
