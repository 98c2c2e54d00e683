// Functions in a configuration, which are called before each connection.
import type { RedisAnswer } from "../../native.js";
import { isText } from "../arguments.js";
import type { RedisConfig, RedisNode } from "../config.js";
import { isError } from "../errors.js";
import type { Given } from "../fields.js";

/** What native code asks. */
export interface Question {
  /** Whether the functions for the Sentinels are meant. */
  readonly ofSentinels: boolean;
  readonly what: "credentials" | "address" | "servername";
  /** The server in question, if it is not about credentials. */
  readonly node: RedisNode;
}

/** Gives what the functions give, or as `failure` which of them gave nothing, and why. Never rejects. */
export type AskFunctions = (question: Question) => Promise<RedisAnswer>;

/** A function, and where it is. */
interface Source {
  readonly path: string;
  readonly call: (node: RedisNode) => unknown;
}

/** Those that are functions. */
interface Functions {
  readonly username: Source | undefined;
  readonly password: Source | undefined;
  readonly servername: Source | undefined;
  readonly addressMap: Source | undefined;
}

/** The functions of a configuration. */
export interface ConfigFunctions {
  readonly own: Functions;
  readonly ofSentinels: Functions;
}

export function functionsOf({ sentinel, cluster, ...given }: Given<RedisConfig>): ConfigFunctions {
  const servername =
    sourceOf(cluster?.servername, "redis.cluster.servername") ?? servernameOf(given.tls, "redis.tls");
  return {
    own: {
      username: sourceOf(given.username, "redis.username"),
      password: sourceOf(given.password, "redis.password"),
      servername,
      addressMap: sourceOf(cluster?.addressMap, "redis.cluster.addressMap"),
    },
    ofSentinels: {
      username: sourceOf(sentinel?.username, "redis.sentinel.username"),
      password: sourceOf(sentinel?.password, "redis.sentinel.password"),
      // What is not said of the Sentinels' TLS is as with the master.
      servername:
        typeof sentinel?.tls === "object" ? servernameOf(sentinel.tls, "redis.sentinel.tls") : servername,
      addressMap: undefined,
    },
  };
}

function servernameOf(tls: RedisConfig["tls"], path: string): Source | undefined {
  return typeof tls === "object" ? sourceOf(tls.servername, `${path}.servername`) : undefined;
}

function sourceOf(value: unknown, path: string): Source | undefined {
  return typeof value === "function" ? { path, call: value as Source["call"] } : undefined;
}

/** Nothing if there are no functions. */
export function askerOf({ own, ofSentinels }: ConfigFunctions): AskFunctions | undefined {
  if (![own, ofSentinels].some((all) => Object.values(all).some(Boolean))) return undefined;
  return async (question) => {
    try {
      return await answer(question.ofSentinels ? ofSentinels : own, question);
    } catch (error) {
      return { failure: (error as Error).message };
    }
  };
}

async function answer(functions: Functions, { what, node }: Question): Promise<RedisAnswer> {
  switch (what) {
    case "credentials": {
      const { username, password } = functions;
      const [name, secret] = await Promise.all([askForText(username, node), askForText(password, node)]);
      return {
        ...(name !== undefined && { username: name }),
        ...(secret !== undefined && { password: secret }),
      };
    }
    case "servername": {
      const servername = await askForText(functions.servername, node);
      return servername === undefined ? {} : { servername };
    }
    case "address":
      return askForNode(functions.addressMap, node);
  }
}

async function askForText(source: Source | undefined, node: RedisNode): Promise<string | undefined> {
  if (source === undefined) return undefined;
  const given = await ask(source, node);
  if (given === "") throw failed(source, "gave an empty string");
  if (isText(given)) return given;
  throw failed(source, `must give a string, got ${kindOf(given)}`);
}

/** Nothing for an address that leads where it says. */
async function askForNode(source: Source | undefined, node: RedisNode): Promise<Partial<RedisNode>> {
  const given = source && (await ask(source, node));
  if (source === undefined || given === undefined || given === null) return {};
  const { host, port } = Object(given) as Partial<Record<keyof RedisNode, unknown>>;
  const isPort = typeof port === "number" && Number.isInteger(port) && port >= 1 && port <= 65_535;
  if (isText(host) && host !== "" && !host.includes("\0") && isPort) return { host, port };
  throw failed(source, `must give { host, port } or undefined, got ${kindOf(given)}`);
}

async function ask(source: Source, node: RedisNode): Promise<unknown> {
  try {
    return await source.call({ ...node });
  } catch (error) {
    throw failed(source, `failed: ${isError(error) ? error.message : typeof error}`);
  }
}

const kindOf = (given: unknown) => (given === null ? "null" : typeof given);

function failed({ path }: Source, what: string): Error {
  return new Error(`${path}() ${what}`);
}
