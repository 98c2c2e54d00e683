// guardUnhandledRejections may hide the rejections of an application, or miss those that it is for.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, test } from "node:test";
import { application } from "../package/application.js";

/**
 * A store whose calls fail at once with QUEUE_FULL, as one call waits for a server that does not exist. `unhandled` leaves a rejected
 * Promise without a handler, as the framework's async functions do, and resolves when Node.js has handled it.
 */
const head = `
  const { createRedisKV, guardUnhandledRejections, KVError } = require("covara-kv");
  const { setImmediate: turn } = require("node:timers/promises");
  const open = (prefix) => {
    const kv = createRedisKV({ host: "127.0.0.1", port: 1, maxQueue: 1, queueTimeout: Infinity, commandTimeout: 100 }, prefix);
    kv.ping().catch(() => {});
    return kv;
  };
  const unhandled = async (call) => {
    const promise = call();
    (async () => { await promise; })();
    await promise.catch(() => {});
    await turn();
    await turn();
  };
  const kv = open();`;

interface Outcome {
  readonly code: unknown;
  readonly output: string;
  readonly errors: string;
}

const directory = application({
  // The package takes its timers when it is loaded, so this file must be loaded before.
  "minutes.cjs": `
    const timers = require("node:timers");
    const { setTimeout } = timers;
    let waiting = [];
    timers.setTimeout = (task, delay, ...args) => {
      if (delay !== 60_000) return setTimeout(task, delay, ...args);
      waiting.push(task);
      return { unref() {} };
    };
    globalThis.passMinute = () => {
      const due = waiting;
      waiting = [];
      for (const task of due) task();
    };`,
});

/** Runs a program with flags of Node.js. Resolves to its exit code and output. */
async function run(
  program: string,
  flags: string[] = [],
  env: Record<string, string> = {},
): Promise<Outcome> {
  const args = [...flags, "--eval", `${head}${program}`];
  const child = spawn(process.execPath, args, { cwd: directory, env: { ...process.env, ...env } });
  const [output, errors]: string[][] = [[], []];
  child.stdout.on("data", (chunk) => output?.push(String(chunk)));
  child.stderr.on("data", (chunk) => errors?.push(String(chunk)));
  const [code, signal] = await once(child, "close");
  const text = (chunks: string[] = []) => chunks.join("").replaceAll(/\(node:\d+\)/g, "(node)");
  return { code: code ?? signal, output: text(output), errors: text(errors) };
}

const MODES = ["", "throw", "strict", "warn", "none", "warn-with-error-code"];
const flagsOf = (mode: string) => (mode === "" ? [] : [`--unhandled-rejections=${mode}`]);

const listeners = {
  "no listener": "",
  "a listener of unhandledRejection": `
    process.on("unhandledRejection", (reason) => console.log("unhandled", String(reason)));
    process.on("rejectionHandled", () => console.log("handled"));`,
  "listeners of uncaughtException": `
    process.on("uncaughtException", (error, origin) => console.log("uncaught", String(error), origin));
    process.on("uncaughtExceptionMonitor", (error, origin) => console.log("monitor", String(error), origin));`,
};

/** Rejections that the guard must not handle, each with the process's listeners. */
const others: [call: string, listener: keyof typeof listeners][] = [
  ["async () => { throw new Error('of no store') }", "no listener"],
  ["async () => { throw undefined }", "no listener"],
  ["() => kv.get('covara:tasks:queue')", "no listener"],
  ["() => kv.get('covara:tasks:queue')", "a listener of unhandledRejection"],
  ["() => kv.get('covara:tasks:queue')", "listeners of uncaughtException"],
];

describe("every other rejection is as if there were no guard", () => {
  for (const mode of MODES) {
    test(mode === "" ? "without a mode" : `--unhandled-rejections=${mode}`, async () => {
      for (const [call, listener] of others) {
        const program = `
          if (process.env.GUARD) guardUnhandledRejections();
          ${listeners[listener]}
          process.on("exit", (code) => console.log("exit", code));
          unhandled(${call}).then(() => { console.log("alive"); process.exit(); });`;
        const [without, withGuard] = await Promise.all([
          run(program, flagsOf(mode)),
          run(program, flagsOf(mode), { GUARD: "1" }),
        ]);
        assert.deepEqual(withGuard, without, `${call}, ${listener}`);
        if (["", "throw", "strict"].includes(mode) && listener === "no listener")
          assert.equal(without.code, 1);
      }
    });
  }
});

