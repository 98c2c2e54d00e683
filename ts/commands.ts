import type { Argument } from "../native.js";
import type { ExpiryOptions, KVStore, KVStoreTransaction } from "./adapter.js";
import {
  bound,
  checkNoMore,
  integer,
  key,
  keys,
  list,
  type Parameter,
  reading,
  record,
  type Scalar,
  score,
  text,
  wrongNumberOfArguments,
} from "./arguments.js";
import { pattern, rangeOptions, scanOptions, setnxOptions, setOptions } from "./options.js";
import { type Conversions, conversions, type KindOf, type ValueOf } from "./results.js";

/** The methods of KVStore that are not one Redis command with one reply. */
type Otherwise =
  | ("connect" | "disconnect" | "isConnected" | "status" | "health" | "multi")
  | ("subscribe" | "unsubscribe" | "psubscribe" | "punsubscribe" | "subscribeScoped" | "listen")
  | ("on" | "once" | "off" | "addListener" | "removeListener" | "listenerCount");

/** The methods of KVStore that are one Redis command each. */
export type CommandMethod = Exclude<Extract<keyof KVStore, string>, Otherwise>;

/** The methods of KVStoreTransaction that queue a command. */
type QueuedMethod = Exclude<keyof KVStoreTransaction, "exec" | "discard">;

/** The arguments of a method, with those of a rest parameter one by one. */
type GivenArguments<M extends CommandMethod> = Spread<Parameters<KVStore[M]>>;
type Spread<A extends unknown[]> = number extends A["length"]
  ? A extends [infer First, ...infer Others]
    ? [First, ...Spread<Others>]
    : Exclude<A[number], readonly unknown[]>[]
  : A;

/** The arguments of a method, all present, as an engine gets them. */
export type ArgumentsOf<M extends CommandMethod> = Required<GivenArguments<M>>;

/** The fields of {@link Command}, bound to the types of one method. */
type CommandRow<Method extends CommandMethod, A extends unknown[], Result> = {
  name?: string;
  parameters: ParametersOf<Required<A>>;
  returns: KindOf<Result>;
  publishes?: Command["publishes"];
  expiring?: Command["expiring"];
  runsScript?: true;
} & (number extends A["length"]
  ? { pairs: true } | { rest: Scalar<A[number]>; none?: () => Result }
  : object) &
  (A[number] extends Argument ? object : { argv: (...args: Required<A>) => Argument[] }) &
  (Method extends QueuedMethod ? { queued: true } : object);

type ParametersOf<A> = A extends [infer First, ...infer Others]
  ? [Parameter<First>, ...ParametersOf<Others>]
  : [];

type Rows = {
  [M in CommandMethod]: CommandRow<M, GivenArguments<M>, Awaited<ReturnType<KVStore[M]>>>;
};

const zero = () => 0;

