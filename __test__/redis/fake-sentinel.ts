// A Sentinel that a test tells what to say.
import {
  type Answer,
  answerHandshake,
  bulk,
  type FakeOptions,
  type FakeServer,
  startFake,
} from "../fake-server.js";
import { MASTER } from "../sentinel.js";

/** A Sentinel that names a master, or what it is told to name from then on. */
export interface FakeSentinel extends FakeServer {
  names: { host: string; port: number } | null;
  /** What SENTINEL MYID says; nothing as before Redis 6.2. */
  id?: string;
  /** What SENTINEL SENTINELS says. */
  others?: { host: string; port: number; id: string; flags?: string }[];
}

/** An element of the reply to SENTINEL SENTINELS, as an array of RESP 2 and as a map. */
function otherSentinel({ host, port, id, flags = "sentinel" }: NonNullable<FakeSentinel["others"]>[number]) {
  const fields = { name: id, ip: host, port: `${port}`, runid: id, flags, "down-after-milliseconds": "500" };
  const words = Object.entries(fields).flat().map(bulk);
  return words.join("");
}

export const answerSentinelHandshake: Answer = (command, peer) =>
  command[0] === "HELLO"
    ? `%2\r\n${bulk("mode")}${bulk("sentinel")}${bulk("role")}${bulk("sentinel")}`
    : answerHandshake(command, peer);

export async function fakeSentinel(
  names: FakeSentinel["names"],
  { handshake = answerSentinelHandshake, ...options }: FakeOptions = {},
): Promise<FakeSentinel> {
  const fake: FakeServer = await startFake({
    ...options,
    handshake,
    answer([name = "", ...words]) {
      if (name === "SUBSCRIBE") {
        return words.map((channel) => `>3\r\n${bulk("subscribe")}${bulk(channel)}:1\r\n`).join("");
      }
      if (words[0] === "MYID" && sentinel.id !== undefined) return bulk(sentinel.id);
      if (words[0] === "SENTINELS" && sentinel.others !== undefined) {
        return `*${sentinel.others.length}\r\n${sentinel.others.map((other) => `%6\r\n${otherSentinel(other)}`).join("")}`;
      }
      const known = words[1] === MASTER ? sentinel.names : null;
      return known === null ? "*-1\r\n" : `*2\r\n${bulk(known.host)}${bulk(String(known.port))}`;
    },
  });
  const sentinel: FakeSentinel = Object.assign(Object.create(fake) as FakeServer, { names });
  return sentinel;
}

export const by = (...nodes: { host: string; port: number }[]) => ({
  sentinel: { name: MASTER, nodes: nodes.map(({ host, port }) => ({ host, port })) },
});