test("a changelog entry that is rejected ends nothing, in any mode, with any listener", async () => {
  const outcomes = MODES.map(async (mode) => {
    const program = `
      guardUnhandledRejections();
      for (const event of ["unhandledRejection", "uncaughtException", "uncaughtExceptionMonitor", "rejectionHandled"]) {
        process.on(event, () => process.exit(3));
      }
      let entry;
      unhandled(() => entry = (async () => kv.incr("covara:changelog:seq"))()).then(async () => {
        entry.catch(() => {});
        await turn();
        console.log("alive");
        process.exit();
      });`;
    const { code, output, errors } = await run(program, flagsOf(mode));
    assert.deepEqual([code, output], [0, "alive\n"], mode);
    assert.match(errors, /COVARA_KV_UNHANDLED/, mode);
  });
  await Promise.all(outcomes);
});

test("it knows the calls whose loss harms nothing, and no others", async () => {
  const harmless = [
    "incr('covara:changelog:seq')",
    "zadd('covara:changelog:posts', 1, 'a')",
    "zcard('covara:changelog:posts')",
    "zrange('covara:changelog:posts', 0, 1)",
    "zrem('covara:changelog:posts', 'a')",
    "set('oidc:clients:web', '{}')",
  ];
  const others = [
    "get('users:1')",
    "zrangebyscore('covara:tasks:queue', 0, 1)",
    "set('covara:tasks:lock:1', 'me', { nx: true })",
    "hset('covara:tasks:data:1', 'beat', '1')",
    "zrangebyscore('covara:tasks:recurring', 0, 1)",
    "hset('covara:subs:byres:posts', 'id', '{}')",
    "set('other:clients:web', '{}')",
    "set('app:covara:changelog:seq', '1')",
    "get('covara:changelog')",
    "publish('covara:events', '{}')",
    "keys('covara:changelog:*')",
    "del('covara:changelog:posts', 'users:1')",
    "eval('covara:changelog:x', [], [])",
    "multi().incr('covara:changelog:seq').exec()",
    "set('covara:changelog:x', 5)",
  ];
  const program = `
    const heard = [];
    process.on("unhandledRejection", () => heard.push(true));
    guardUnhandledRejections();
    kv.on("error", () => {});
    const inPrefix = open("app");
    inPrefix.on("error", () => {});
    const isLeft = async (store, call) => {
      heard.length = 0;
      await unhandled(() => eval(\`\${store}.\${call}\`));
      return heard.length === 1;
    };
    (async () => {
      const left = [];
      for (const call of ${JSON.stringify([...harmless, ...others])}) {
        for (const store of ["kv", "inPrefix"]) if (await isLeft(store, call)) left.push(\`\${store}.\${call}\`);
      }
      await kv.disconnect();
      if (await isLeft("kv", "incr('covara:changelog:seq')")) left.push("closed");
      console.log(JSON.stringify(left));
      process.exit();
    })();`;
  const { output, errors } = await run(program);
  const expected = [...others.flatMap((call) => [`kv.${call}`, `inPrefix.${call}`]), "closed"];
  assert.deepEqual(JSON.parse(output || "null"), expected, errors);
});

test("it tells the store's error event, or warns once a minute with the count, and a diagnostics channel", async () => {
  const program = `
    const warnings = [];
    process.emitWarning = (text, { code }) => warnings.push(\`\${code} \${text}\`.replace(/: .*/, ""));
    const told = [];
    require("node:diagnostics_channel").subscribe("covara-kv:unhandled", ({ backend, error }) => told.push(backend, error));
    guardUnhandledRejections();
    const lose = () => unhandled(() => kv.incr("covara:changelog:seq"));
    (async () => {
      for (let i = 0; i < 5; i++) await lose();
      const minutes = [warnings.length];
      for (let i = 0; i < 3; i++) {
        passMinute();
        minutes.push(warnings.length);
      }
      await lose();
      minutes.push(warnings.length);
      const errors = [];
      kv.on("error", (error) => errors.push(error));
      await lose();
      console.log(JSON.stringify({
        minutes, warnings,
        told: told.length, isTold: told[0] === "redis" && told.at(-1) === errors[0] && errors[0] instanceof KVError,
        errors: errors.map(({ code, command }) => [code, command]),
      }));
      process.exit();
    })();`;
  const { output, errors } = await run(program, ["--require", "./minutes.cjs"]);
  const warned = (calls: string) =>
    `COVARA_KV_UNHANDLED ${calls} that the framework does not wait for failed`;
  assert.deepEqual(
    JSON.parse(output || "null"),
    {
      minutes: [1, 2, 2, 2, 3],
      warnings: [warned("A call"), warned("4 calls"), warned("A call")],
      told: 14,
      isTold: true,
      errors: [["QUEUE_FULL", "INCR"]],
    },
    errors,
  );
});

