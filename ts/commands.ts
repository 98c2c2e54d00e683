import type { KVAdapter, KVTransaction } from "./adapter.js";
import {
  bound,
  integer,
  key,
  list,
  type Parameter,
  reading,
  record,
  type Scalar,
  score,
  text,
  wrongNumberOfArguments,
} from "./arguments.js";
import { decode } from "./errors.js";
import type { Argument, Reply } from "./native.js";
import { pattern, rangeOptions, scanOptions, setnxOptions, setOptions } from "./options.js";

/** The methods of KVAdapter that are no Redis command of their own, or none with one reply. */
type Otherwise =
  | ("connect" | "disconnect" | "isConnected" | "status" | "multi")
  | ("subscribe" | "unsubscribe" | "psubscribe" | "punsubscribe" | "subscribeScoped" | "listen")
  | ("on" | "once" | "off" | "addListener" | "removeListener" | "listenerCount");

/** The methods of KVAdapter that are one Redis command each. */
export type CommandMethod = Exclude<Extract<keyof KVAdapter, string>, Otherwise>;

/** The methods of KVTransaction that queue a command. */
type QueuedMethod = Exclude<keyof KVTransaction, "exec" | "discard">;

type Convert<Result> = (reply: Reply, prefix: string) => Result;

/** What `Command` says of each field, bound to the types of one method. */
type Row<Method extends CommandMethod, A extends unknown[], Result> = {
  name: string;
  parameters: ParametersOf<Required<A>>;
  publishes?: true;
} & (unknown extends Result
  ? { reply: Convert<unknown> }
  : [Result] extends [Reply]
    ? { reply?: Convert<Result> }
    : { reply: Convert<Result> }) &
  (number extends A["length"] ? { rest: Scalar<A[number]>; none?: () => Result } : object) &
  (Method extends QueuedMethod ? { queued: true | Convert<unknown> } : object);

type ParametersOf<A> = A extends [infer First, ...infer Others]
  ? [Parameter<First>, ...ParametersOf<Others>]
  : [];

type Rows = {
  [M in CommandMethod]: KVAdapter[M] extends (...args: infer A) => Promise<infer R> ? Row<M, A, R> : never;
};

const isOne: Convert<boolean> = (reply) => reply === 1;
const isOk: Convert<boolean> = (reply) => reply === "OK";
const nothing: Convert<void> = () => undefined;
const asItIs: Convert<Reply> = (reply) => reply;
const zero = () => 0;

/** RESP 2 has no doubles, only strings. */
const double: Convert<number | null> = (reply) => {
  if (typeof reply !== "string") return reply as number | null;
  const infinity = /^([+-]?)inf(inity)?$/i.exec(reply);
  return infinity === null ? Number(reply) : infinity[1] === "-" ? -Infinity : Infinity;
};

/** A script's table may hold errors. */
const withErrors: Convert<unknown> = (reply) =>
  Array.isArray(reply) ? reply.map((item) => withErrors(item, "")) : decode(reply);

/**
 * Fields and values in turn. A field `__proto__` must become a property like any other, which an assignment
 * would not make it.
 */
const hash: Convert<Record<string, string>> = (reply) => {
  const flat = reply as string[];
  const data: Record<string, string> = {};
  for (let i = 0; i < flat.length; i += 2) {
    const field = flat[i] as string;
    const value = flat[i + 1] as string;
    if (field !== "__proto__") data[field] = value;
    else Object.defineProperty(data, field, { value, writable: true, enumerable: true, configurable: true });
  }
  return data;
};

const withoutPrefix: Convert<string[]> = (reply, prefix) => {
  const keys = reply as string[];
  return prefix === "" ? keys : keys.map((key) => key.slice(prefix.length + 1));
};

