#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { explain } from "./explain.js";
import type { CliOptions, Target } from "./store.js";
import { fail, printJson, WrongCall } from "./terminal.js";

const HELP = `A look at a key-value store: the memory store of covara-kv, or a Redis server.

Usage: covara-kv <command> [arguments] [options]

Commands:
  doctor [url|memory]  what is installed here, and how a store does
  bench [url|memory]   a short benchmark of a store
  get <key>            the value of a string
  set <key> <value>    sets a string
  keys <pattern>       the keys that match a pattern, all at once
  scan [pattern]       the same, page by page
  monitor <channel>    what is published on a channel, or on those that match a pattern, until Ctrl-C

The server is that of REDIS_URL where no URL is given. Without either, doctor and bench use the memory store, and the
others redis://127.0.0.1:6379.

Options:
  --url <url>          the server for get, set, keys, scan and monitor
  --cluster <nodes>    host:port,host:port,… of a cluster, or redis://user:password@host:port,…, for doctor
  --prefix <prefix>    the store's prefix, for bench, get, set, keys and scan; none by default
  --ca <file>          the authority of the server's certificate, in PEM
  --insecure           takes any certificate
  --ex <seconds>       how long what is set lives
  --json               prints JSON, one object a line
  -h, --help           prints this
  -v, --version        prints the version

An option that a command does not take is a wrong call.
Exit codes: 0, 1 if something failed or is not there, 2 for a wrong call.
`;

const OPTIONS = {
  url: { type: "string" },
  cluster: { type: "string" },
  prefix: { type: "string" },
  ca: { type: "string" },
  insecure: { type: "boolean" },
  ex: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
  version: { type: "boolean", short: "v" },
} as const;

type Option = keyof typeof OPTIONS;

/** Resolves to the exit code. */
type CliRun = (target: Target, options: CliOptions, args: string[]) => Promise<number>;

interface CliCommand {
  /** Whether its first argument selects the store, and not `--url`. */
  readonly byArgument?: true;
  /** The number of its arguments. */
  readonly least: number;
  readonly most: number;
  readonly options: readonly Option[];
  /** Loads it when it is called: a missing binary must be reported like any other failure. */
  load(): Promise<CliRun>;
}

const SERVER = ["ca", "insecure", "json"] as const;
const LOOK = [...SERVER, "url", "prefix"] as const;
const keyCommands = () => import("./key-commands.js");

const COMMANDS: Record<string, CliCommand> = {
  doctor: {
    ...{ byArgument: true, least: 0, most: 1, options: [...SERVER, "cluster"] },
    load: async () => (await import("./doctor.js")).doctor,
  },
  bench: {
    ...{ byArgument: true, least: 0, most: 1, options: [...SERVER, "prefix"] },
    load: async () => (await import("./bench.js")).bench,
  },
  get: { least: 1, most: 1, options: LOOK, load: async () => (await keyCommands()).get },
  set: { least: 2, most: 2, options: [...LOOK, "ex"], load: async () => (await keyCommands()).set },
  keys: { least: 1, most: 1, options: LOOK, load: async () => (await keyCommands()).keys },
  scan: { least: 0, most: 1, options: LOOK, load: async () => (await keyCommands()).scan },
  monitor: {
    least: 1,
    most: 1,
    options: [...SERVER, "url"],
    load: async () => (await keyCommands()).monitor,
  },
};

type Values = { [O in Option]?: (typeof OPTIONS)[O]["type"] extends "string" ? string : boolean };

async function main(argv: string[]): Promise<number> {
  let json = false;
  let target: Target = {};
  try {
    const { values, positionals } = read(argv);
    json = values.json === true;
    const [name, ...args] = positionals;
    if (values.version) {
      process.stdout.write(`${version()}\n`);
      return 0;
    }
    if (values.help || name === "help") {
      process.stdout.write(HELP);
      return 0;
    }
    const command = commandOf(name, args, values);
    target = targetOf(command, args[0], values);
    const run = await command.load();
    return await run(target, Object.assign(values, { version: version() }), args);
  } catch (error) {
    if (error instanceof WrongCall) {
      fail(`${error.message}. See covara-kv --help`);
      return 2;
    }
    const { code, message, cause } = explain(error);
    const { from } = target;
    if (json) printJson({ ok: false, ...(from !== undefined && { from }), code, message, cause });
    else fail(...[message, cause, from ? `The URL is from ${from}.` : ""].filter((line) => line !== ""));
    return 1;
  }
}

/** The options, each at most once, and the other words. Errors do not repeat a wrong word, which may be a password. */
function read(argv: string[]): { values: Values; positionals: string[] } {
  const options = OPTIONS as Record<Option, { type: "string" | "boolean" }>;
  // Not strict: its errors repeat the refused word.
  const { tokens, positionals } = parseArgs({
    ...{ args: argv, options, allowPositionals: true, strict: false, tokens: true },
  });
  const values: Record<string, string | boolean> = Object.create(null);
  for (const token of tokens) {
    if (token.kind !== "option") continue;
    const { name, value, inlineValue } = token;
    if (!Object.hasOwn(OPTIONS, name)) {
      const option = nameable(`--${name}`);
      throw new WrongCall(`There is no option ${option}: what begins with a dash and is none comes after --`);
    }
    if (name in values) throw new WrongCall(`--${name} is given twice`);
    const isText = options[name as Option].type === "string";
    if (!isText && inlineValue) throw new WrongCall(`--${name} takes no value`);
    if (isText && (value === undefined || (!inlineValue && value.startsWith("-")))) {
      throw new WrongCall(`--${name} needs a value: --${name}=<value>`);
    }
    values[name] = isText ? (value as string) : true;
  }
  return { values: values as Values, positionals };
}

/** The command of a name. Throws for wrong arguments or options. */
function commandOf(name: string | undefined, args: readonly string[], values: Values): CliCommand {
  if (name === undefined) throw new WrongCall("A command is missing");
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) throw new WrongCall(`There is no command ${nameable(name)}`);
  if (args.length < command.least) throw new WrongCall(`${name}: an argument is missing`);
  if (args.length > command.most) {
    throw new WrongCall(
      `${name} takes no more than ${command.most} argument${command.most === 1 ? "" : "s"}`,
    );
  }
  for (const option of Object.keys(values) as Option[]) {
    if (command.options.includes(option)) continue;
    const instead = option === "url" && command.byArgument ? `: say covara-kv ${name} <url>` : "";
    throw new WrongCall(`${name} takes no --${option}${instead}`);
  }
  return command;
}

/** The store of a command. */
function targetOf({ byArgument }: CliCommand, word: string | undefined, { url, cluster }: Values): Target {
  if (cluster !== undefined) {
    if (word !== undefined) throw new WrongCall("Either --cluster or a URL says where the servers are");
    return { cluster };
  }
  const given = byArgument ? word : url;
  if (byArgument && given === "memory") return {};
  if (given !== undefined) return { url: given };
  const { REDIS_URL } = process.env;
  if (REDIS_URL !== undefined) return { url: REDIS_URL, from: "REDIS_URL" };
  return byArgument ? {} : { url: "redis://127.0.0.1:6379" };
}

/** An unknown word for an error message, if it looks like a name and not like a URL or a password. */
function nameable(word: string): string {
  return /^-{0,2}[a-z][a-z-]{0,20}$/.test(word) ? word : "of this name";
}

function version(): string {
  return JSON.parse(readFileSync(join(__dirname, "../package.json"), "utf8")).version;
}

// The reader of the output may close the pipe, as `head` does.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit();
});

main(process.argv.slice(2)).then((code) => {
  process.exitCode = code;
});
