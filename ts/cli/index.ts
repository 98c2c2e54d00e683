#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { explain } from "./explain.js";
import type { Options } from "./store.js";
import { fail, printJson } from "./terminal.js";

const HELP = `A look at a key-value store: the memory store of covara-kv, or a Redis server.

Usage: covara-kv <command> [arguments] [options]

Commands:
  doctor [url]         what is installed here, and how the store at the URL does (the memory store without one)
  bench [url]          a short benchmark (of the memory store without a URL)
  get <key>            the value of a string
  set <key> <value>    sets a string
  keys <pattern>       the keys that match a pattern, all at once
  scan [pattern]       the same, page by page
  monitor <channel>    what is published on a channel, or on those that match a pattern, until Ctrl-C

Options:
  --url <url>          the server for get, set, keys, scan and monitor; else REDIS_URL, else redis://127.0.0.1:6379
  --prefix <prefix>    the store's prefix; none by default
  --ca <file>          the authority of the server's certificate, in PEM
  --insecure           takes any certificate
  --ex <seconds>       how long what is set lives
  --json               prints JSON, one object a line
  -h, --help           prints this
  -v, --version        prints the version

Exit codes: 0, 1 if something failed or is not there, 2 for a wrong call.
`;

const OPTIONS = {
  url: { type: "string" },
  prefix: { type: "string" },
  ca: { type: "string" },
  insecure: { type: "boolean" },
  ex: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
  version: { type: "boolean", short: "v" },
} as const;

/** Resolves to the exit code. */
type Run = (options: Options, args: string[]) => Promise<number>;

/**
 * How many arguments each command takes, and what it does. It is loaded when it is called: where there is no binary
 * for the platform, that is to be told as any other failure.
 */
const COMMANDS: Record<string, { least: number; most: number; load(): Promise<Run> }> = {
  doctor: { least: 0, most: 1, load: async () => (await import("./doctor.js")).doctor },
  bench: { least: 0, most: 1, load: async () => (await import("./bench.js")).bench },
  get: { least: 1, most: 1, load: async () => (await import("./look.js")).get },
  set: { least: 2, most: 2, load: async () => (await import("./look.js")).set },
  keys: { least: 1, most: 1, load: async () => (await import("./look.js")).keys },
  scan: { least: 0, most: 1, load: async () => (await import("./look.js")).scan },
  monitor: { least: 1, most: 1, load: async () => (await import("./look.js")).monitor },
};

async function main(argv: string[]): Promise<number> {
  let parsed: ReturnType<typeof read>;
  try {
    parsed = read(argv);
  } catch (error) {
    return wrongCall((error as Error).message);
  }
  const { values, positionals } = parsed;
  const [name, ...args] = positionals;
  if (values.version) {
    process.stdout.write(`${version()}\n`);
    return 0;
  }
  if (values.help || name === "help") {
    process.stdout.write(HELP);
    return 0;
  }
  if (name === undefined) return wrongCall("A command is missing");
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) return wrongCall(`There is no command ${JSON.stringify(name)}`);
  if (args.length < command.least) return wrongCall(`${name}: an argument is missing`);
  if (args.length > command.most)
    return wrongCall(`${name}: ${JSON.stringify(args[command.most])} is too much`);
  try {
    const run = await command.load();
    return await run({ ...values, version: version() }, args);
  } catch (error) {
    const { code, message, cause } = explain(error);
    if (values.json) printJson({ ok: false, code, message, cause });
    else fail(cause === "" ? message : `${message}\n${cause}`);
    return 1;
  }
}

function read(argv: string[]) {
  return parseArgs({ args: argv, options: OPTIONS, allowPositionals: true });
}

function version(): string {
  return JSON.parse(readFileSync(join(__dirname, "../package.json"), "utf8")).version;
}

function wrongCall(message: string): number {
  fail(`${message}. See covara-kv --help`);
  return 2;
}

// Whoever reads the output may have had enough of it.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit();
});

main(process.argv.slice(2)).then((code) => {
  process.exitCode = code;
});
