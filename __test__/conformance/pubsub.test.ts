// If one backend delivers messages in another order, twice or after unsubscribe, subscribers work on one backend only.
import assert from "node:assert/strict";
import type { KVStore, Subscription } from "covara-kv";
import { eventually, onEveryBackend } from "../backends.js";
import { expectReplies, invalidArgument } from "../replies.js";
import { warningsOf } from "../warnings.js";

/** Records the calls of a test's callbacks, as `name channel message`. */
function recorder() {
  const calls: string[] = [];
  const callback = (name: string) => (message: string, channel: string) =>
    void calls.push(`${name} ${channel} ${message}`);
  /** Resolves once the calls are these. Fails if there are others. Clears the record. */
  const heard = async (...expected: string[]) => {
    await eventually(() => calls.length >= expected.length);
    assert.deepEqual(calls.splice(0), expected);
  };
  /** The same, for calls of several callbacks, whose order is not defined. */
  const heardByAll = async (...expected: string[]) => {
    await eventually(() => calls.length >= expected.length);
    assert.deepEqual(calls.splice(0).sort(), expected.sort());
  };
  return { calls, callback, heard, heardByAll };
}

onEveryBackend("pubsub", (test) => {
  test("a message reaches the callbacks of its channel", async ({ kv, unique }) => {
    const { callback, heard } = recorder();
    const [news, other] = [unique("news"), unique("other")];
    assert.equal(await kv.publish(news, "nobody"), 0);
    assert.equal(await kv.subscribe(news, callback("a")), undefined);
    await kv.subscribe(news, callback("b"));
    assert.equal(await kv.publish(news, "1"), 1);
    await heard(`a ${news} 1`, `b ${news} 1`);
    assert.equal(await kv.publish(other, "2"), 0);
    await kv.publish(news, "3");
    await heard(`a ${news} 3`, `b ${news} 3`);
  });

  test("a pattern hears of every channel that it matches", async ({ kv, unique }) => {
    const { callback, heard } = recorder();
    const name = unique("news");
    await kv.psubscribe(`${name}.[a-c]?`, callback("p"));
    assert.equal(await kv.publish(`${name}.b1`, "1"), 1);
    assert.equal(await kv.publish(`${name}.d1`, "2"), 0);
    assert.equal(await kv.publish(`${name}.b`, "3"), 0);
    await kv.publish(`${name}.c2`, "4");
    await heard(`p ${name}.b1 1`, `p ${name}.c2 4`);
  });

  test("a channel and each pattern deliver on their own", async ({ kv, unique }) => {
    const { calls, callback } = recorder();
    const name = unique("news");
    await kv.subscribe(name, callback("channel"));
    await kv.psubscribe(`${name}*`, callback("star"));
    await kv.psubscribe(`?${name.slice(1)}`, callback("question"));
    assert.equal(await kv.publish(name, "1"), 3);
    await eventually(() => calls.length === 3);
    assert.deepEqual(calls.sort(), [`channel ${name} 1`, `question ${name} 1`, `star ${name} 1`]);
  });

  test("a callback that is there already is called once", async ({ kv, unique }) => {
    const { callback, heard } = recorder();
    const [name, same] = [unique("news"), callback("a")];
    await kv.subscribe(name, same);
    await kv.subscribe(name, same);
    await kv.publish(name, "1");
    await kv.publish(name, "2");
    await heard(`a ${name} 1`, `a ${name} 2`);
  });

  test("unsubscribe drops every callback of its channel, and nothing else", async ({ kv, unique }) => {
    const { callback, heard } = recorder();
    const [name, other] = [unique("news"), unique("other")];
    await kv.subscribe(name, callback("a"));
    await kv.subscribe(name, callback("b"));
    await kv.subscribe(other, callback("c"));
    await kv.psubscribe(`${name}*`, callback("p"));
    assert.equal(await kv.unsubscribe(name), undefined);
    assert.equal(await kv.publish(name, "1"), 1);
    assert.equal(await kv.publish(other, "2"), 1);
    await heard(`p ${name} 1`, `c ${other} 2`);
    await kv.punsubscribe(`${name}*`);
    assert.equal(await kv.publish(name, "3"), 0);
    await kv.unsubscribe(name);
    await kv.punsubscribe("never there");
    await kv.subscribe(name, callback("d"));
    await kv.publish(name, "4");
    await heard(`d ${name} 4`);
  });

  test("punsubscribe of a pattern leaves another that matches the same", async ({ kv, unique }) => {
    const { callback, heard } = recorder();
    const name = unique("news");
    await kv.psubscribe(`${name}*`, callback("a"));
    await kv.psubscribe(`${name}?`, callback("b"));
    await kv.punsubscribe(`${name}*`);
    await kv.publish(`${name}x`, "1");
    await heard(`b ${name}x 1`);
  });

  // unsubscribe removes the callbacks of all callers. Without a handle a caller has no other way to leave.
  test("listen gives a handle that takes away its own callback only", async ({ kv, unique }) => {
    const { callback, heard, heardByAll } = recorder();
    const [a, b] = [unique("a"), unique("b")];
    const same = callback("same");
    const first = await kv.listen([a, b], same);
    const second = await kv.listen([a], same);
    await kv.subscribe(a, callback("other"));
    await kv.publish(a, "1");
    await heardByAll(`same ${a} 1`, `same ${a} 1`, `other ${a} 1`);
    assert.equal(await first.close(), undefined);
    await first.close();
    await kv.publish(a, "2");
    assert.equal(await kv.publish(b, "2"), 0);
    await heardByAll(`same ${a} 2`, `other ${a} 2`);
    {
      await using left = second;
      assert.equal(left, second);
    }
    await kv.publish(a, "3");
    await heard(`other ${a} 3`);
  });

  test("listen takes patterns too", async ({ kv, unique }) => {
    const { callback, heardByAll } = recorder();
    const name = unique("news");
    const handle = await kv.listen([`${name}.a`], callback("l"), {
      patterns: [`${name}.b*`],
      onGap: () => assert.fail("there was no gap"),
    });
    await kv.publish(`${name}.a`, "1");
    await kv.publish(`${name}.b2`, "2");
    // In a cluster the two come from different nodes.
    await heardByAll(`l ${name}.a 1`, `l ${name}.b2 2`);
    await handle.close();
    assert.equal(await kv.publish(`${name}.a`, "3"), 0);
    assert.equal(await kv.publish(`${name}.b2`, "3"), 0);
    const nothing = await kv.listen([], callback("n"));
    await nothing.close();
  });

  test("subscribeScoped, where it is there, takes away its own callback only", async ({ kv, unique }) => {
    if (kv.subscribeScoped === undefined) return;
    const { calls, callback, heard } = recorder();
    const [a, b] = [unique("a"), unique("b")];
    const scoped = await kv.subscribeScoped([a, b], callback("scoped"));
    await kv.subscribe(a, callback("other"));
    await kv.publish(a, "1");
    await kv.publish(b, "1");
    // On a Durable Object they come over two sockets, so their order is not defined.
    await eventually(() => calls.length === 3);
    assert.deepEqual(calls.splice(0).sort(), [`other ${a} 1`, `scoped ${a} 1`, `scoped ${b} 1`]);
    await scoped.close();
    await scoped.close();
    await kv.publish(a, "2");
    assert.equal(await kv.publish(b, "2"), 0);
    await heard(`other ${a} 2`);
  });

  // A Durable Object's socket may have only ten tags. If each channel is a tag, the eleventh is refused.
  test("50 channels and 50 patterns", async ({ kv, unique }) => {
    const { calls, callback } = recorder();
    const names = Array.from({ length: 50 }, (_, index) => unique(`c${index}`));
    const handle = await kv.listen(names, callback("l"), { patterns: names.map((name) => `${name}*`) });
    for (const name of names) assert.equal(await kv.publish(name, "m"), 2);
    await eventually(() => calls.length === 100);
    await handle.close();
    for (const name of names) assert.equal(await kv.publish(name, "m"), 0);
  });

  test("messages come in the order of their publication", async ({ kv, unique }) => {
    const [a, b] = [unique("a"), unique("b")];
    const received: string[] = [];
    await kv.listen([a, b], (message) => void received.push(message));
    const sent = Array.from({ length: 2_000 }, (_, index) => `${index}`);
    await Promise.all(sent.map((message, index) => kv.publish(index % 2 ? a : b, message)));
    await eventually(() => received.length === sent.length);
    assert.deepEqual(received, sent);
  });

  test("any text can be a channel and a message", async ({ kv, unique }) => {
    const { callback, heard } = recorder();
    for (const text of ["", "\0", " ", "ä日👩", "\u{10FFFF}\uFFFF", "*", "x".repeat(1 << 20)]) {
      const channel = unique(text);
      await kv.subscribe(channel, callback("c"));
      assert.equal(await kv.publish(channel, text), 1);
      await heard(`c ${channel} ${text}`);
    }
  });

  test("a channel is not a pattern", async ({ kv, unique }) => {
    const { callback, heard } = recorder();
    const name = unique("*");
    await kv.subscribe(name, callback("c"));
    assert.equal(await kv.publish(`x${name}`, "1"), 0);
    await kv.publish(name, "2");
    await heard(`c ${name} 2`);
  });

  // A callback that throws must not reject the publish, nor keep the message from the callbacks after it.
  test("a callback that throws harms no other, and is reported once", async ({ kv, unique }) => {
    const { callback, heard } = recorder();
    const name = unique("news");
    await kv.subscribe(name, () => {
      throw new Error("thrown on purpose");
    });
    await kv.subscribe(name, (async () => {
      throw new Error("rejected on purpose");
    }) as () => void);
    await kv.subscribe(name, callback("after"));

    const warnings = await warningsOf(async () => {
      assert.equal(await kv.publish(name, "1"), 1);
      await heard(`after ${name} 1`);
    });
    assert.deepEqual(
      warnings.map(({ code }) => code),
      ["COVARA_KV_CALLBACK", "COVARA_KV_CALLBACK"],
    );

    const errors: string[] = [];
    kv.on("error", (error) => void errors.push(error.message));
    const none = await warningsOf(async () => {
      await kv.publish(name, "2");
      await eventually(() => errors.length === 2);
    });
    assert.deepEqual([errors, none], [["thrown on purpose", "rejected on purpose"], []]);
    await heard(`after ${name} 2`);
  });

  test("any value that a callback throws is reported", async ({ kv, unique }) => {
    const unprintable = { toString: () => assert.fail("not even this can be printed") };
    const errors: Error[] = [];
    kv.on("error", (error) => void errors.push(error));
    const thrown = [undefined, null, "text", 0, Symbol("s"), unprintable];
    const name = unique("news");
    for (const what of thrown) {
      await kv.subscribe(name, () => {
        throw what;
      });
    }
    await kv.publish(name, "1");
    await eventually(() => errors.length === thrown.length);
    assert.deepEqual(
      errors.map((error) => error.cause),
      thrown,
    );
    assert.ok(errors.every((error) => error instanceof Error));
  });

  test("a callback may publish, subscribe and leave", async ({ kv, unique }) => {
    const { calls, callback, heard } = recorder();
    const [name, echo] = [unique("news"), unique("echo")];
    await kv.subscribe(echo, callback("echo"));
    let done: Promise<void> | undefined;
    const first = async (message: string) => {
      calls.push(`first ${message}`);
      await kv.publish(echo, `${message}!`);
      await kv.subscribe(name, callback("late"));
    };
    await kv.subscribe(name, (message) => {
      done = first(message);
      return done;
    });
    await kv.publish(name, "1");
    await heard("first 1", `echo ${echo} 1!`);
    await done;
    await kv.unsubscribe(name);

    const handle = await kv.listen([name], async () => {
      calls.push("once");
      await handle.close();
    });
    await kv.publish(name, "2");
    await kv.publish(name, "3");
    await heard("once");
  });

  test("a callback that another one takes away during a delivery is not called", async ({ kv, unique }) => {
    const { calls, callback, heardByAll } = recorder();
    const name = unique("news");
    const handles: Subscription[] = [];
    // The callback that is called first removes the other.
    const takesTheOther = (other: number) => () => {
      calls.push("one of the two");
      void handles[other]?.close();
    };
    handles.push(await kv.listen([name], takesTheOther(1)), await kv.listen([name], takesTheOther(0)));
    await kv.subscribe(name, callback("third"));
    await kv.publish(name, "1");
    await heardByAll("one of the two", `third ${name} 1`);
    await kv.publish(name, "2");
    await heardByAll("one of the two", `third ${name} 2`);
  });

  // A subscription that gets the rest of a delivery gets messages that are older than itself.
  test("a subscription made in a delivery gets nothing of that delivery", async ({ kv, unique }) => {
    const { callback, heard } = recorder();
    const name = unique("news");
    let again: Promise<void> | undefined;
    await kv.subscribe(name, (message) => {
      callback("first")(message, name);
      again ??= kv.unsubscribe(name).then(() => kv.subscribe(name, callback("second")));
    });
    await kv.eval("for i = 1, 3 do redis.call('PUBLISH', ARGV[1], i) end", [], [name]);
    await eventually(() => again !== undefined);
    await again;
    await kv.publish(name, "live");
    await heard(`first ${name} 1`, `second ${name} live`);
  });

  test("channels have no prefix", async ({ kv, open, unique }) => {
    const { calls, callback } = recorder();
    const name = unique("news");
    const other = await open({ prefix: unique("another") });
    await other.subscribe(name, callback("other"));
    await other.psubscribe(`${name}*`, callback("pattern"));
    await kv.publish(name, "1");
    await eventually(() => calls.length === 2);
    // In a cluster the pattern is heard at another node than the channel: the test took their order for given.
    assert.deepEqual(calls.sort(), [`other ${name} 1`, `pattern ${name} 1`]);
    await other.unsubscribe(name);
    await other.punsubscribe(`${name}*`);
    assert.equal(await kv.publish(name, "2"), 0);
  });

  test("disconnect ends every subscription", async ({ kv, open, unique }) => {
    const { calls, callback } = recorder();
    const name = unique("news");
    const store: KVStore = await open();
    await store.subscribe(name, callback("a"));
    const handle = await store.listen([name], callback("b"), { patterns: [`${name}*`] });
    await store.disconnect();
    await handle.close();
    assert.equal(await kv.publish(name, "1"), 0);
    await store.connect();
    assert.equal(await store.publish(name, "2"), 0);
    await store.subscribe(name, callback("c"));
    await store.publish(name, "3");
    await eventually(() => calls.length > 0);
    assert.deepEqual(calls, [`c ${name} 3`]);
  });

  test("a callback that is no function is refused", async ({ kv, unique }) => {
    const name = unique("news");
    for (const callback of [undefined, null, "f", {}] as never[]) {
      await expectReplies(kv, [
        [["subscribe", name, callback], invalidArgument],
        [["psubscribe", name, callback], invalidArgument],
        [["listen", [name], callback], invalidArgument],
        [
          ["listen", [name], () => {}, { onGap: callback === undefined ? ("f" as never) : callback }],
          invalidArgument,
        ],
        [["publish", name, "1"], 0],
      ]);
    }
  });
});
