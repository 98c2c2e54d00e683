// A store that loses commands at disconnect, or cannot be connected again, breaks programs that work on another backend.
import assert from "node:assert/strict";
import { onEveryBackend } from "../backends.js";
import { goodArguments } from "../methods.js";
import { expectRefusal, invalidArgument, type Method, refusal, send } from "../replies.js";
import { warningsOf } from "../warnings.js";

const closed = refusal("CLOSED", "The store is closed: connect() opens it again");

/** A call of every method that needs an open store. */
const calls = Object.entries(goodArguments)
  .filter(([method]) => method !== "connect" && method !== "disconnect")
  .map(([method, args]) => [method, ...args] as [Method, ...unknown[]]);

onEveryBackend("lifecycle", (test) => {
  test("a store that createKV gave is connected", async ({ kv }) => {
    assert.deepEqual([kv.isConnected(), kv.status], [true, "ready"]);
  });

  test("connect and disconnect may be called twice, and at once", async ({ kv }) => {
    const events: string[] = [];
    kv.on("ready", () => void events.push("ready")).on("end", () => void events.push("end"));
    assert.deepEqual(await Promise.all([kv.connect(), kv.connect()]), [undefined, undefined]);
    assert.deepEqual([kv.isConnected(), kv.status], [true, "ready"]);
    assert.deepEqual(await Promise.all([kv.disconnect(), kv.disconnect()]), [undefined, undefined]);
    await kv.disconnect();
    assert.deepEqual([kv.isConnected(), kv.status], [false, "closed"]);
    assert.deepEqual(await Promise.all([kv.connect(), kv.connect()]), [undefined, undefined]);
    assert.deepEqual([kv.isConnected(), kv.status], [true, "ready"]);
    assert.deepEqual(events, ["end", "ready"]);
    assert.equal(await kv.ping(), "PONG");
  });

  test("after disconnect every method rejects, until connect", async ({ kv }) => {
    await kv.disconnect();
    for (const call of calls) {
      if (kv[call[0]] !== undefined) await expectRefusal(send(kv, call), closed);
    }
    await expectRefusal(kv.multi().set("k", "v").exec(), closed);
    assert.equal(kv.isConnected(), false);
    await kv.connect();
    assert.equal(await kv.set("k", "v"), undefined);
    assert.equal(await kv.get("k"), "v");
  });

  test("a transaction that was begun before disconnect is refused after it", async ({ kv }) => {
    const multi = kv.multi().set("k", "v");
    await kv.disconnect();
    await expectRefusal(multi.exec(), closed);
    await kv.connect();
    assert.deepEqual(await multi.exec(), []);
    assert.equal(await kv.get("k"), null);
  });

  test("commands that were called before disconnect have their effect", async ({ kv, open }) => {
    const other = await open();
    const results = Promise.all([kv.set("k", "v"), kv.get("k"), kv.incr("n")]);
    await kv.disconnect();
    assert.deepEqual(await results, [undefined, "v", 1]);
    assert.equal(await other.ping(), "PONG");
  });

  test("await using disconnects", async ({ open }) => {
    const store = await open();
    {
      await using used = store;
      await used.set("k", "v");
    }
    assert.equal(store.status, "closed");
  });

  test("one store's end is not another's", async ({ kv, open }) => {
    const other = await open();
    await other.disconnect();
    await kv.set("k", "v");
    assert.equal(await kv.get("k"), "v");
  });

  test("listeners come and go", async ({ kv }) => {
    const events: string[] = [];
    const a = () => void events.push("a");
    const b = () => void events.push("b");
    assert.equal(kv.on("end", a), kv);
    assert.equal(kv.addListener("end", b), kv);
    assert.equal(kv.once("end", b), kv);
    assert.equal(kv.on("end", a), kv);
    assert.deepEqual([kv.listenerCount("end"), kv.listenerCount("gap")], [4, 0]);
    await kv.disconnect();
    assert.deepEqual(events.splice(0), ["a", "b", "b", "a"]);
    assert.equal(kv.listenerCount("end"), 3);
    assert.equal(kv.off("end", a), kv);
    assert.equal(kv.removeListener("end", b), kv);
    kv.off("end", () => {});
    await kv.connect();
    await kv.disconnect();
    assert.deepEqual(events, ["a"]);
  });

  test("a listener that is no function is refused at once", async ({ kv }) => {
    for (const method of ["on", "once", "addListener"] as const) {
      for (const listener of [undefined, null, "f", {}] as never[]) {
        assert.throws(
          () => kv[method]("end", listener),
          (error) => invalidArgument.check(error),
        );
      }
    }
  });

  test("a listener that throws breaks nothing", async ({ kv }) => {
    const events: string[] = [];
    kv.on("end", () => {
      throw new Error("on purpose");
    });
    kv.on("end", () => void events.push("end"));
    const warnings = await warningsOf(() => kv.disconnect());
    assert.deepEqual(
      warnings.map(({ code }) => code),
      ["COVARA_KV_CALLBACK"],
    );
    assert.deepEqual(events, ["end"]);
  });
});
