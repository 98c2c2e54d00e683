// A suite that knows one server fails on another. The answers of each server are pinned here; tests that pass only on some servers ask
// __test__/servers.ts.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Redis, type RedisOptions } from "ioredis";
import { software, startRedis } from "../redis-server.js";
import { differsIn, type Row, rowNames } from "../servers.js";
import { pipeline, useRedis } from "./redis.js";

/** The answer of a server: a value, or the pattern of an error. */
type Answer = unknown | RegExp;

interface Difference {
  readonly row: Row;
  readonly command: readonly string[];
  readonly "Redis 6.2": Answer;
  readonly "Redis 7.0": Answer;
  /** If left out, the answer of 7.0. The same for Valkey's. */
  readonly "Redis 7.4"?: Answer;
  readonly "Valkey 9.1"?: Answer;
}

const evaluated = (script: string) => ["EVAL", script, "1", "z"];
/** The error of a script before 7.0, which wraps this error. */
const old = (error: string) =>
  new RegExp(`^ERR Error running script \\(call to f_[0-9a-f]{40}\\): @\\w+:\\d+: ${error}`);

/** A member too long for the compact encoding of a sorted set. */
const LONG = "m".repeat(65);

const DIFFERENCES: readonly Difference[] = [
  {
    row: "A number in a script, and a score as text",
    command: evaluated("redis.call('SET', 's', 0.1) return redis.call('GET', 's')"),
    "Redis 6.2": "0.10000000000000001",
    "Redis 7.0": "0.10000000000000001",
    "Redis 7.4": "0.1",
    "Valkey 9.1": "0.1",
  },
  {
    row: "A number in a script, and a score as text",
    command: ["ZINCRBY", "z", "0.1", "n"],
    "Redis 6.2": "0.10000000000000001",
    "Redis 7.0": "0.10000000000000001",
    "Redis 7.4": "0.1",
    "Valkey 9.1": "0.1",
  },
  {
    row: "A cursor of SCAN that is none",
    command: ["SCAN", " 0", "TYPE", "string"],
    "Redis 6.2": /^ERR invalid cursor$/,
    "Redis 7.0": /^ERR invalid cursor$/,
    "Redis 7.4": ["0", []],
    "Valkey 9.1": ["0", []],
  },
  {
    row: "A cursor of SCAN that is none",
    command: ["SCAN", "", "TYPE", "string"],
    "Redis 6.2": ["0", []],
    "Redis 7.0": ["0", []],
    "Redis 7.4": /^ERR invalid cursor$/,
    "Valkey 9.1": /^ERR invalid cursor$/,
  },
  {
    row: "A negative offset of LIMIT",
    command: ["ZRANGEBYSCORE", "large", "-inf", "+inf", "LIMIT", "-2", "1"],
    "Redis 6.2": [],
    "Redis 7.0": [],
    "Redis 7.4": [LONG],
    "Valkey 9.1": [LONG],
  },
  {
    row: "A negative offset of LIMIT",
    command: ["ZRANGEBYSCORE", "z", "-inf", "+inf", "LIMIT", "-1", "1"],
    "Redis 6.2": [],
    "Redis 7.0": [],
  },
  {
    row: "A blank before a bound of scores, hexadecimal digits",
    command: ["ZRANGEBYSCORE", "z", " 1", "0x10"],
    "Redis 6.2": ["m"],
    "Redis 7.0": ["m"],
    "Valkey 9.1": /^ERR min or max is not a float$/,
  },
  {
    row: "An error in a script",
    command: evaluated("return redis.call('LPUSH', KEYS[1], 'a')"),
    "Redis 6.2": old("WRONGTYPE Operation"),
    "Redis 7.0": /^WRONGTYPE Operation .* script: [0-9a-f]{40}, on @user_script:1\.$/,
    "Valkey 9.1": /^WRONGTYPE Operation .* script: on @user_script:1\.$/,
  },
  {
    row: "An error in a script",
    command: evaluated("return redis.call('NOPE')"),
    "Redis 6.2": old("@user_script: 1: Unknown Redis command called from Lua script"),
    "Redis 7.0": /^ERR Unknown Redis command called from script script: /,
    "Valkey 9.1": /^ERR Unknown command called from script script: /,
  },
  {
    row: "An error in a script",
    command: evaluated("return redis.call('MULTI')"),
    "Redis 6.2": old("@user_script: 1: This Redis command is not allowed from scripts"),
    "Redis 7.0": /^ERR This Redis command is not allowed from script script: /,
    "Valkey 9.1": /^ERR This Valkey command is not allowed from script script: /,
  },
  {
    row: "An error in a script",
    command: evaluated("return redis.error_reply('boom')"),
    "Redis 6.2": /^boom$/,
    "Redis 7.0": /^ERR boom$/,
  },
  {
    row: "What a script may change",
    command: evaluated("string.own = 1 return string.own"),
    "Redis 6.2": 1,
    "Redis 7.0": /Attempt to modify a readonly table/,
  },
  {
    row: "The words of an expiry that is refused",
    command: ["SET", "s", "v", "EX", "0"],
    "Redis 6.2": /^ERR invalid expire time in set$/,
    "Redis 7.0": /^ERR invalid expire time in 'set' command$/,
  },
  {
    row: "What came with 7.0",
    command: evaluated("#!lua flags=no-writes\nreturn 1"),
    "Redis 6.2": /^ERR Error compiling script /,
    "Redis 7.0": 1,
  },
  {
    row: "What came with 7.0",
    command: ["EXPIRE", "z", "1000", "NX"],
    "Redis 6.2": /^ERR wrong number of arguments for 'expire' command$/,
    "Redis 7.0": 1,
  },
  {
    row: "What came after 7.0",
    command: ["ZRANK", "z", "m", "WITHSCORE"],
    "Redis 6.2": /^ERR wrong number of arguments for 'zrank' command$/,
    "Redis 7.0": /^ERR wrong number of arguments for 'zrank' command$/,
    "Redis 7.4": [0, "1"],
    "Valkey 9.1": [0, "1"],
  },
];