const rows = {
  ping: { parameters: [], returns: "text" },

  get: { parameters: [key], returns: "textOrNull", queued: true },
  mget: { parameters: [], rest: key, none: () => [], returns: "textsOrNulls" },
  set: {
    parameters: [key, text("value"), setOptions],
    argv(key, value, { ex, px, nx, xx }) {
      const argv = [key, value, ...expiryWords({ ex, px })];
      if (nx) argv.push("NX");
      if (xx) argv.push("XX");
      return argv;
    },
    returns: "outcome",
    expiring: { ex: "SETEX", px: "PSETEX" },
    queued: true,
  },
  setnx: {
    name: "SET",
    parameters: [key, text("value"), setnxOptions],
    argv: (key, value, expiry) => [key, value, ...expiryWords(expiry), "NX"],
    returns: "done",
    queued: true,
  },
  getdel: { parameters: [key], returns: "textOrNull", queued: true },
  incr: { parameters: [key], returns: "number", queued: true },
  incrBy: { parameters: [key, integer("n")], returns: "number" },
  decr: { parameters: [key], returns: "number" },

  del: { parameters: [], rest: key, none: zero, returns: "number", queued: true },
  exists: { parameters: [], rest: key, none: zero, returns: "number" },
  expire: { parameters: [key, integer("seconds")], returns: "flag", queued: true },
  ttl: { parameters: [key], returns: "number" },
  type: { parameters: [key], returns: "text" },
  keys: { parameters: [pattern("pattern")], returns: "keys" },
  scan: {
    parameters: [text("cursor"), scanOptions],
    argv(cursor, { match, count }) {
      const argv: Argument[] = [cursor];
      if (match !== undefined) argv.push("MATCH", match);
      if (count !== undefined) argv.push("COUNT", count);
      return argv;
    },
    returns: "page",
  },

  hget: { parameters: [key, text("field")], returns: "textOrNull" },
  hset: { parameters: [key, text("field"), text("value")], pairs: true, returns: "number", queued: true },
  hmset: {
    name: "HSET",
    parameters: [key, record("data")],
    argv: (key, data) => [key, ...Object.entries(data).flat()],
    returns: "nothing",
  },
  hgetall: { parameters: [key], returns: "hash" },
  hdel: { parameters: [key], rest: text("field"), none: zero, returns: "number", queued: true },
  hexists: { parameters: [key, text("field")], returns: "flag" },
  hkeys: { parameters: [key], returns: "texts" },
  hlen: { parameters: [key], returns: "number" },

  sadd: { parameters: [key], rest: text("member"), none: zero, returns: "number", queued: true },
  srem: { parameters: [key], rest: text("member"), none: zero, returns: "number", queued: true },
  smembers: { parameters: [key], returns: "texts" },
  sismember: { parameters: [key, text("member")], returns: "flag" },
  scard: { parameters: [key], returns: "number" },

  lpush: { parameters: [key], rest: text("value"), returns: "number", queued: true },
  rpush: { parameters: [key], rest: text("value"), returns: "number", queued: true },
  lpop: { parameters: [key], returns: "textOrNull" },
  rpop: { parameters: [key], returns: "textOrNull" },
  lrange: { parameters: [key, integer("start"), integer("stop")], returns: "texts" },
  llen: { parameters: [key], returns: "number" },
  ltrim: { parameters: [key, integer("start"), integer("stop")], returns: "nothing" },

  zadd: { parameters: [key, score("score"), text("member")], pairs: true, returns: "number", queued: true },
  zrem: { parameters: [key], rest: text("member"), none: zero, returns: "number", queued: true },
  zscore: { parameters: [key, text("member")], returns: "scoreOrNull" },
  zrange: { parameters: [key, integer("start"), integer("stop")], returns: "texts" },
  zrangebyscore: {
    parameters: [key, bound("min"), bound("max"), rangeOptions],
    argv(key, min, max, { limit, withScores }) {
      const argv = [key, min, max];
      if (withScores) argv.push("WITHSCORES");
      if (limit !== undefined) argv.push("LIMIT", limit.offset, limit.count);
      return argv;
    },
    returns: "texts",
  },
  zcard: { parameters: [key], returns: "number" },
  zincrby: { parameters: [key, score("n"), text("member")], returns: "score" },

  publish: { parameters: [text("channel"), text("message")], returns: "number", publishes: "message" },
  eval: {
    parameters: [text("script"), keys("keys"), list("args")],
    argv: (script, keys, args) => [script, keys.length, ...keys, ...args],
    returns: "any",
    publishes: "any",
    runsScript: true,
  },
} satisfies Rows;

function expiryWords({ ex, px }: { [K in keyof ExpiryOptions]: number | undefined }): Argument[] {
  const words: Argument[] = [];
  if (ex !== undefined) words.push("EX", ex);
  if (px !== undefined) words.push("PX", px);
  return words;
}

/** The value of a command on a Durable Object. */
export type Value<M extends CommandMethod> = ValueOf<
  (typeof rows)[M]["returns"],
  Awaited<ReturnType<KVStore[M]>>
>;

