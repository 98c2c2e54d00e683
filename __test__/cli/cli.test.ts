// A doctor that passes a broken connection, or fails without a cause, sends its user to the wrong place. The same holds for a wrong exit
// code.
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { createKV } from "covara-kv";
import { Redis } from "ioredis";
import { eventually } from "../backends.js";
import { Authority } from "../redis/certificates.js";
import { type RedisServer, startRedis } from "../redis-server.js";
import { startSentinels } from "../sentinel.js";
import { closedPort } from "../sockets.js";

const CLI = join(__dirname, "../../dist/cli.js");
const SECRET = "hunter2-s3cret";

interface Outcome {
  code: unknown;
  stdout: string;
  stderr: string;
}

/** Runs the command line as a script does: no terminal. */
function cli(args: string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  const options = { timeout: 60_000, env: { ...process.env, REDIS_URL: undefined, ...env } };
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI, ...args], options, (error, stdout, stderr) => {
      const outcome = { code: error === null ? 0 : (error.code ?? error.signal), stdout, stderr };
      assert.doesNotMatch(stdout + stderr, new RegExp(SECRET), "the password is shown");
      assert.ok(!(stdout + stderr).includes("\x1b"), "colours without a terminal");
      resolve(outcome);
    });
  });
}

/** What a command prints with --json. */
async function json(args: string[], code: number): Promise<Record<string, unknown>> {
  const outcome = await cli([...args, "--json"]);
  assert.equal(outcome.code, code, outcome.stderr);
  return JSON.parse(outcome.stdout);
}

