// Functions in a configuration, which are called before each connection.
import type { RedisAnswer } from "../../native.js";
import { isText } from "../arguments.js";
import type { RedisNode } from "../config.js";
import { isError } from "../errors.js";
import { defined } from "../own.js";

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

/** A function of a configuration. Its type is checked where the configuration is written. */
export type AnyFunction = (...args: never[]) => unknown;

/** A function of a configuration, and where it is. */
interface ConfigFunction {
  readonly path: string;
  readonly call: (node: RedisNode) => unknown;
}

/** Those that are functions. */
export interface Functions {
  readonly username: ConfigFunction | undefined;
  readonly password: ConfigFunction | undefined;
  readonly servername: ConfigFunction | undefined;
  readonly addressMap: ConfigFunction | undefined;
}

/** The functions of a configuration. */
export interface ConfigFunctions {
  readonly own: Functions;
  readonly ofSentinels: Functions;
}

/** The fields of a configuration that may be functions. */
interface Fields {
  readonly username: unknown;
  readonly password: unknown;
  readonly tls: Security | undefined;
  readonly sentinel: Omit<Fields, "sentinel" | "cluster"> | undefined;
  readonly cluster: { readonly servername: unknown; readonly addressMap: unknown } | undefined;
}

interface Security {
  readonly tls: { readonly servername: unknown } | undefined;
}

export function functionsOf({ sentinel, cluster, ...fields }: Fields): ConfigFunctions {
  const servername =
    functionOf(cluster?.servername, "redis.cluster.servername") ?? servernameOf(fields.tls, "redis.tls");
  return {
    own: {
      username: functionOf(fields.username, "redis.username"),
      password: functionOf(fields.password, "redis.password"),
      servername,
      addressMap: functionOf(cluster?.addressMap, "redis.cluster.addressMap"),
    },
    ofSentinels: {
      username: functionOf(sentinel?.username, "redis.sentinel.username"),
      password: functionOf(sentinel?.password, "redis.sentinel.password"),
      // What is not said of the Sentinels' TLS is as with the master.
      servername:
        sentinel?.tls?.tls === undefined ? servername : servernameOf(sentinel.tls, "redis.sentinel.tls"),
      addressMap: undefined,
    },
  };
}

function servernameOf(security: Security | undefined, path: string): ConfigFunction | undefined {
  return functionOf(security?.tls?.servername, `${path}.servername`);
}

function functionOf(value: unknown, path: string): ConfigFunction | undefined {
  return typeof value === "function" ? { path, call: value as ConfigFunction["call"] } : undefined;
}

/** Nothing if there are no functions. */
export function askerOf({ own, ofSentinels }: ConfigFunctions): AskFunctions | undefined {
  if (![own, ofSentinels].some((all) => Object.values(all).some(Boolean))) return undefined;
  return async (question) => {
    try {
      // Native code would take a field that is missing from Object.prototype.
      return defined(await answer(question.ofSentinels ? ofSentinels : own, question));
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

async function askForText(asked: ConfigFunction | undefined, node: RedisNode): Promise<string | undefined> {
  if (asked === undefined) return undefined;
  const given = await ask(asked, node, (given) => given);
  if (given === "") throw failed(asked, "gave an empty string");
  if (isText(given)) return given;
  throw failed(asked, `must give a string, got ${kindOf(given)}`);
}

/** Nothing for an address that leads where it says. */
async function askForNode(asked: ConfigFunction | undefined, node: RedisNode): Promise<Partial<RedisNode>> {
  if (asked === undefined) return {};
  const { kind, host, port } = await ask(asked, node, (given) => {
    const { host, port } = Object(given) as Partial<Record<keyof RedisNode, unknown>>;
    return { kind: kindOf(given), host, port };
  });
  if (kind === "undefined" || kind === "null") return {};
  const isPort = typeof port === "number" && Number.isInteger(port) && port >= 1 && port <= 65_535;
  if (isText(host) && host !== "" && !host.includes("\0") && isPort) return { host, port };
  throw failed(asked, `must give { host, port } or undefined, got ${kind}`);
}

/** `read` is given the answer: getters of it may throw as well. */
async function ask<T>(asked: ConfigFunction, node: RedisNode, read: (given: unknown) => T): Promise<T> {
  try {
    return read(await asked.call({ ...node }));
  } catch (error) {
    throw failed(asked, `failed: ${messageOf(error)}`);
  }
}

/** The type of what is no Error with a message. */
function messageOf(error: unknown): string {
  try {
    const message: unknown = isError(error) ? error.message : undefined;
    if (typeof message === "string") return message;
  } catch {
    // A getter of the Error threw.
  }
  return typeof error;
}

const kindOf = (given: unknown) => (given === null ? "null" : typeof given);

function failed({ path }: ConfigFunction, what: string): Error {
  return new Error(`${path}() ${what}`);
}