const rows: Rows = {
  ping: { name: "PING", parameters: [] },

  get: { name: "GET", parameters: [key], queued: true },
  mget: { name: "MGET", parameters: [], rest: key, none: () => [] },
  set: { name: "SET", parameters: [key, text("value"), setOptions], reply: nothing, queued: asItIs },
  setnx: { name: "SET", parameters: [key, text("value"), setnxOptions], reply: isOk, queued: true },
  getdel: { name: "GETDEL", parameters: [key], queued: true },
  incr: { name: "INCR", parameters: [key], queued: true },
  incrBy: { name: "INCRBY", parameters: [key, integer("n")] },
  decr: { name: "DECR", parameters: [key] },

  del: { name: "DEL", parameters: [], rest: key, none: zero, queued: true },
  exists: { name: "EXISTS", parameters: [], rest: key, none: zero },
  expire: { name: "EXPIRE", parameters: [key, integer("seconds")], reply: isOne, queued: true },
  ttl: { name: "TTL", parameters: [key] },
  type: { name: "TYPE", parameters: [key] },
  keys: { name: "KEYS", parameters: [pattern("pattern")], reply: withoutPrefix },
  scan: {
    name: "SCAN",
    parameters: [text("cursor"), scanOptions],
    reply(reply, prefix) {
      const [cursor, keys] = reply as [string, string[]];
      return { cursor, keys: withoutPrefix(keys, prefix) };
    },
  },

  hget: { name: "HGET", parameters: [key, text("field")] },
  hset: { name: "HSET", parameters: [key, text("field"), text("value")], queued: true },
  hmset: { name: "HSET", parameters: [key, record("data")], reply: nothing },
  hgetall: { name: "HGETALL", parameters: [key], reply: hash },
  hdel: { name: "HDEL", parameters: [key], rest: text("field"), none: zero, queued: true },
  hexists: { name: "HEXISTS", parameters: [key, text("field")], reply: isOne },
  hkeys: { name: "HKEYS", parameters: [key] },
  hlen: { name: "HLEN", parameters: [key] },

  sadd: { name: "SADD", parameters: [key], rest: text("member"), none: zero, queued: true },
  srem: { name: "SREM", parameters: [key], rest: text("member"), none: zero, queued: true },
  smembers: { name: "SMEMBERS", parameters: [key] },
  sismember: { name: "SISMEMBER", parameters: [key, text("member")], reply: isOne },
  scard: { name: "SCARD", parameters: [key] },

  lpush: { name: "LPUSH", parameters: [key], rest: text("value"), queued: true },
  rpush: { name: "RPUSH", parameters: [key], rest: text("value"), queued: true },
  lpop: { name: "LPOP", parameters: [key] },
  rpop: { name: "RPOP", parameters: [key] },
  lrange: { name: "LRANGE", parameters: [key, integer("start"), integer("stop")] },
  llen: { name: "LLEN", parameters: [key] },
  ltrim: { name: "LTRIM", parameters: [key, integer("start"), integer("stop")], reply: nothing },

  zadd: { name: "ZADD", parameters: [key, score("score"), text("member")], queued: true },
  zrem: { name: "ZREM", parameters: [key], rest: text("member"), none: zero, queued: true },
  zscore: { name: "ZSCORE", parameters: [key, text("member")], reply: double },
  zrange: { name: "ZRANGE", parameters: [key, integer("start"), integer("stop")] },
  zrangebyscore: { name: "ZRANGEBYSCORE", parameters: [key, bound("min"), bound("max"), rangeOptions] },
  zcard: { name: "ZCARD", parameters: [key] },
  zincrby: {
    name: "ZINCRBY",
    parameters: [key, score("n"), text("member")],
    reply: double as Convert<number>,
  },

  publish: { name: "PUBLISH", parameters: [text("channel"), text("message")], publishes: true },
  eval: {
    name: "EVAL",
    parameters: [text("script"), list("keys", { counted: true }), list("args")],
    reply: withErrors,
    publishes: true,
  },
};