describe("doctor", () => {
  let server: RedisServer;
  let url: string;
  before(async () => {
    server = await startRedis();
    const admin = new Redis({ port: server.port, host: server.host });
    await admin.config("SET", "requirepass", SECRET);
    admin.disconnect();
    url = `redis://:${SECRET}@${server.host}:${server.port}`;
  });
  after(() => server.stop());

  test("the memory store, and what is installed", async () => {
    const { code, stdout } = await cli(["doctor"]);
    assert.equal(code, 0);
    for (const part of [
      /^covara-kv \d/,
      /platform +\w+-\w+/,
      /binary +covara-kv\..*\.node, \d/,
      /Node\.js +\d+/,
    ]) {
      assert.match(stdout, part);
    }
    assert.match(stdout, /✓ the memory store\n.*connected/s);
    const report = await json(["doctor"], 0);
    assert.deepEqual([report.ok, report.node, report.url], [true, process.versions.node, undefined]);
  });

  test("a good server", async () => {
    const { code, stdout } = await cli(["doctor", url]);
    assert.equal(code, 0);
    for (const part of [
      /✓ redis:\/\/:\*\*\*@/,
      /Redis \d/,
      /standalone, master/,
      /RESP 3, no TLS/,
      /latency +p50/,
      /pub\/sub +p50/,
    ]) {
      assert.match(stdout, part);
    }
    const report = await json(["doctor", url], 0);
    const { server: told, latencyMs } = report as {
      server: object;
      latencyMs: { p50: number; calls: number };
    };
    assert.deepEqual(
      { ...told, version: "" },
      { version: "", resp: 3, mode: "standalone", role: "master", tls: false },
    );
    assert.ok(latencyMs.p50 > 0 && latencyMs.calls > 0);
  });

  test("Sentinels, in a table: who names which master, and who cannot be asked", async () => {
    await using set = await startSentinels({ replicas: 0, sentinels: 1 });
    const [{ host, port }] = set.sentinel.nodes as [{ host: string; port: number }];
    const master = `${host}:${(await set.master()).port}`;
    const url = `redis+sentinel://${host}:1,${host}:${port}/${set.sentinel.name}`;
    const { code, stdout } = await cli(["doctor", url]);
    assert.equal(code, 0);
    assert.ok(stdout.includes(`✓ ${url}\n`), stdout);
    for (const row of [
      "Sentinel +master +latency",
      `${host}:1 +${host}:1: Connection refused`,
      `${host}:${port} +${master} +\\d`,
    ]) {
      assert.match(stdout, new RegExp(`^ +${row}`, "m"));
    }
    const report = await json(["doctor", url], 0);
    const sentinels = report.sentinels as { node: string; master?: string; code?: string }[];
    assert.deepEqual(
      sentinels.map(({ node, master, code }) => [node, master, code]),
      [
        [`${host}:1`, undefined, "CONNECTION refused"],
        [`${host}:${port}`, master, undefined],
      ],
    );
    const secret = `redis+sentinel://u:${SECRET}@${host}:1,${host}:${port}/nobody?sentinelPassword=${SECRET}`;
    const refused = await cli(["doctor", secret]);
    assert.equal(refused.code, 1);
    assert.match(refused.stdout, /No Sentinel (knows a master|could be asked)/);
    assert.ok(!refused.stdout.includes(SECRET), refused.stdout);
  });

  test("a wrong password", async () => {
    const wrong = url.replace(SECRET, "other");
    const { code, stdout } = await cli(["doctor", wrong]);
    assert.equal(code, 1);
    assert.match(stdout, /✗ redis:\/\/:\*\*\*@.*WRONGPASS .*The user or the password is wrong/s);
    const report = await json(["doctor", wrong], 1);
    assert.deepEqual([report.ok, report.code], [false, "WRONGPASS"]);
  });

  test("no password where one is wanted", async () => {
    const report = await json(["doctor", url.replace(`:${SECRET}@`, "")], 1);
    assert.deepEqual(
      [report.code, report.cause],
      ["NOAUTH", "The server wants a password: redis://user:password@host:port"],
    );
  });

  test("a closed port", async () => {
    const { code, stdout } = await cli(["doctor", "redis://127.0.0.1:1"]);
    assert.equal(code, 1);
    assert.match(stdout, /CONNECTION: .*127\.0\.0\.1:1.*Nothing listens there/s);
  });

  test("a port that is no Redis", async () => {
    const http = createServer((_, response) => response.end("hello")).listen(0, "127.0.0.1");
    await once(http, "listening");
    const { code, stdout } = await cli([
      "doctor",
      `redis://127.0.0.1:${(http.address() as AddressInfo).port}`,
    ]);
    http.closeAllConnections();
    http.close();
    assert.equal(code, 1);
    assert.match(stdout, /is no Redis server.*is the port right/s);
  });

  test("TLS with an authority that is not known, and one that is", async () => {
    const authority = new Authority("an authority");
    const { certFile, keyFile } = authority.sign("server", "subjectAltName=IP:127.0.0.1");
    const port = await closedPort();
    const tls = await startRedis({
      "tls-port": String(port),
      "tls-cert-file": certFile,
      "tls-key-file": keyFile,
      "tls-ca-cert-file": authority.self.certFile,
      "tls-auth-clients": "no",
    });
    try {
      const address = `rediss://127.0.0.1:${port}`;
      const { code, stdout } = await cli(["doctor", address]);
      assert.equal(code, 1);
      assert.match(
        stdout,
        /✗ .*CONNECTION: .*authority that signed the certificate as tls\.ca \(--ca <file>/s,
      );
      for (const trust of [["--ca", authority.self.certFile], ["--insecure"]]) {
        const report = await json(["doctor", address, ...trust], 0);
        assert.equal((report.server as { tls: boolean }).tls, true);
      }
    } finally {
      await tls.stop();
      authority.remove();
    }
  });
});

describe("a look inside", () => {
  let server: RedisServer;
  let url: string;
  before(async () => {
    server = await startRedis();
    url = `redis://${server.host}:${server.port}`;
  });
  after(() => server.stop());

  test("set, get, keys and scan, by --url or REDIS_URL", async () => {
    assert.deepEqual(await cli(["set", "a:1", "välue", "--url", url, "--ex", "100"]), {
      code: 0,
      stdout: "OK\n",
      stderr: "",
    });
    assert.deepEqual(await cli(["get", "a:1"], { REDIS_URL: url }), {
      code: 0,
      stdout: "välue\n",
      stderr: "",
    });
    assert.deepEqual(await json(["get", "1", "--prefix", "a", "--url", url], 0), {
      key: "1",
      value: "välue",
    });
    await cli(["set", "b", "", "--url", url]);
    for (const args of [["keys", "*"], ["scan"]]) {
      const { stdout } = await cli([...args, "--url", url]);
      assert.deepEqual(stdout.trim().split("\n").sort(), ["a:1", "b"]);
    }
    assert.equal((await cli(["scan", "a*", "--url", url, "--json"])).stdout, '{"key":"a:1"}\n');
    const none = await cli(["get", "none", "--url", url]);
    assert.deepEqual([none.code, none.stdout], [1, ""]);
    assert.deepEqual(await json(["get", "none", "--url", url], 1), { key: "none", value: null });
    const kv = await createKV({ type: "redis", redis: { url } });
    const ttl = await kv.ttl("a:1");
    assert.ok(ttl > 0 && ttl <= 100, `${ttl} s`);
    await kv.disconnect();
  });

  test("monitor prints what is published, until it is interrupted", async () => {
    const kv = await createKV({ type: "redis", redis: { url } });
    const start = (channel: string): [ChildProcess, string[]] => {
      const child = spawn(process.execPath, [CLI, "monitor", channel, "--url", url]);
      const lines: string[] = [];
      child.stdout.on("data", (chunk) => lines.push(...String(chunk).trim().split("\n")));
      return [child, lines];
    };
    const [one, some] = [start("news"), start("n*")];
    await eventually(async () => (await kv.publish("news", "hello")) === 2);
    await eventually(() => one[1].includes("hello") && some[1].includes("news: hello"));
    for (const [child] of [one, some]) {
      child.kill("SIGINT");
      assert.deepEqual(await once(child, "exit"), [0, null]);
    }
    await kv.disconnect();
  });

  test("a server that is not there", async () => {
    const { code, stdout, stderr } = await cli(["get", "k", "--url", "redis://127.0.0.1:1"]);
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, /CONNECTION: .*\n.*Nothing listens there/);
  });

  test("bench measures, and leaves nothing behind", async () => {
    const { code, stdout } = await cli(["bench", "--json"], { REDIS_URL: url });
    assert.equal(code, 0);
    const { rows, ...place } = JSON.parse(stdout) as {
      rows: { command: string; opsPerSecond: number }[];
    };
    assert.deepEqual(place, { url, from: "REDIS_URL" });
    assert.ok(rows.length >= 10 && rows.every(({ opsPerSecond }) => opsPerSecond > 0));
    assert.match((await cli(["keys", "*bench*", "--url", url])).stdout, /^$/);
  });
});

