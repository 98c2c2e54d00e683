// A master of Valkey that becomes a replica answers `-REDIRECT host:port`. A client that cannot follow waits for the next look-up of the
// name.
import assert from "node:assert/strict";
import { eventually } from "../backends.js";
import { type Answer, bulk, OK } from "../fake-server.js";
import { emissions, PATIENT, test } from "./faults.js";

const handshakeOf =
  (version: string, role = "master"): Answer =>
  ([name]) => {
    const words = { server: "valkey", version, role, mode: "standalone" };
    const pairs = Object.entries(words).map(([field, value]) => bulk(field) + bulk(value));
    return name === "HELLO" ? `%${pairs.length}\r\n${pairs.join("")}` : name === "PING" ? "+PONG\r\n" : OK;
  };

/** The commands that a server got after the handshake. */
const called = (commands: readonly (readonly string[])[]) =>
  commands.filter(([name = ""]) => ["INCR", "GET", "MULTI", "EXEC"].includes(name)).map(([name]) => name);

// The old master knows the address of the new one. Without this calls wait until the name leads there, or fail with READONLY.
test("calls that a server redirects are run by the master that it names, once and in order", async ({
  fake,
  open,
}) => {
  const next = await fake({
    handshake: handshakeOf("9.1.0"),
    answer: ([name]) => (name === "INCR" ? ":1\r\n" : "$1\r\n1\r\n"),
  });
  const old = await fake({
    handshake: handshakeOf("9.1.0"),
    answer: () => `-REDIRECT ${next.host}:${next.port}\r\n`,
  });
  const kv = await open(old, PATIENT);
  const [reconnecting, ready] = [emissions(kv, "reconnecting"), emissions(kv, "ready")];
  assert.deepEqual(await Promise.all([kv.incr("n"), kv.get("n"), kv.incr("n")]), [1, "1", 1]);
  assert.deepEqual(called(next.commands), ["INCR", "GET", "INCR"]);
  const [from, to] = [old, next].map(({ host, port }) => `${host}:${port}`);
  await eventually(() => ready.length === 1);
  assert.match(String(reconnecting[0]?.cause), new RegExp(`${from} has become a replica of ${to}`));
  assert.deepEqual([reconnecting[0]?.node, ready[0]?.node], [from, to]);
  // After a loss the store connects to the master of the redirect again.
  const told = reconnecting.length;
  for (const { socket } of next.peers) socket.destroy();
  await eventually(() => reconnecting.length > told);
  assert.equal(await kv.incr("n"), 1);
  assert.deepEqual([old.peers.length, next.peers.length], [1, 2]);
});

// A replica does not redirect. The master that it once named was restarted, and for want of one connection it was forgotten: writes
// waited at the replica until they failed, though the master was back.
test("a master of a redirect that was away for a moment is found again", async ({ fake, open }) => {
  let isDown = false;
  const next = await fake({
    handshake(command, peer) {
      if (isDown) peer.socket.destroy();
      return handshakeOf("9.1.0")(command, peer);
    },
    answer: ([name]) => (name === "INCR" ? ":1\r\n" : "$1\r\n1\r\n"),
  });
  let isMaster = true;
  const old = await fake({
    handshake: (command, peer) => handshakeOf("9.1.0", isMaster ? "master" : "replica")(command, peer),
    answer([name]) {
      if (!isMaster)
        return name === "INCR" ? "-READONLY You can't write against a read only replica.\r\n" : "$1\r\n2\r\n";
      isMaster = false;
      return `-REDIRECT ${next.host}:${next.port}\r\n`;
    },
  });
  const kv = await open(old, PATIENT);
  assert.equal(await kv.incr("n"), 1);
  isDown = true;
  for (const { socket } of next.peers) socket.destroy();
  await eventually(async () => (await kv.get("n")) === "2");
  const write = kv.incr("n");
  await eventually(() => called(old.commands).length > 2 || next.peers.length > 2);
  isDown = false;
  assert.equal(await write, 1);
});

test("a server that is redirected to and is no master is left for the address that was given", async ({
  fake,
  open,
}) => {
  const replica = await fake({
    handshake: handshakeOf("9.1.0", "replica"),
    answer: () => "-ERR not here\r\n",
  });
  let isMaster = true;
  const server = await fake({
    handshake: (command, peer) => handshakeOf("9.1.0", isMaster ? "master" : "replica")(command, peer),
    answer() {
      if (!isMaster) return "$1\r\n1\r\n";
      isMaster = false;
      return `-REDIRECT ${replica.host}:${replica.port}\r\n`;
    },
  });
  const kv = await open(server, PATIENT);
  const reconnecting = emissions(kv, "reconnecting");
  assert.equal(await kv.get("n"), "1");
  assert.ok(reconnecting.length > 0 && replica.peers.length === 1);
  assert.deepEqual(called(replica.commands), []);
});

test("only a master of Valkey from 8 on is told that redirects are followed", async ({ fake, open }) => {
  for (const [version, role, isTold] of [
    ["8.0.1", "master", true],
    ["9.1.0", "master", true],
    ["7.2.5", "master", false],
    ["9.1.0", "replica", false],
  ] as const) {
    const server = await fake({ handshake: handshakeOf(version, role), answer: () => "$-1\r\n" });
    const kv = await open(server);
    await kv.get("n");
    const told = server.commands.filter(([name, what]) => name === "CLIENT" && what === "CAPA");
    assert.deepEqual(told, isTold ? [["CLIENT", "CAPA", "redirect"]] : [], `${version} ${role}`);
  }
});
