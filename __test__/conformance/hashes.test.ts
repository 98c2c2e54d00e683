// If one backend answers a command on hashes differently, a program that changes its backend reads other fields.
import assert from "node:assert/strict";
import { onEveryBackend } from "../backends.js";
import { expectReplies, inAnyOrder, refusal } from "../replies.js";

onEveryBackend("hashes", (test) => {
  test("a hash that is not there is empty", async ({ kv }) => {
    await expectReplies(kv, [
      [["hget", "h", "f"], null],
      [["hgetall", "h"], {}],
      [["hkeys", "h"], []],
      [["hlen", "h"], 0],
      [["hexists", "h", "f"], false],
      [["hdel", "h", "f"], 0],
      [["exists", "h"], 0],
    ]);
  });

  test("fields are set, read and deleted", async ({ kv }) => {
    await expectReplies(kv, [
      [["hset", "h", "a", "1"], 1],
      [["hset", "h", "b", ""], 1],
      [["hset", "h", "a", "2"], 0],
      [["hget", "h", "a"], "2"],
      [["hget", "h", "b"], ""],
      [["hget", "h", "c"], null],
      [["hexists", "h", "b"], true],
      [["hexists", "h", "c"], false],
      [["hlen", "h"], 2],
      [["hkeys", "h"], inAnyOrder("a", "b")],
      [["hgetall", "h"], { a: "2", b: "" }],
      [["hdel", "h"], 0],
      [["hdel", "h", "a", "c", "a"], 1],
      [["hgetall", "h"], { b: "" }],
      [["hdel", "h", "b"], 1],
      [["exists", "h"], 0],
    ]);
  });

  test("hmset sets every own property, and leaves other fields", async ({ kv }) => {
    await expectReplies(kv, [
      [["hset", "h", "a", "1"], 1],
      [["hmset", "h", { b: "2", a: "3" }], undefined],
      [["hgetall", "h"], { a: "3", b: "2" }],
      [["hmset", "h", Object.assign(Object.create({ inherited: "no" }), { own: "yes" })], undefined],
      [["hmset", "h", Object.assign(Object.create(null), { bare: "yes" })], undefined],
      [["hgetall", "h"], { a: "3", b: "2", own: "yes", bare: "yes" }],
    ]);
  });

  test("hmset of nothing is refused", async ({ kv }) => {
    await expectReplies(kv, [
      [["hmset", "h", {}], refusal("ERR", "ERR wrong number of arguments for 'hset' command")],
      [["exists", "h"], 0],
    ]);
  });

  // A field `__proto__` is lost on its way to the Durable Object, or changes the prototype of the object that hgetall gives.
  test("fields with the names of JavaScript's own properties are fields like any other", async ({ kv }) => {
    const names = [
      "__proto__",
      "constructor",
      "prototype",
      "toString",
      "hasOwnProperty",
      "valueOf",
      "__defineGetter__",
      "then",
    ];
    for (const name of names) assert.equal(await kv.hset("h", name, `value of ${name}`), 1);
    const data = await kv.hgetall("h");
    assert.deepEqual(Object.keys(data).sort(), [...names].sort());
    for (const name of names) {
      const own = Object.getOwnPropertyDescriptor(data, name);
      const value = `value of ${name}`;
      assert.deepEqual(own, { value, writable: true, enumerable: true, configurable: true });
      assert.equal(await kv.hget("h", name), value);
      assert.equal(await kv.hexists("h", name), true);
    }
    assert.equal(Object.getPrototypeOf(data), Object.prototype);
    assert.equal(({} as Record<string, unknown>)["value of __proto__"], undefined);

    await kv.hmset("copy", data);
    assert.deepEqual(await kv.hgetall("copy"), data);
    assert.equal(await kv.hdel("h", ...names), names.length);
    assert.deepEqual(await kv.hgetall("h"), {});
    assert.equal(await kv.hget("none", "__proto__"), null);
  });

  test("any text can be a field and a value", async ({ kv }) => {
    const data = {
      "": "empty",
      "\0": "\0",
      "0": "an index",
      "-1": "",
      日本語: "👩‍👩‍👧",
      "\u{10FFFF}": "\uFFFF",
      "a b\r\n": '"',
    };
    await kv.hmset("h", data);
    assert.deepEqual(await kv.hgetall("h"), data);
    for (const [field, value] of Object.entries(data)) assert.equal(await kv.hget("h", field), value);
  });

  test("50,000 fields, in one call and back", async ({ kv }) => {
    const entries = Array.from(
      { length: 50_000 },
      (_, index) => [`field ${index}`, `value ${index}`] as const,
    );
    const data: Record<string, string> = Object.fromEntries(entries);
    await kv.hmset("h", data);
    assert.equal(await kv.hlen("h"), 50_000);
    assert.deepEqual(await kv.hgetall("h"), data);
    assert.equal(await kv.hget("h", "field 49999"), "value 49999");
    assert.equal(await kv.hdel("h", ...entries.slice(1).map(([field]) => field)), 49_999);
    assert.deepEqual(await kv.hgetall("h"), { "field 0": "value 0" });
  });

  test("values of a megabyte", async ({ kv }) => {
    const large = "ä".repeat(1 << 19);
    await kv.hset("h", large, large);
    assert.ok((await kv.hget("h", large)) === large);
  });
});
