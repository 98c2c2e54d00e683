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

/** A function of a configuration, and where it is. */
interface ConfigFunction {
  readonly path: string;
  readonly call: (node: RedisNode) => unknown;
}

/** Those that are functions. */
interface Functions {
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

export function functionsOf({ sentinel, cluster, ...given }: Given<RedisConfig>): ConfigFunctions {
  const servername =
    functionOf(cluster?.servername, "redis.cluster.servername") ?? servernameOf(given.tls, "redis.tls");
  return {
    own: {
      username: functionOf(given.username, "redis.username"),
      password: functionOf(given.password, "redis.password"),
      servername,
      addressMap: functionOf(cluster?.addressMap, "redis.cluster.addressMap"),
    },
    ofSentinels: {
      username: functionOf(sentinel?.username, "redis.sentinel.username"),
      password: functionOf(sentinel?.password, "redis.sentinel.password"),
      // What is not said of the Sentinels' TLS is as with the master.
      servername:
        typeof sentinel?.tls === "object" ? servernameOf(sentinel.tls, "redis.sentinel.tls") : servername,
      addressMap: undefined,
    },
  };
}

function servernameOf(tls: RedisConfig["tls"], path: string): ConfigFunction | undefined {
  return typeof tls === "object" ? functionOf(tls.servername, `${path}.servername`) : undefined;
}

function functionOf(value: unknown, path: string): ConfigFunction | undefined {
  return typeof value === "function" ? { path, call: value as ConfigFunction["call"] } : undefined;
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

async function askForText(asked: ConfigFunction | undefined, node: RedisNode): Promise<string | undefined> {
  if (asked === undefined) return undefined;
  const given = await ask(asked, node);
  if (given === "") throw failed(asked, "gave an empty string");
  if (isText(given)) return given;
  throw failed(asked, `must give a string, got ${kindOf(given)}`);
}

/** Nothing for an address that leads where it says. */
async function askForNode(asked: ConfigFunction | undefined, node: RedisNode): Promise<Partial<RedisNode>> {
  const given = asked && (await ask(asked, node));
  if (asked === undefined || given === undefined || given === null) return {};
  const { host, port } = Object(given) as Partial<Record<keyof RedisNode, unknown>>;
  const isPort = typeof port === "number" && Number.isInteger(port) && port >= 1 && port <= 65_535;
  if (isText(host) && host !== "" && !host.includes("\0") && isPort) return { host, port };
  throw failed(asked, `must give { host, port } or undefined, got ${kindOf(given)}`);
}

async function ask(asked: ConfigFunction, node: RedisNode): Promise<unknown> {
  try {
    return await asked.call({ ...node });
  } catch (error) {
    throw failed(asked, `failed: ${isError(error) ? error.message : typeof error}`);
  }
}

const kindOf = (given: unknown) => (given === null ? "null" : typeof given);

function failed({ path }: ConfigFunction, what: string): Error {
  return new Error(`${path}() ${what}`);
}
