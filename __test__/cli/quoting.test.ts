// A value may hold escape sequences that clear the screen or hide output. A terminal therefore gets it quoted, as by redis-cli. A pipe gets the raw
// bytes.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Redis } from "ioredis";
import { answerHandshake, bulk, type FakeServer, startFake } from "../fake-server.js";
import { type RedisServer, startRedis } from "../redis-server.js";

const CLI = join(__dirname, "../../dist/cli.js");
const EVIL = '\x1b]0;title\x07\x1b[2J red\r\n\t\b\x7f\u009b31m \u202e \\ "';
/** As `redis-cli` shows it on a terminal. It also escapes all that is not ASCII. */
const QUOTED = '"\\x1b]0;title\\a\\x1b[2J red\\r\\n\\t\\b\\x7f\\xc2\\x9b31m \\xe2\\x80\\xae \\\\ \\""';

function cli(args: string[], isTerminal: boolean): Promise<{ stdout: string; stderr: string }> {
  const preload = isTerminal ? ["--require", join(__dirname, "terminal.cjs")] : [];
  const env = { ...process.env, NO_COLOR: "1" };
  return new Promise((resolve) => {
    execFile(process.execPath, [...preload, CLI, ...args], { timeout: 60_000, env }, (_, stdout, stderr) =>
      resolve({ stdout, stderr }),
    );
  });
}

describe("a value with control characters", () => {
  let server: RedisServer;
  let redis: Redis;
  before(async () => {
    server = await startRedis();
    redis = new Redis({ host: server.host, port: server.port });
  });
  after(async () => {
    redis.disconnect();
    await server.stop();
  });
  const run = (isTerminal: boolean, ...args: string[]) =>
    cli([...args, "--url", `redis://${server.host}:${server.port}`], isTerminal);

  test("is quoted on a terminal, and in a pipe as it is", async () => {
    await redis.set("evil", EVIL);
    assert.equal((await run(true, "get", "evil")).stdout, `${QUOTED}\n`);
    assert.equal((await run(false, "get", "evil")).stdout, `${EVIL}\n`);
  });

  test("is JSON with --json, on both", async () => {
    for (const isTerminal of [true, false]) {
      const { stdout } = await run(isTerminal, "get", "evil", "--json");
      assert.equal(stdout, `${JSON.stringify({ key: "evil", value: EVIL })}\n`);
    }
  });

  test("is quoted as a key", async () => {
    await redis.set(`key ${EVIL}`, "1");
    for (const command of ["keys", "scan"]) {
      assert.equal((await run(true, command, "key *")).stdout, `"key ${QUOTED.slice(1)}\n`);
      assert.equal((await run(false, command, "key *")).stdout, `key ${EVIL}\n`);
    }
  });

  test("any other is not: letters of every language, and a quote within", async () => {
    for (const value of ["plain text", "é 中文 👍 ✓", 'a "b" \\n', ""]) {
      await redis.set("plain", value);
      assert.equal((await run(true, "get", "plain")).stdout, `${value}\n`);
    }
    await redis.set("plain", '"as if quoted"');
    assert.equal((await run(true, "get", "plain")).stdout, '"\\"as if quoted\\""\n');
  });
});

describe("what a server says of itself", () => {
  let fake: FakeServer;
  before(async () => {
    fake = await startFake({
      handshake: (command, peer) =>
        command[0] === "HELLO"
          ? `%1\r\n${bulk("version")}${bulk("7\x1b[2J")}`
          : answerHandshake(command, peer),
      answer: ([name]) => (name === "GET" ? "-ERR \x1b[2J no\r\n" : "+OK\r\n"),
    });
  });
  after(() => fake.stop());

  test("reaches no terminal either", async () => {
    const url = `redis://${fake.host}:${fake.port}`;
    const { stderr } = await cli(["get", "key", "--url", url], true);
    assert.match(stderr, /ERR \\x1b\[2J no/);
    assert.ok(!stderr.includes("\x1b"), stderr);
    const doctor = await cli(["doctor", url], true);
    assert.ok(!doctor.stdout.includes("\x1b"), doctor.stdout);
  });
});