/** A method that is one Redis command: how a call becomes an argv, and a reply a result. */
export interface Command {
  /** The method's name, in KVAdapter and KVTransaction. */
  readonly method: string;
  /** The Redis command. The argv starts after it. */
  readonly name: string;
  readonly parameters: readonly Parameter<unknown>[];
  /** What each of any further arguments is. */
  readonly rest?: Scalar<Argument>;
  /**
   * The result of a call without further arguments, for which the store is not asked. Absent where Redis
   * refuses it.
   */
  readonly none?: () => unknown;
  /** The result that a reply stands for. Absent where it is the reply. */
  readonly reply?: Convert<unknown>;
  /** It can be queued in a transaction, and its result there, if it differs. */
  readonly queued?: true | Convert<unknown>;
  /** It may have published messages. */
  readonly publishes?: true;
}

const commands: readonly Command[] = Object.entries(rows).map(([method, row]) => ({ method, ...row }));

/**
 * The arguments of a call, checked, and copied where they could change; none for a call that is answered without
 * asking the store. Throws INVALID_ARGUMENT.
 */
export function argumentsOf(
  { method, name, parameters, rest, none }: Command,
  args: readonly unknown[],
  prefix: string,
): unknown[] | undefined {
  const call = { method, name, prefix };
  const read = reading(method, () => {
    const read: unknown[] = [];
    for (const [index, parameter] of parameters.entries()) read.push(parameter.read(args[index], call));
    if (rest !== undefined) for (const arg of args.slice(parameters.length)) read.push(rest.read(arg, call));
    return read;
  });
  if (rest === undefined || args.length > parameters.length) return read;
  if (none === undefined) throw wrongNumberOfArguments(name);
  return undefined;
}

/** The argv of a call; none for a call that is answered without asking the store. Throws INVALID_ARGUMENT. */
export function argvOf(command: Command, args: readonly unknown[], prefix: string): Argument[] | undefined {
  const read = argumentsOf(command, args, prefix);
  if (read === undefined) return undefined;
  const argv: Argument[] = [];
  const { parameters, rest } = command;
  for (const [index, parameter] of parameters.entries()) parameter.append(argv, read[index]);
  if (rest !== undefined)
    for (let i = parameters.length; i < read.length; i++) rest.append(argv, read[i] as Argument);
  return argv;
}

/**
 * The parameters of a plain call, whose arguments go into the argv as they are: no options, one element of a list.
 * None if the command has no such calls.
 */
export function plainParameters({ parameters, rest }: Command): Scalar<Argument>[] {
  const scalars = parameters.filter(isScalar);
  const others = parameters.filter((parameter) => !isScalar(parameter) && !parameter.optional);
  if (others.length > 0) return [];
  return rest === undefined ? scalars : [...scalars, rest];
}

function isScalar(parameter: Parameter<unknown>): parameter is Scalar<Argument> {
  return "accepts" in parameter;
}

const plain = new Map(commands.map((command) => [command, plainParameters(command)]));

/** Whether these are the good arguments of a plain call, and so its argv. */
export function isPlain(command: Command, args: readonly unknown[]): args is Argument[] {
  const parameters = plain.get(command) ?? [];
  if (args.length !== parameters.length) return false;
  for (let i = 0; i < args.length; i++) if (!parameters[i]?.accepts(args[i])) return false;
  return true;
}

type Method = (this: never, ...args: never[]) => unknown;

const byMethod = new Map(commands.map((command) => [command.method, command]));

/** The command of a method; none for what is no method of one. */
export function commandOf(method: string): Command | undefined {
  return byMethod.get(method);
}

/** Gives a prototype a method for each command for which `make` has one. */
export function defineMethods(prototype: object, make: (command: Command) => Method | undefined): void {
  for (const command of commands) {
    const value = make(command);
    if (value === undefined) continue;
    Object.defineProperty(value, "name", { value: command.method });
    Object.defineProperty(prototype, command.method, { value, writable: true, configurable: true });
  }
}