/** A method that is one Redis command. */
export interface Command {
  /** The name of the method in KVStore and KVStoreTransaction. */
  readonly method: CommandMethod;
  /** The Redis command: by default the name of the method in capitals. */
  readonly name: string;
  readonly parameters: readonly Parameter<unknown>[];
  /** Each further argument, or each element of an array among them. */
  readonly rest?: Scalar<Argument>;
  /** The last two parameters may be repeated. */
  readonly pairs?: true;
  /** The result of a call without further arguments, which no store runs. Absent if Redis refuses such a call. */
  readonly none?: () => unknown;
  /** The argv after the command's name. Absent if that is the arguments unchanged. */
  readonly argv?: (...args: never[]) => Argument[];
  /** The kind of the result, and its conversions. */
  readonly returns: Conversions;
  /** Whether a transaction can queue it. */
  readonly queued?: true;
  /** It publishes its second argument (`message`), or any messages, as a script may (`any`). */
  readonly publishes?: "message" | "any";
  /** Redis commands with the same effect, with an option as the second of three arguments. */
  readonly expiring?: { readonly ex: string; readonly px: string };
  /** It runs a script, which a Durable Object cannot. */
  readonly runsScript?: true;
}

export const commands = Object.entries(rows).map(
  ([method, { returns, ...row }]): Command => ({
    name: method.toUpperCase(),
    ...row,
    returns: conversions[returns],
    method: method as CommandMethod,
  }),
);

/** The arguments of a call, checked, and copied if they could change. Undefined for a call that no store runs. Throws INVALID_ARGUMENT. */
export function argumentsOf(
  { method, name, parameters, rest, pairs, none }: Command,
  args: readonly unknown[],
  prefix: string,
): unknown[] | undefined {
  const call = { method, name, prefix };
  const count = parameters.length;
  const read = reading(method, () => {
    const read: unknown[] = [];
    for (const [index, parameter] of parameters.entries()) read.push(parameter.read(args[index], call));
    if (rest !== undefined) {
      for (const arg of args.slice(count)) {
        const items = Array.isArray(arg) ? arg : [arg];
        // By index: a hole is refused, however long the array is.
        for (let i = 0; i < items.length; i++) read.push(rest.read(items[i], call));
      }
    } else if (pairs) {
      const pair = parameters.slice(-2);
      for (let i = count; i < args.length; i += 2) {
        // A missing second element is refused as undefined.
        for (const [j, parameter] of pair.entries()) read.push(parameter.read(args[i + j], call));
      }
    } else if (args.length > count) {
      checkNoMore(method, count, args.slice(count));
    }
    return read;
  });
  if (rest === undefined || read.length > count) return read;
  if (none === undefined) throw wrongNumberOfArguments(name);
  return undefined;
}

/** The parameter of an argument, by its index after lists are flattened. */
export function parameterAt(
  { parameters, rest, pairs }: Command,
  index: number,
): Parameter<unknown> | undefined {
  const over = index - parameters.length;
  if (over < 0) return parameters[index];
  return pairs ? parameters[parameters.length - 2 + (over % 2)] : rest;
}

/** Whether its first argument is its only key. */
export function isOfOneKey({ parameters, rest, pairs }: Command): boolean {
  const [first, ...others] = parameters;
  const again = pairs ? parameters.slice(-2) : [rest];
  return first?.isKey === true && ![...others, ...again].some((parameter) => parameter?.isKey);
}

type Method = (this: never, ...args: never[]) => unknown;

const byMethod = new Map<string, Command>(commands.map((command) => [command.method, command]));

/** The command of a method. Undefined for any other name. */
export function commandOf(method: CommandMethod): Command;
export function commandOf(method: string): Command | undefined;
export function commandOf(method: string): Command | undefined {
  return byMethod.get(method);
}

/** Defines a method on a prototype for each command for which `make` returns one. */
export function defineMethods(prototype: object, make: (command: Command) => Method | undefined): void {
  for (const command of commands) {
    const value = make(command);
    if (value === undefined) continue;
    Object.defineProperty(value, "name", { value: command.method });
    Object.defineProperty(prototype, command.method, { value, writable: true, configurable: true });
  }
}
