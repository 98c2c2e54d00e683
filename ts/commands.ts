import type { KVStore, KVStoreTransaction } from "./adapter.js";
import {
  bound,
  checkNoMore,
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
import type { Argument } from "./native.js";
import { pattern, rangeOptions, scanOptions, setnxOptions, setOptions } from "./options.js";

/** The methods of KVStore that are no Redis command of their own, or none with one reply. */
type Otherwise =
  | ("connect" | "disconnect" | "isConnected" | "status" | "health" | "multi")
  | ("subscribe" | "unsubscribe" | "psubscribe" | "punsubscribe" | "subscribeScoped" | "listen")
  | ("on" | "once" | "off" | "addListener" | "removeListener" | "listenerCount");

/** The methods of KVStore that are one Redis command each. */
export type CommandMethod = Exclude<Extract<keyof KVStore, string>, Otherwise>;

/** The methods of KVStoreTransaction that queue a command. */
type QueuedMethod = Exclude<keyof KVStoreTransaction, "exec" | "discard">;

/** The arguments of a method, those of a rest parameter one by one. */
type Given<M extends CommandMethod> = Spread<Parameters<KVStore[M]>>;
type Spread<A extends unknown[]> = number extends A["length"]
  ? A extends [infer First, ...infer Others]
    ? [First, ...Spread<Others>]
    : Exclude<A[number], readonly unknown[]>[]
  : A;

/** The arguments of a method, as its store gets them: all are there. */
export type ArgumentsOf<M extends CommandMethod> = Required<Given<M>>;

/** What `Command` says of each field, bound to the types of one method. */
type Row<Method extends CommandMethod, A extends unknown[], Result> = {
  name?: string;
  parameters: ParametersOf<Required<A>>;
  publishes?: true;
} & (number extends A["length"] ? Further<Method, A, Result> : object) &
  (Method extends QueuedMethod ? { queued: true } : object);

type Further<Method, A extends unknown[], Result> = Method extends "hset" | "zadd"
  ? { pairs: true }
  : { rest: Scalar<A[number]>; none?: () => Result };

type ParametersOf<A> = A extends [infer First, ...infer Others]
  ? [Parameter<First>, ...ParametersOf<Others>]
  : [];

type Rows = {
  [M in CommandMethod]: Row<M, Given<M>, Awaited<ReturnType<KVStore[M]>>>;
};

const zero = () => 0;

const rows: Rows = {
  ping: { parameters: [] },

  get: { parameters: [key], queued: true },
  mget: { parameters: [], rest: key, none: () => [] },
  set: { parameters: [key, text("value"), setOptions], queued: true },
  setnx: { name: "SET", parameters: [key, text("value"), setnxOptions], queued: true },
  getdel: { parameters: [key], queued: true },
  incr: { parameters: [key], queued: true },
  incrBy: { parameters: [key, integer("n")] },
  decr: { parameters: [key] },

  del: { parameters: [], rest: key, none: zero, queued: true },
  exists: { parameters: [], rest: key, none: zero },
  expire: { parameters: [key, integer("seconds")], queued: true },
  ttl: { parameters: [key] },
  type: { parameters: [key] },
  keys: { parameters: [pattern("pattern")] },
  scan: { parameters: [text("cursor"), scanOptions] },

  hget: { parameters: [key, text("field")] },
  hset: { parameters: [key, text("field"), text("value")], pairs: true, queued: true },
  hmset: { name: "HSET", parameters: [key, record("data")] },
  hgetall: { parameters: [key] },
  hdel: { parameters: [key], rest: text("field"), none: zero, queued: true },
  hexists: { parameters: [key, text("field")] },
  hkeys: { parameters: [key] },
  hlen: { parameters: [key] },

  sadd: { parameters: [key], rest: text("member"), none: zero, queued: true },
  srem: { parameters: [key], rest: text("member"), none: zero, queued: true },
  smembers: { parameters: [key] },
  sismember: { parameters: [key, text("member")] },
  scard: { parameters: [key] },

  lpush: { parameters: [key], rest: text("value"), queued: true },
  rpush: { parameters: [key], rest: text("value"), queued: true },
  lpop: { parameters: [key] },
  rpop: { parameters: [key] },
  lrange: { parameters: [key, integer("start"), integer("stop")] },
  llen: { parameters: [key] },
  ltrim: { parameters: [key, integer("start"), integer("stop")] },

  zadd: { parameters: [key, score("score"), text("member")], pairs: true, queued: true },
  zrem: { parameters: [key], rest: text("member"), none: zero, queued: true },
  zscore: { parameters: [key, text("member")] },
  zrange: { parameters: [key, integer("start"), integer("stop")] },
  zrangebyscore: { parameters: [key, bound("min"), bound("max"), rangeOptions] },
  zcard: { parameters: [key] },
  zincrby: { parameters: [key, score("n"), text("member")] },

  publish: { parameters: [text("channel"), text("message")], publishes: true },
  eval: { parameters: [text("script"), list("keys"), list("args")], publishes: true },
};

/** A method that is one Redis command. What Redis is told of a call, and answers, is in redis-form.ts. */
export interface Command {
  /** The method's name, in KVStore and KVStoreTransaction. */
  readonly method: CommandMethod;
  /** The Redis command: the method's name unless the row says otherwise. */
  readonly name: string;
  readonly parameters: readonly Parameter<unknown>[];
  /** What each of any further arguments is, or of an array that is one of them. */
  readonly rest?: Scalar<Argument>;
  /** The last two parameters may be given again and again. */
  readonly pairs?: true;
  /**
   * The result of a call without further arguments, for which the store is not asked. Absent where Redis
   * refuses it.
   */
  readonly none?: () => unknown;
  /** It can be queued in a transaction. */
  readonly queued?: true;
  /** It may have published messages. */
  readonly publishes?: true;
}

export const commands = Object.entries(rows).map(
  ([method, row]): Command => ({
    name: method.toUpperCase(),
    ...row,
    method: method as CommandMethod,
  }),
);

/**
 * The arguments of a call, checked, and copied where they could change; none for a call that is answered without
 * asking the store. Throws INVALID_ARGUMENT.
 */
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
        // By index: a hole ends it, however long the array says it is.
        for (let i = 0; i < items.length; i++) read.push(rest.read(items[i], call));
      }
    } else if (pairs) {
      const pair = parameters.slice(-2);
      for (let i = count; i < args.length; i += 2) {
        // The second may be missing, and is refused as undefined.
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

/** Whether its first argument is a key, and no other argument is one. */
export function isOfOneKey({ parameters }: Command): boolean {
  return parameters[0] === key;
}

type Method = (this: never, ...args: never[]) => unknown;

const byMethod = new Map<string, Command>(commands.map((command) => [command.method, command]));

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
