// A connection that ends inside a reply may give a caller half of it, shift all later replies, or repeat a write.
import assert from "node:assert/strict";
import { once } from "node:events";
import { setImmediate as turn } from "node:timers/promises";
import { eventually } from "../backends.js";
import { type Answer, bulk, OK } from "../fake-server.js";
import { errorOf, expectRefusal, refusal } from "../replies.js";
import { PATIENT, test } from "./faults.js";

/** Answers GET with its key, so that every reply shows to which call it belongs. */
const echo: Answer = ([name, key = ""]) => (name === "GET" ? bulk(`${key}=é\r\n$5`) : OK);

const valueFor = (key: string) => `${key}=é\r\n$5`;

test("a read whose reply was cut off is sent again on the next connection", async ({ fake, open }) => {
  const server = await fake({
    answer: (command, peer) => {
      if (peer.index > 0) return echo(command, peer);
      peer.socket.end("$100\r\nhalf of it");
      return undefined;
    },
  });
  const kv = await open(server);
  assert.deepEqual(await Promise.all([kv.get("a"), kv.get("b")]), [valueFor("a"), valueFor("b")]);
  assert.equal(server.peers.length, 2);
});

test("a write whose reply was cut off fails, and is not sent again", async ({ fake, open }) => {
  const server = await fake({
    answer: (command, peer) => {
      if (peer.index > 0) return echo(command, peer);
      peer.socket.end("+O");
      return undefined;
    },
  });
  const kv = await open(server);
  const error = await errorOf(kv.set("a", "1"));
  assert.equal(error.code, "CONNECTION");
  assert.match(error.message, /may have been run or not/);
  assert.ok(error.message.includes(`${server.host}:${server.port}`), error.message);
  assert.equal(await kv.get("b"), valueFor("b"));
  assert.equal(server.count("SET"), 1);
});

test("a transaction and a script whose replies were cut off fail, and are not sent again", async ({
  fake,
  open,
}) => {
  const server = await fake({
    answer: (command, peer) => {
      const [name] = command;
      if (name === "MULTI") return OK;
      if (name === "SET") return "+QUEUED\r\n";
      if (name === "EXEC") peer.socket.end("*1\r\n+O");
      if (name === "EVAL") peer.socket.end(":1");
      return name === "GET" ? echo(command, peer) : undefined;
    },
  });
  const kv = await open(server);
  await expectRefusal(kv.multi().set("a", "1").exec(), refusal("CONNECTION"));
  await expectRefusal(kv.eval("return 1", [], []), refusal("CONNECTION"));
  assert.equal(await kv.get("b"), valueFor("b"));
  assert.deepEqual([server.count("EXEC"), server.count("EVAL"), server.count("EVALSHA")], [1, 1, 0]);
});

test("a reply cut at any byte arrives whole", async ({ fake, open }) => {
  const reply = Buffer.from(`*2\r\n${bulk("a")}${bulk("é\r\n$-1")}`);
  let cut = 0;
  const server = await fake({
    answer: (_, { socket }) => {
      socket.write(reply.subarray(0, cut), () => setTimeout(() => void socket.write(reply.subarray(cut)), 3));
      return undefined;
    },
  });
  const kv = await open(server);
  for (cut = 1; cut < reply.length; cut++) assert.deepEqual(await kv.lrange("k", 0, -1), ["a", "é\r\n$-1"]);
});

test("replies cut at any byte reach each its own caller", async ({ fake, open }) => {
  const keys = ["a", "bb", "ccc"];
  const replies = Buffer.from(keys.map((key) => bulk(valueFor(key))).join(""));
  let cut = 0;
  let asked = 0;
  const server = await fake({
    answer: (_, { socket }) => {
      asked += 1;
      if (asked % keys.length !== 0) return undefined;
      socket.write(replies.subarray(0, cut), () =>
        setTimeout(() => void socket.write(replies.subarray(cut)), 3),
      );
      return undefined;
    },
  });
  const kv = await open(server);
  for (cut = 1; cut < replies.length; cut++) {
    assert.deepEqual(await Promise.all(keys.map((key) => kv.get(key))), keys.map(valueFor));
  }
});