/** The data before each command. */
const GIVEN = [["FLUSHALL"], ["ZADD", "z", "1", "m"], ["ZADD", "large", "1", "a", "2", LONG, "3", "n"]];

const redis = useRedis();
const { name, version } = software();

/** The expected answer: that of the newest known version that is not newer than the server. */
function expectedOf(difference: Difference): Answer {
  const known = (["Redis 6.2", "Redis 7.0", "Redis 7.4", "Valkey 9.1"] as const).filter((column) => {
    const [itsName, itsVersion] = column.split(" ");
    return itsName === name && Number(itsVersion) <= Number(version.slice(0, 2).join("."));
  });
  const column = known.at(-1);
  assert.ok(column, `nothing is known of ${name} ${version.join(".")}`);
  return column in difference ? difference[column] : difference["Redis 7.0"];
}

for (const difference of DIFFERENCES) {
  const { row, command } = difference;
  test(`${row}: ${JSON.stringify(command)}`, async () => {
    const replies = await pipeline(redis.client, [...GIVEN, [...command]]);
    const reply = replies.at(-1);
    const expected = expectedOf(difference);
    if (expected instanceof RegExp) assert.match((reply as Error).message, expected);
    else assert.deepEqual(reply, expected);
  });
}

const STARS: Row = "A pattern of many stars";

test(`${STARS}: no other client is answered, or the answer is there at once`, async () => {
  await using server = await disposable();
  const [asking, other] = [server.connect(), server.connect({ commandTimeout: 1_000 })];
  await asking.set("a".repeat(1_000), "v");
  await other.ping();
  const answer = asking.keys(`${"*a".repeat(40)}*b`);
  answer.catch(() => {});
  if (differsIn(STARS)) await assert.rejects(other.ping(), /Command timed out/);
  else assert.deepEqual(await answer, []);
});

/** A server of its own, as the test leaves it busy for longer than other tests can wait. */
async function disposable() {
  const server = await startRedis();
  const clients: Redis[] = [];
  return {
    connect(options: RedisOptions = {}): Redis {
      const { host, port } = server;
      const client = new Redis({ ...options, host, port, retryStrategy: () => null });
      client.on("error", () => {});
      clients.push(client);
      return client;
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.disconnect();
      await server.stop();
    },
  };
}

test("docs/compatibility.md has a row for each", () => {
  const docs = readFileSync(join(__dirname, "../../docs/compatibility.md"), "utf8");
  for (const row of rowNames) assert.ok(docs.includes(`\n| ${row} |`), row);
});
