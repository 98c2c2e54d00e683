// A reply that is longer than `client-output-buffer-limit` ends the connection. A read that is sent again and again then costs 8
// connections, each with the writes behind it.
import assert from "node:assert/strict";
import type { KVError } from "covara-kv";
import { errorOf } from "../replies.js";
import { emissions, PATIENT, test } from "./faults.js";

const LIMIT = { "client-output-buffer-limit": "normal 1mb 0 0" };
/** Redis holds a value of this size in one piece, and cannot pass all of it to the socket at once. */
const SIZE = 64 * 1024 * 1024;

const TWICE =
  /^The connection to 127\.0\.0\.1:\d+ was lost twice while this command, which only reads, was to be answered: .*client-output-buffer-limit.* It was sent twice: /;

function expectTwice({ code, message }: KVError): void {
  assert.equal(code, "CONNECTION");
  assert.match(message, TWICE);
}

test("a read whose reply is longer than the server allows is sent twice, and then told why", async ({
  redis,
  open,
  client,
}) => {
  const server = await redis(LIMIT);
  const admin = client(server);
  const kv = await open(server, PATIENT);
  await admin.config("RESETSTAT");
  await kv.set("huge", "x".repeat(SIZE));
  const reconnecting = emissions(kv, "reconnecting");
  expectTwice(await errorOf(kv.get("huge")));
  assert.equal(await kv.get("small"), null);
  assert.equal(reconnecting.length, 2);
  assert.match(String(await admin.info("commandstats")), /cmdstat_get:calls=3,/);
});

test("what was called beside it suffers once: reads come, and a write fails once at most", async ({
  redis,
  open,
}) => {
  const server = await redis(LIMIT);
  const kv = await open(server, PATIENT);
  await kv.set("huge", "x".repeat(SIZE));
  const reconnecting = emissions(kv, "reconnecting");
  const huge = errorOf(kv.get("huge"));
  const reads = Promise.all(Array.from({ length: 20 }, (_, n) => kv.get(`none ${n}`)));
  const writes = Promise.allSettled(Array.from({ length: 20 }, (_, n) => kv.incr(`n ${n}`)));
  expectTwice(await huge);
  assert.deepEqual(await reads, Array(20).fill(null));
  const refused = (await writes).flatMap((outcome) =>
    outcome.status === "rejected" ? [outcome.reason] : [],
  );
  for (const error of refused) assert.match(error.message, /may have been run or not/);
  // Sent while the second connection carries the read alone, or after that.
  const later = await Promise.all(Array.from({ length: 20 }, (_, n) => kv.incr(`later ${n}`)));
  assert.deepEqual(later, Array(20).fill(1));
  assert.equal(reconnecting.length, 2);
});

test("a write that is called after the first loss is never lost with the read", async ({ redis, open }) => {
  const server = await redis(LIMIT);
  const kv = await open(server, PATIENT);
  await kv.set("huge", "x".repeat(SIZE));
  const writes: Promise<number>[] = [];
  kv.on("reconnecting", () => writes.push(kv.incr("n")));
  kv.on("ready", () => writes.push(kv.incr("n")));
  expectTwice(await errorOf(kv.get("huge")));
  await kv.ping();
  assert.deepEqual(
    (await Promise.all(writes)).sort((a, b) => a - b),
    [1, 2, 3, 4],
  );
});

test("several such reads end with an error each, and nothing else is lost", async ({ redis, open }) => {
  const server = await redis(LIMIT);
  const kv = await open(server, PATIENT);
  await kv.set("huge", "x".repeat(SIZE));
  const reconnecting = emissions(kv, "reconnecting");
  const errors = await Promise.all([1, 2, 3].map(() => errorOf(kv.get("huge"))));
  for (const error of errors) expectTwice(error);
  assert.equal(await kv.get("small"), null);
  assert.ok(reconnecting.length <= 6, `${reconnecting.length} connections were lost`);
});