test("replies that trickle byte by byte reach each its own caller", async ({ fake, open }) => {
  const server = await fake({
    answer: (command, { socket }) => {
      trickle = trickle.then(async () => {
        for (const byte of Buffer.from(String(echo(command, undefined as never)))) {
          socket.write(Uint8Array.of(byte));
          await turn();
        }
      });
      return undefined;
    },
  });
  let trickle = Promise.resolve();
  const kv = await open(server);
  const keys = Array.from({ length: 100 }, (_, index) => `key${index}`);
  assert.deepEqual(await Promise.all(keys.map((key) => kv.get(key))), keys.map(valueFor));
});

for (const garbage of [
  "garbage\r\n",
  "HTTP/1.1 400 Bad Request\r\n\r\n",
  "$3\r\nabcdef\r\n",
  "$x\r\n",
  "$99999999999999999999\r\n",
  "*1000\r\n\0\r\n",
  "\r\n",
]) {
  test(`garbage in place of a reply, ${JSON.stringify(garbage)}, ends the connection`, async ({
    fake,
    open,
  }) => {
    const server = await fake({
      answer: (command, peer) => (peer.index > 0 ? echo(command, peer) : garbage),
    });
    const kv = await open(server);
    const outcomes = await Promise.allSettled([kv.get("a"), kv.set("b", "1"), kv.get("c")]);
    const [a, b, c] = outcomes.map((outcome) =>
      outcome.status === "fulfilled" ? outcome.value : (outcome.reason as { code: string }).code,
    );
    assert.deepEqual([a, b, c], [valueFor("a"), "CONNECTION", valueFor("c")]);
    await eventually(() => server.peers.length === 2);
  });
}

test("an invalid number is no result, and not that of another call", async ({ fake, open }) => {
  const server = await fake({
    answer: (command, peer) => (command[0] === "INCR" ? ":abc\r\n" : echo(command, peer)),
  });
  const kv = await open(server);
  const [counted, read] = await Promise.allSettled([kv.incr("n"), kv.get("a")]);
  assert.equal(counted?.status === "rejected" && (counted.reason as { code: string }).code, "CONNECTION");
  assert.equal(read?.status === "fulfilled" && read.value, valueFor("a"));
});

test("a push among the replies is no call's reply", async ({ fake, open }) => {
  const push = `>2\r\n${bulk("invalidate")}*0\r\n`;
  const server = await fake({ answer: (command, peer) => `${push}${echo(command, peer)}${push}` });
  const kv = await open(server);
  assert.deepEqual(await Promise.all([kv.get("a"), kv.get("b")]), [valueFor("a"), valueFor("b")]);
  assert.equal(await kv.get("c"), valueFor("c"));
});

test("a reply to no command ends the connection, and resolves no call", async ({ fake, open }) => {
  const server = await fake({
    answer: (command, peer) => `${echo(command, peer)}${peer.index === 0 ? bulk("too much") : ""}`,
  });
  const kv = await open(server);
  assert.equal(await kv.get("a"), valueFor("a"));
  await eventually(() => server.peers.length === 2);
  assert.deepEqual(await Promise.all([kv.get("b"), kv.get("c")]), [valueFor("b"), valueFor("c")]);
});

// libuv stops a poll by itself when the socket has an error. If reading returns the reply first, the loss is noticed only at the next
// deadline.
test("a reset right behind a reply is noticed at once", async ({ fake, open }) => {
  const server = await fake({
    answer: (_, peer) => {
      peer.send(bulk("value"));
      peer.socket.resetAndDestroy();
      return undefined;
    },
  });
  const kv = await open(server, { ...PATIENT, commandTimeout: 60_000 });
  for (let round = 0; round < 20; round++) {
    // Sooner than the PING of an idle connection would notice it.
    const lost = once(kv as never, "reconnecting", { signal: AbortSignal.timeout(5_000) });
    assert.equal(await kv.get("k"), "value");
    await lost;
  }
});
