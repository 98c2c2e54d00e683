// A server closes an idle connection while the client cannot notice: its process is frozen (Lambda), or its event loop is busy. The next
// write is lost.
import assert from "node:assert/strict";
import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { createKV, type RedisConfig } from "covara-kv";
import { Authority } from "../redis/certificates.js";
import { closedPort } from "../sockets.js";
import { test, type World } from "./faults.js";

const authority = new Authority("covara-kv tests");
after(() => authority.remove());
const identity = authority.sign("server", "subjectAltName=IP:127.0.0.1");

/** The addresses of one server, and a function that closes all its connections while this thread is blocked. */
async function serverOf({ redis }: World) {
  const tlsPort = await closedPort();
  const path = join(tmpdir(), `covara-kv-${process.pid}-${tlsPort}.sock`);
  const { port } = await redis({
    ...authority.redisConfig(tlsPort, identity),
    unixsocket: path,
  });
  const ways: Record<string, RedisConfig> = {
    TCP: { port },
    TLS: { port: tlsPort, tls: { ca: authority.ca } },
    "a unix socket": { path },
  };
  return {
    ways,
    closeAll: () => execFileSync("redis-cli", ["-p", `${port}`, "CLIENT", "KILL", "TYPE", "normal"]),
  };
}

for (const way of ["TCP", "TLS", "a unix socket"]) {
  // The first write after each freeze goes into a closed connection and fails, with the outcome unknown.
  test(`the first write after a busy loop is run (${way})`, async (world) => {
    const { ways, closeAll } = await serverOf(world);
    const kv = await createKV({ type: "redis", redis: { ...ways[way], retryDelay: 1 } });
    world.defer(() => kv.disconnect());
    for (let round = 1; round <= 100; round++) {
      closeAll();
      assert.equal(await kv.incr("n"), round);
    }
  });

  test(`the first write after the process was frozen is run (${way})`, async (world) => {
    const { ways, closeAll } = await serverOf(world);
    const redis = JSON.stringify({ ...ways[way], retryDelay: 1 });
    const child = fork(join(__dirname, "frozen.mjs"), [redis], { execArgv: [] });
    world.defer(() => child.kill("SIGKILL"));
    assert.equal((await once(child, "message"))[0], "ready");
    for (let round = 1; round <= 100; round++) {
      child.kill("SIGSTOP");
      closeAll();
      child.send("incr");
      child.kill("SIGCONT");
      assert.equal((await once(child, "message"))[0], round);
    }
  });
}
