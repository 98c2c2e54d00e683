// A connection to a Sentinel that fails once, or is slow, must not cost its events, or the Sentinel itself.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRedisKV } from "covara-kv";
import { eventually } from "../backends.js";
import { type Peer, startFake } from "../fake-server.js";
import { by, fakeSentinel } from "./fake-sentinel.js";

/** Closes the first connection at once, as a server does that is being restarted. */
const accepted = ({ index, socket }: Peer) => void (index === 0 && socket.destroy());

// It is taken for a proxy that knows few commands, for good: with RESP 2 no event of a Sentinel comes, and a server does not say its role.
test("whose first handshake is cut is sent a whole one the next time: a Sentinel and its master", async () => {
  await using master = await startFake({ accepted });
  await using sentinel = await fakeSentinel(master, { accepted });
  await using kv = createRedisKV(by(sentinel));
  await kv.connect();
  await eventually(() => sentinel.count("SUBSCRIBE") === 1);
  assert.deepEqual(
    [master, sentinel].map(({ peers }) => peers[1]?.commands[0]?.[0]),
    ["HELLO", "HELLO"],
  );
});
