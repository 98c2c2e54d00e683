// Messages that come faster than they are taken may stop everything else in the process.
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import type { KVStore } from "covara-kv";
import { eventually, timeoutFactor } from "../backends.js";
import { type RedisServer, startRedis } from "../redis-server.js";
import { closedPort, listen } from "../sockets.js";
import { Authority } from "./certificates.js";
import { open, SharedRedis } from "./servers.js";

/** flooder.mjs counts up to this, and begins again. */
const ROUND = 4_000;
/** The limit of a thread's queue. */
const MAX_MESSAGES = 100_000;

let flooder: Worker;
let port = 0;
before(async () => {
  flooder = new Worker(join(__dirname, "flooder.mjs"));
  [port] = await once(flooder, "message");
});
after(() => flooder.terminate());

const redis = new SharedRedis();

const spin = (microseconds: number) => {
  for (const end = performance.now() + microseconds / 1_000; performance.now() < end; );
};

/** Counts the messages of a subscriber, and checks their order. */
class Heard {
  count = 0;
  gaps: { at: number; reason: string }[] = [];
  #last = -1;
  #mayMiss = true;
  wrong: string[] = [];

  /** How long each message takes, in µs. */
  readonly #work: number;

  constructor(kv: KVStore, work: number) {
    this.#work = work;
    kv.on?.("gap", ({ reason }) => {
      this.gaps.push({ at: this.count, reason: `${reason}` });
      this.#mayMiss = true;
    });
  }

  readonly hear = (message: string) => {
    const number = Number(message.slice(0, 12));
    if (!this.#mayMiss && number !== (this.#last + 1) % ROUND) this.wrong.push(`${this.#last}, ${number}`);
    this.#mayMiss = false;
    this.#last = number;
    this.count += 1;
    spin(this.#work);
  };
}

/** The most that `count` grows by in one turn of the event loop, while timers fire and a socket is used. */
async function mostInATurn(count: () => number, turns: number): Promise<number> {
  await using echo = await listen((socket) => socket.pipe(socket));
  const socket = connect(echo.port, "127.0.0.1");
  await once(socket, "connect");
  let most = 0;
  for (let turn = 0; turn < turns; turn += 1) {
    const before = count();
    await wait(0);
    const between = count();
    socket.write("x");
    await once(socket, "data");
    most = Math.max(most, between - before, count() - between);
  }
  socket.destroy();
  return most;
}

const ways: Record<string, (kv: KVStore, hear: (message: string) => void) => Promise<unknown>> = {
  subscribe: (kv, hear) => kv.subscribe("flood", hear),
  psubscribe: (kv, hear) => kv.psubscribe("floo*", hear),
  listen: (kv, hear) => kv.listen(["flood"], hear),
};

// If all messages that have come in are handed over at once, and then those that come meanwhile, a timer of 10 ms fires 14.7 s late.
for (const [way, subscribe] of Object.entries(ways)) {
  test(`${way}: the event loop turns during a flood`, { timeout: 60_000 * timeoutFactor }, async () => {
    await using kv = await open({ port });
    const heard = new Heard(kv, 20);
    await subscribe(kv, heard.hear);
    await eventually(() => heard.count > 0);
    const most = await mostInATurn(() => heard.count, 100);
    // At 20 µs for each, 100 messages fill the 2 ms of a turn; the socket takes a few turns.
    assert.ok(most < 3_000, `${most} messages in a turn`);
    assert.deepEqual(heard.wrong, []);
  });
}

// A subscriber that takes only a part of a full queue is told of a gap each time.
test("what is lost in a flood is told once, in its place", { timeout: 60_000 * timeoutFactor }, async () => {
  await using kv = await open({ port });
  const heard = new Heard(kv, 5);
  await kv.subscribe("flood", heard.hear);
  await eventually(() => heard.gaps.length >= 2);
  const places = heard.gaps.map(({ at }) => at);
  for (const [n, at] of places.entries()) assert.ok(at - (places[n - 1] ?? 0) >= MAX_MESSAGES, `${places}`);
  assert.deepEqual(new Set(heard.gaps.map(({ reason }) => reason)), new Set(["overflow"]));
  assert.deepEqual(heard.wrong, []);
});

// If replies that come during the delivery of others are delivered in the same turn, timers fire 9.3 s late.
test("the event loop turns while many callers call in loops", {
  timeout: 60_000 * timeoutFactor,
}, async () => {
  await using kv = await open(redis.address);
  let count = 0;
  let isOver = false;
  const caller = async () => {
    for (; !isOver; count += 1) await kv.get("k");
  };
  const callers = Array.from({ length: 20_000 }, caller);
  await eventually(() => count > callers.length);
  const most = await mostInATurn(() => count, 30);
  isOver = true;
  await Promise.all(callers);
  assert.ok(most < 60_000, `${most} replies in a turn`);
});

// If the I/O thread reads one connection for as long as it has data, a call of another store waits 5.9 s, past its timeout of 1 s.
test("a flood holds up no other connection", { timeout: 60_000 * timeoutFactor }, async () => {
  const authority = new Authority("covara-kv tests");
  const { certFile, keyFile } = authority.sign("server", "subjectAltName=IP:127.0.0.1");
  const tlsPort = await closedPort();
  let server: RedisServer | undefined;
  await using kv = await open({ port });
  try {
    server = await startRedis({
      "tls-port": `${tlsPort}`,
      "tls-cert-file": certFile,
      "tls-key-file": keyFile,
      "tls-ca-cert-file": authority.self.certFile,
      "tls-auth-clients": "no",
    });
    await using other = await open({ host: "127.0.0.1", port: tlsPort, tls: { ca: authority.ca } });
    const heard = new Heard(kv, 20);
    await kv.subscribe("flood", heard.hear);
    await eventually(() => heard.count > 0);
    for (let n = 0; n < 50; n += 1) await other.incr("n");
    assert.equal(await other.get("n"), "50");
  } finally {
    await server?.stop();
    authority.remove();
  }
});