describe("what is shown of a URL", () => {
  const hidden = async (url: string, shown: RegExp, env?: NodeJS.ProcessEnv) => {
    const args = env === undefined ? [url] : [];
    const runs = [
      ["doctor", ...args],
      ["doctor", ...args, "--json"],
      ["get", "k", "--url", url],
    ];
    for (const [i, args] of runs.entries()) {
      const { code, stdout, stderr } = await cli(args, env);
      assert.equal(code, 1, stdout);
      if (i === 0) assert.match(stdout, shown);
      assert.doesNotMatch(stdout + stderr, /hunter2|s3cret/);
    }
  };

  // A password must be hidden in every form of URL, also with --json.
  test("of one that leads somewhere, all but the password", async () => {
    await hidden(`redis://alice:${SECRET}@127.0.0.1:1/2`, /✗ redis:\/\/alice:\*\*\*@127\.0\.0\.1:1\/2\n/);
    await hidden(` redis://:${SECRET}@127.0.0.1:1`, /✗ redis:\/\/:\*\*\*@127\.0\.0\.1:1\n/);
    await hidden(
      `unix:///none/r.sock?db=1&user=u&pass=${SECRET}`,
      /✗ unix:\/\/\/none\/r\.sock\?db=1&user=u\n/,
    );
    const url = `REDIS://:${SECRET}@127.0.0.1:1`;
    await hidden(url, /✗ redis:\/\/:\*\*\*@127\.0\.0\.1:1 \(from REDIS_URL\)\n/, { REDIS_URL: url });
  });

  test("of one that is refused, nothing", async () => {
    for (const url of [
      `redis+tls://u:${SECRET}@127.0.0.1`,
      `user:${SECRET}@127.0.0.1`,
      `redis:u:${SECRET}@127.0.0.1`,
      `redis://user:12/${SECRET}@127.0.0.1`,
      `redis://user:12?${SECRET}@127.0.0.1`,
      `redis://user:12#${SECRET}@127.0.0.1`,
      `redis://${SECRET}@127.0.0.1`,
      `redis://127.0.0.1?password=${SECRET}`,
      `unix://:${SECRET}@localhost/r.sock`,
      `"redis://:${SECRET}@127.0.0.1"`,
      SECRET,
    ]) {
      await hidden(url, /✗ the URL\n/);
    }
    await hidden(SECRET, /✗ the URL \(from REDIS_URL\)\n/, { REDIS_URL: SECRET });
  });
});