test("an error shows nothing that it did not before", async () => {
  const program = `
    const { inspect } = require("node:util");
    const shown = async (key) => {
      const error = await kv.incr(key).catch((error) => error);
      const text = [inspect(error, { showHidden: true, depth: 9 }), JSON.stringify(error), String(error), error.stack].join();
      return [text, Reflect.ownKeys(error).map(String).join()];
    };
    const both = async () => {
      const results = [];
      // Both errors come from the same place, as a stack shows the place of the call.
      for (const key of ["covara:changelog:seq", "users:1"]) results.push(await shown(key));
      return results;
    };
    both().then(([ours, other]) => {
      console.log(JSON.stringify(ours) === JSON.stringify(other), ours[0].includes("changelog"));
      process.exit();
    });`;
  assert.equal((await run(program)).output, "true false\n");
});

test("what is undone is undone, once for each call, and nothing of it shows", async () => {
  const program = `
    const { emit } = process;
    const keys = Object.keys(process).join();
    const own = () => Object.hasOwn(process, "emit");
    const before = own();
    const [first, second] = [guardUnhandledRejections(), guardUnhandledRejections()];
    const lines = [process.emit !== emit, keys === Object.keys(process).join()];
    first(); first();
    lines.push(process.emit !== emit);
    second();
    lines.push(process.emit === emit, own() === before);
    // Another package replaces process.emit later, as signal-exit does.
    const third = guardUnhandledRejections();
    const guarded = process.emit;
    let seen = 0;
    process.emit = function (event, ...args) {
      if (event === "unhandledRejection") seen += 1;
      return guarded.call(this, event, ...args);
    };
    const theirs = process.emit;
    third();
    process.on("unhandledRejection", () => lines.push("heard"));
    const lose = () => unhandled(() => kv.incr("covara:changelog:seq"));
    (async () => {
      await lose();
      guardUnhandledRejections();
      lines.push(process.emit === theirs);
      await lose();
      lines.push(seen);
      console.log(JSON.stringify(lines));
      process.exit();
    })();`;
  const { output, errors } = await run(program);
  assert.deepEqual(JSON.parse(output || "null"), [true, true, true, true, true, "heard", true, 2], errors);
});

for (const [guard, store] of [
  ["another", "this"],
  ["this", "another"],
]) {
  test(`the guard of ${guard} copy and realm knows the errors of ${store} one`, async () => {
    const program = `
      const { readFileSync } = require("node:fs");
      const { createRequire } = require("node:module");
      const vm = require("node:vm");
      const file = require.resolve("covara-kv");
      const other = { exports: {} };
      const context = vm.createContext({ process, Buffer, TextEncoder, setTimeout, clearTimeout, queueMicrotask });
      const source = "(function (exports, require, module, __filename, __dirname) {" + readFileSync(file, "utf8") + "})";
      const directory = require("node:path").dirname(file);
      vm.runInContext(source, context)(other.exports, createRequire(file), other, file, directory);
      const copies = { this: require("covara-kv"), another: other.exports };
      if (copies.this.createRedisKV === copies.another.createRedisKV) throw new Error("it is to be another copy");
      copies.${guard}.guardUnhandledRejections();
      const theirs = copies.${store}.createRedisKV({ host: "127.0.0.1", port: 1, maxQueue: 1, queueTimeout: Infinity });
      theirs.ping().catch(() => {});
      unhandled(() => theirs.incr("covara:changelog:seq")).then(() => { console.log("alive"); process.exit(); });`;
    const { output, errors } = await run(program);
    assert.equal(output, "alive\n", errors);
  });
}
