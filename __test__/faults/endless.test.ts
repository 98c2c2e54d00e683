// A reply without end takes more than 2 GB of the process's memory, and still more long after the TIMEOUT.
import assert from "node:assert/strict";
import { createKV } from "covara-kv";
import { type Answer, answerHandshake, bulk, confirmation, type Peer } from "../fake-server.js";
import { errorOf } from "../replies.js";
import { test } from "./faults.js";

const MAX_REPLY_SIZE = 1_000_000;

/** Sends the same bytes until the connection ends, as fast as the client reads them. */
function pour({ socket }: Peer, bytes: string): void {
  const piece = bytes.repeat(Math.ceil(65_536 / bytes.length));
  const write = () => {
    while (socket.writable && socket.write(piece));
  };
  socket.on("drain", write);
  write();
}

const endless: Record<string, { begins: string; goesOn: string; error: RegExp }> = {
  "a string of 9,000,000,000,000,000,000 bytes": {
    begins: "$9000000000000000000\r\n",
    goesOn: "x",
    error: /announced a string of more than 512 MB/,
  },
  "an array of 2,147,483,647 elements": {
    begins: "*2147483647\r\n",
    goesOn: bulk("x"),
    error: /more than 1000000 bytes \(maxReplySize\)/,
  },
  "a simple string": { begins: "+", goesOn: "x", error: /a line of more than 65536 bytes/ },
  "an error": { begins: "-ERR ", goesOn: "x", error: /a line of more than 65536 bytes/ },
  "a string that is too long for this store": {
    begins: "$100000000\r\n",
    goesOn: "x",
    error: /more than 1000000 bytes \(maxReplySize\)/,
  },
};

for (const [name, { begins, goesOn, error }] of Object.entries(endless)) {
  test(`a reply without end ends the connection: ${name}`, async ({ fake, open }) => {
    const answer: Answer = ([command], peer) => {
      if (command !== "GET") return bulk("v");
      peer.send(begins);
      pour(peer, goesOn);
      return undefined;
    };
    const server = await fake({ answer });
    const kv = await open(server, { maxReplySize: MAX_REPLY_SIZE, retryDelay: 20 });
    const [failed, neighbour] = [errorOf(kv.get("k")), kv.hget("k", "f")];
    const { code, message } = await failed;
    assert.equal(code, "CONNECTION");
    assert.match(message, error);
    assert.equal(await neighbour, "v");
    assert.equal(server.count("GET"), 1, "it is not asked for again");
  });
}

test("pushes without end while a reply is owed are dropped as they come", async ({ fake, open }) => {
  const answer: Answer = ([command], peer) => {
    if (command === "GET") pour(peer, `>2\r\n${bulk("invalidate")}${bulk("x".repeat(100))}`);
    return command === "GET" ? undefined : bulk("v");
  };
  const server = await fake({ answer });
  const kv = await open(server, { maxReplySize: MAX_REPLY_SIZE, commandTimeout: 1_000, retryDelay: 20 });
  const { code } = await errorOf(kv.get("k"));
  assert.equal(code, "TIMEOUT");
  assert.ok(process.memoryUsage().rss < 1_000_000_000, `${process.memoryUsage().rss}`);
});

test("a handshake without end is refused", async ({ fake }) => {
  const handshake: Answer = ([command], peer) => {
    if (command !== "HELLO") return undefined;
    peer.send("*2147483647\r\n");
    pour(peer, bulk("x"));
    return undefined;
  };
  const { host, port } = await fake({ handshake });
  const { code, message } = await errorOf(createKV({ type: "redis", redis: { host, port } }));
  assert.equal(code, "CONNECTION");
  assert.match(message, /is no Redis server/);
});

test("a message that is too large costs a subscriber a gap", async ({ fake, open }) => {
  let poured = false;
  const answer: Answer = (command, peer) => {
    if (command[0] !== "SUBSCRIBE") return undefined;
    peer.send(confirmation(command));
    if (!poured) pour(peer, `>3\r\n${bulk("message")}${bulk("c")}$100000000\r\n`);
    poured = true;
    return undefined;
  };
  const server = await fake({ answer, handshake: answerHandshake });
  const kv = await open(server, { maxReplySize: MAX_REPLY_SIZE, retryDelay: 20 });
  const gap = new Promise((resolve) => kv.on("gap", resolve));
  const lost = new Promise<{ cause: Error }>((resolve) => kv.on("reconnecting", resolve));
  await kv.subscribe("c", () => {});
  assert.match((await lost).cause.message, /maxReplySize/);
  await gap;
});
