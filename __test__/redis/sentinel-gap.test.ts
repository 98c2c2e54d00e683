// Sentinels name the old master for a second in which the new one takes writes. Who hears of the move from them alone has missed as much.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRedisKV, type Gap } from "covara-kv";
import { eventually } from "../backends.js";
import { type Answer, confirmation, message, startFake } from "../fake-server.js";
import { by, fakeSentinel } from "./fake-sentinel.js";

const answer: Answer = (command) => (command[0] === "SUBSCRIBE" ? confirmation(command) : undefined);

for (const [what, polls] of [
  ["1.5 s before the old master was named last", 7],
  ["no earlier than the connection to it", 0],
] as const) {
  test(`a move without an event of the promotion is a gap that begins ${what}`, async () => {
    await using before = await startFake({ answer });
    await using after = await startFake({ answer });
    await using sentinel = await fakeSentinel(before);
    const opened = Date.now();
    await using kv = createRedisKV(by(sentinel));
    const gaps: Gap[] = [];
    kv.on("gap", (gap) => gaps.push(gap));
    await kv.subscribe("c", () => {});
    await eventually(() => sentinel.count("SENTINEL") >= polls);
    const named = Date.now();
    sentinel.names = after;
    // Who hears nothing is told of a gap since it last did.
    await eventually(() => {
      before.send(message("c", "x"));
      return gaps.length > 0;
    });
    const [{ from, to }] = gaps as [Gap];
    assert.ok(opened - 50 <= from && from <= named && named <= to, `${from} to ${to}, ${opened}, ${named}`);
    if (polls > 0) assert.ok(from < named - 1_400, `${named - from} ms before the move`);
  });
}