// A wrong option is an error at once. An ignored `--url` would test the memory store instead of the server.
test("what a command does not take is a wrong call", async () => {
  const url = "redis://127.0.0.1:1";
  const wrong: [string[], RegExp][] = [
    [["doctor", "--url", url], /doctor takes no --url: say covara-kv doctor <url>/],
    [["bench", "--url", url], /bench takes no --url/],
    [["doctor", "--prefix", "p"], /doctor takes no --prefix/],
    [["doctor", "--ex", "1"], /doctor takes no --ex/],
    [["get", "k", "--ex", "1", "--url", url], /get takes no --ex/],
    [["monitor", "c", "--prefix", "p"], /monitor takes no --prefix/],
    [["doctor", "--ca", "file"], /--ca and --insecure are for a server/],
    [["doctor", "memory", "--insecure"], /--ca and --insecure are for a server/],
    [["set", "k", "v", "--url", url, "--ex", "abc"], /--ex takes a whole number/],
    [["set", "k", "v", "--url", url, "--ex", "0"], /--ex takes a whole number/],
    [["set", "k", "v", "--url", url, "--ex", "1.5"], /--ex takes a whole number/],
    [["set", "k", "v", "--url", url, "--ex="], /--ex takes a whole number/],
    [["set", "k", "-5", "--url", url], /There is no option .*after --/],
    [["get", "k", "--url"], /--url needs a value/],
    [["get", "k", "--url", "--json"], /--url needs a value/],
    [["get", "k", "--json=yes"], /--json takes no value/],
    [["get", "k", "--url", url, "--url", url], /--url is given twice/],
    [["get", "k", "--no-json"], /There is no option --no-json/],
    [["doctor", url, "redis://:hunter2@h"], /doctor takes no more than 1 argument/],
    [["set", "k", "v", "hunter2"], /set takes no more than 2 arguments/],
    [["redis://:hunter2@h"], /There is no command of this name/],
    [["get", "--redis://:hunter2@h"], /There is no option of this name/],
  ];
  for (const [args, message] of wrong) {
    const { code, stdout, stderr } = await cli(args);
    assert.deepEqual([code, stdout], [2, ""], args.join(" "));
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /hunter2/);
  }
});

// If `doctor` ignores REDIS_URL, it checks the memory store and reports success.
test("REDIS_URL is the server of every command, and it is said", async () => {
  const server = await startRedis();
  const REDIS_URL = `redis://${server.host}:${server.port}`;
  try {
    const { code, stdout } = await cli(["doctor"], { REDIS_URL });
    assert.equal(code, 0);
    assert.ok(stdout.includes(`✓ ${REDIS_URL} (from REDIS_URL)\n`), stdout);
    const report = JSON.parse((await cli(["doctor", "--json"], { REDIS_URL })).stdout);
    assert.deepEqual([report.url, report.from], [REDIS_URL, "REDIS_URL"]);
    assert.match((await cli(["doctor", "memory"], { REDIS_URL })).stdout, /✓ the memory store\n/);
    const named = await cli(["doctor", REDIS_URL], { REDIS_URL: "redis://127.0.0.1:1" });
    assert.ok(named.stdout.includes(`✓ ${REDIS_URL}\n`), named.stdout);
  } finally {
    await server.stop();
  }
  for (const args of [["get", "k"], ["bench"]]) {
    const { code, stderr } = await cli(args, { REDIS_URL: `redis://:${SECRET}@127.0.0.1:1` });
    assert.equal(code, 1);
    assert.match(stderr, /CONNECTION.*\n.*\nThe URL is from REDIS_URL\.\n$/);
  }
  const empty = await cli(["doctor"], { REDIS_URL: "" });
  assert.equal(empty.code, 1);
  assert.match(empty.stdout, /✗ the URL \(from REDIS_URL\)/);
});

test("help, the version, and wrong calls", async () => {
  const help = await cli(["--help"]);
  assert.equal(help.code, 0);
  for (const command of ["doctor", "bench", "get", "set", "keys", "scan", "monitor"]) {
    assert.match(help.stdout, new RegExp(`^  ${command} `, "m"));
  }
  assert.equal((await cli(["--version"])).stdout, `${require("covara-kv/package.json").version}\n`);
  for (const args of [
    [],
    ["frobnicate"],
    ["get"],
    ["get", "a", "b"],
    ["doctor", "--wrong"],
    ["constructor"],
  ]) {
    const { code, stdout, stderr } = await cli(args);
    assert.deepEqual([code, stdout], [2, ""], args.join(" "));
    assert.match(stderr, /^covara-kv: .*--help\n$/);
  }
});
