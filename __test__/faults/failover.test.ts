// A name (DNS, a proxy, a service) leads to the old master for a while after a failover. Writes there fail or are lost.
import assert from "node:assert/strict";
import { eventually } from "../backends.js";
import { errorOf, expectRefusal, refusal } from "../replies.js";
import { Calls, emissions, PATIENT, test, underLoad } from "./faults.js";
import { movable } from "./movable.js";

/** RESP 2 is what a store uses where the server has no HELLO. */
const protocols: Record<string, Record<string, string>> = {
  "RESP 3": {},
  "RESP 2": { "rename-command": 'HELLO ""' },
};

for (const [protocol, config] of Object.entries(protocols)) {
  // The name leads to the new master a second after the failover. Without this 966 writes are refused in 20 s, and all later ones until a
  // restart.
  test(`writes wait for the new master, and reads go on (${protocol})`, async (world) => {
    const { redis, client, open } = world;
    const [old, next] = [await redis(config), await redis(config)];
    const name = await movable(world, old);
    const kv = await open(name, PATIENT);
    const [ready, reconnecting] = [emissions(kv, "ready"), emissions(kv, "reconnecting")];
    const [reads, writes] = [new Calls(60_000, []), new Calls(60_000, [])];
    const load = underLoad(4, async (worker) => {
      if (worker % 2 === 0) await reads.try(() => kv.get("none"));
      else if (worker === 1) await writes.try(() => kv.incr("n"));
      else await writes.try(() => kv.multi().incr("n").exec());
    });
    await eventually(() => writes.succeeded > 100);
    await client(old).call("REPLICAOF", next.host, next.port);
    await eventually(() => reconnecting.length > 3);
    assert.match(String(reconnecting[0]?.cause), /READONLY .* has become a replica/);
    const [before, written] = [reads.succeeded, writes.succeeded];
    await eventually(() => reads.succeeded > before + 100);
    assert.equal(writes.succeeded, written);
    const { connections } = await kv.health();
    assert.deepEqual([connections[0]?.state, connections[0]?.waiting], ["reconnecting", 2]);

    name.move(next);
    await eventually(() => writes.succeeded > written + 100);
    await load.stop();
    assert.equal(ready.length, 1);
    assert.equal(kv.status, "ready");
    // Each acknowledged write ran once, on one of the two servers.
    const count = Number(await client(next).get("n"));
    assert.equal(count, writes.succeeded - written);
  });

  test(`without a master writes end after their time, and reads go on (${protocol})`, async (world) => {
    const { redis, client, open } = world;
    const [old, next] = [await redis(config), await redis(config)];
    const kv = await open(old, { queueTimeout: 500, retryDelay: 20 });
    await kv.set("a", "1");
    await client(old).call("REPLICAOF", next.host, next.port);
    const { code, message } = await errorOf(kv.set("a", "2"));
    assert.equal(code, "TIMEOUT");
    assert.match(message, /^No master at .* within 500 ms \(queueTimeout\).* was not run.*READONLY/);
    await kv.get("a");
    await client(old).call("REPLICAOF", "NO", "ONE");
    await eventually(async () => (await kv.set("a", "3").catch(() => null)) === undefined);
  });

  test(`a store that began at a replica stays there (${protocol})`, async ({ redis, client, open }) => {
    const [master, replica] = [await redis(config), await redis(config)];
    await client(replica).call("REPLICAOF", master.host, master.port);
    const kv = await open(replica, PATIENT);
    const reconnecting = emissions(kv, "reconnecting");
    for (let round = 0; round < 3; round++) {
      await expectRefusal(kv.set("a", "1"), refusal("READONLY"));
      await expectRefusal(kv.multi().get("a").set("a", "1").exec(), refusal("READONLY"));
    }
    assert.equal(reconnecting.length, 0);
  });
}
