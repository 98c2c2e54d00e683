// A reply that comes after its deadline may be given to the next caller.
import assert from "node:assert/strict";
import { setTimeout as wait } from "node:timers/promises";
import { eventually } from "../backends.js";
import { type Answer, bulk, OK } from "../fake-server.js";
import { expectRefusal, refusal } from "../replies.js";
import { emissions, test } from "./faults.js";

const TIMEOUT = 400;
const LATE = refusal("TIMEOUT", /did not reply within 400 ms/);

/** Answers GET with its key, so that every reply shows to which call it belongs. */
const echo: Answer = ([name, key = ""]) => (name === "GET" ? bulk(`${key}=`) : OK);

/** Holds all answers back until it is released, then sends them in order. */
function held() {
  const owed: (() => void)[] = [];
  let holding = true;
  const answer: Answer = (command, peer) => {
    const reply = () => peer.send(String(echo(command, peer)));
    if (holding) owed.push(reply);
    else reply();
    return undefined;
  };
  const release = (count = owed.length) => {
    holding = owed.length > count;
    for (const reply of owed.splice(0, count)) reply();
  };
  return { answer, owed, release };
}

test("a reply that comes too late answers no call", async ({ fake, open }) => {
  const { answer, owed, release } = held();
  const server = await fake({ answer });
  const kv = await open(server, { commandTimeout: TIMEOUT });
  const reconnecting = emissions(kv, "reconnecting");
  for (const call of [kv.get("a"), kv.get("b"), kv.set("c", "1")]) await expectRefusal(call, LATE);
  const [d, e] = [kv.get("d"), kv.set("e", "1")];
  await eventually(() => owed.length === 5);
  release();
  assert.deepEqual(await Promise.all([d, e, kv.get("f")]), ["d=", undefined, "f="]);
  assert.deepEqual([reconnecting.length, server.peers.length], [0, 1]);
});

test("late replies that come one by one, with calls in between, answer no call", async ({ fake, open }) => {
  const { answer, owed, release } = held();
  const server = await fake({ answer });
  const kv = await open(server, { commandTimeout: TIMEOUT });
  const late = Array.from({ length: 5 }, (_, index) => expectRefusal(kv.get(`late${index}`), LATE));
  await Promise.all(late);
  const replies: Promise<unknown>[] = [];
  for (let index = 0; index < 5; index++) {
    // On a slow machine these calls may time out as well.
    replies.push(kv.get(`k${index}`).catch(({ code }: { code: string }) => code));
    await eventually(() => owed.length === 6);
    release(1);
  }
  release();
  for (const [index, reply] of (await Promise.all(replies)).entries()) {
    assert.ok(reply === `k${index}=` || reply === "TIMEOUT", `k${index}: ${reply}`);
  }
  assert.equal(await kv.get("after"), "after=");
});

test("the late replies to a transaction answer no call", async ({ fake, open }) => {
  let release = () => {};
  const server = await fake({
    answer: (command, peer) => {
      if (command[0] === "GET") return echo(command, peer);
      if (command[0] === "EXEC") {
        release = () => peer.send(`${OK}+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n:2\r\n${bulk("after=")}`);
      }
      return undefined;
    },
  });
  const kv = await open(server, { commandTimeout: TIMEOUT });
  await expectRefusal(kv.multi().incr("a").incr("b").exec(), LATE);
  const after = kv.set("after", "1");
  await eventually(() => server.count("SET") === 1);
  release();
  await after;
  assert.equal(await kv.get("k"), "k=");
});

test("a reply that comes after its connection was given up answers no call", async ({ fake, open }) => {
  const { answer, owed, release } = held();
  const server = await fake({
    answer: (command, peer) => (peer.index === 0 ? answer(command, peer) : echo(command, peer)),
  });
  const kv = await open(server, { commandTimeout: TIMEOUT });
  const ready = emissions(kv, "ready");
  await expectRefusal(kv.get("a"), LATE);
  await eventually(() => ready.length > 0);
  assert.equal(owed.length, 1);
  release();
  assert.deepEqual(await Promise.all([kv.get("b"), kv.get("c")]), ["b=", "c="]);
});

test("a server that is sending a reply slowly is not given up, however late it is", async ({
  fake,
  open,
}) => {
  let sending = Promise.resolve();
  const server = await fake({
    answer: (command, peer) => {
      const reply = Buffer.from(String(echo(command, peer)));
      const [size, pause] = command[1] === "slow" ? [1, 200] : [reply.length, 0];
      sending = sending.then(async () => {
        for (let at = 0; at < reply.length; at += size) {
          peer.send(reply.subarray(at, at + size));
          await wait(pause);
        }
      });
      return undefined;
    },
  });
  const kv = await open(server, { commandTimeout: TIMEOUT });
  const reconnecting = emissions(kv, "reconnecting");
  await expectRefusal(kv.get("slow"), LATE);
  await eventually(async () => (await kv.get("a").catch(() => null)) === "a=");
  assert.deepEqual([reconnecting.length, server.peers.length], [0, 1]);
});
