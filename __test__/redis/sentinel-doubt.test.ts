// A Sentinel that was cut off or restarted names a server that is no master. Who believes it has no master, or leaves the one that it has.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRedisKV, type RedisKVStore } from "covara-kv";
import { eventually } from "../backends.js";
import {
  type Answer,
  answerHandshake,
  bulk,
  type FakeServer,
  startFake,
  message as told,
} from "../fake-server.js";
import { MASTER } from "../sentinel.js";
import { answerSentinelHandshake, by, fakeSentinel } from "./fake-sentinel.js";

/** A server that says which role it has. */
interface RoleServer extends FakeServer {
  role: "master" | "replica" | "none that is known";
}

async function serverOf(role: RoleServer["role"]): Promise<RoleServer> {
  const fake = await startFake({
    handshake: (command, peer) =>
      command[0] === "HELLO"
        ? `%2\r\n${bulk("proto")}:3\r\n${bulk("role")}${bulk(server.role)}`
        : answerHandshake(command, peer),
  });
  const server: RoleServer = Object.assign(Object.create(fake) as FakeServer, { role });
  return server;
}

/** Where a store has had connections. */
function placesOf(kv: RedisKVStore): (string | undefined)[] {
  const places: (string | undefined)[] = [];
  kv.on("ready", ({ node }) => places.push(node));
  return places;
}

const placeOf = ({ host, port }: FakeServer) => `${host}:${port}`;

// Of two Sentinels the one that is believed first is cut off: each attempt led to a replica, for as long as that Sentinel stayed.
test("a replica that a stale Sentinel names loses to the master that another one names", async () => {
  await using replica = await serverOf("replica");
  await using master = await serverOf("master");
  await using stale = await fakeSentinel(replica);
  const isBelieved = () => replica.peers.length > 0;
  const handshake: Answer = (command, peer) =>
    isBelieved() ? answerSentinelHandshake(command, peer) : undefined;
  await using other = await fakeSentinel(master, { handshake });
  await using kv = createRedisKV({ ...by(stale, other), maxRetries: 10 });
  const places = placesOf(kv);
  await kv.connect();
  assert.ok(isBelieved());
  const polls = stale.count("SENTINEL");
  await eventually(() => stale.count("SENTINEL") >= polls + 3);
  assert.deepEqual(places, [placeOf(master)]);
});

// One that is restarted with an old configuration names a server that is a replica by now: the store left its master, and had none.
test("a working connection is not left for a server that says that it is a replica", async () => {
  await using replica = await serverOf("replica");
  await using master = await serverOf("master");
  await using sentinel = await fakeSentinel(master);
  await using kv = createRedisKV(by(sentinel));
  const [places, moves]: [ReturnType<typeof placesOf>, unknown[]] = [placesOf(kv), []];
  kv.on("reconnecting", (event) => moves.push(event));
  await kv.connect();
  sentinel.names = replica;
  const polls = sentinel.count("SENTINEL");
  await eventually(() => sentinel.count("SENTINEL") >= polls + 4);
  assert.deepEqual([places, moves], [[placeOf(master)], []]);
  const tries = replica.peers.length;
  assert.ok(tries > 1 && tries < 10, `${tries}: it is asked again, and not all the time`);
  // It is promoted, and the Sentinel has nothing new to say.
  replica.role = "master";
  await eventually(() => places.length === 2);
  assert.deepEqual(places, [master, replica].map(placeOf));
});

// The leader of a failover tells of the promotion before the replica has heard of it. One that does not say what it is may be a replica yet.
test("a replica that is to be promoted is not used before it says that it is the master", async () => {
  await using master = await serverOf("master");
  await using promoted = await serverOf("none that is known");
  await using sentinel = await fakeSentinel(master);
  await using kv = createRedisKV(by(sentinel));
  const places = placesOf(kv);
  await kv.connect();
  await eventually(() => sentinel.count("SUBSCRIBE") === 1);
  const replica = `slave ${placeOf(promoted)} ${promoted.host} ${promoted.port}`;
  const text = `${replica} @ ${MASTER} ${master.host} ${master.port}`;
  sentinel.send(told("+failover-state-wait-promotion", text));
  await eventually(() => promoted.peers.length >= 5);
  assert.deepEqual(places, [placeOf(master)]);
  promoted.role = "master";
  await eventually(() => places.length === 2);
  assert.equal(places[1], placeOf(promoted));
});
