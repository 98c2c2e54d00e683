// What Redis is told of a call, and what its answer stands for: the form of commands for the memory store and for Redis.
import type { ExpiryOptions, KVStore } from "./adapter.js";
import type { Parameter, Scalar } from "./arguments.js";
import { type ArgumentsOf, argumentsOf, type Command, type CommandMethod, commands } from "./commands.js";
import { decode, isError } from "./errors.js";
import type { Argument, Reply } from "./native.js";
import { misshapen, shapes } from "./shapes.js";
import type { Form } from "./transaction.js";

/** The methods whose arguments are not Redis's words as they are: some are objects or arrays. */
type Worded = {
  [M in CommandMethod]: ArgumentsOf<M>[number] extends Argument ? never : M;
}[CommandMethod];

/** The argv of each. It starts after the command's name. */
const words: { [M in Worded]: (...args: ArgumentsOf<M>) => Argument[] } = {
  set(key, value, { ex, px, nx, xx }) {
    const argv = [key, value];
    pushExpiry(argv, { ex, px });
    if (nx) argv.push("NX");
    if (xx) argv.push("XX");
    return argv;
  },

  setnx(key, value, expiry) {
    const argv = [key, value];
    pushExpiry(argv, expiry);
    argv.push("NX");
    return argv;
  },

  scan(cursor, { match, count }) {
    const argv: Argument[] = [cursor];
    if (match !== undefined) argv.push("MATCH", match);
    if (count !== undefined) argv.push("COUNT", count);
    return argv;
  },

  hmset: (key, data) => [key, ...Object.entries(data).flat()],

  zrangebyscore(key, min, max, { limit, withScores }) {
    const argv = [key, min, max];
    if (withScores) argv.push("WITHSCORES");
    if (limit !== undefined) argv.push("LIMIT", limit.offset, limit.count);
    return argv;
  },

  eval: (script, keys, args) => [script, keys.length, ...keys, ...args],
};

function pushExpiry(argv: Argument[], { ex, px }: { [K in keyof ExpiryOptions]: number | undefined }): void {
  if (ex !== undefined) argv.push("EX", ex);
  if (px !== undefined) argv.push("PX", px);
}

/** What a reply stands for. */
export type Convert<Result> = (reply: Reply, prefix: string) => Result;

type Result<M extends CommandMethod> = Awaited<ReturnType<KVStore[M]>>;

/** The methods whose result is never the reply as it is. */
type Converted = {
  [M in CommandMethod]: [Result<M>] extends [Reply] ? never : M;
}[CommandMethod];

const isOne: Convert<boolean> = (reply) => reply === 1;
const isOk: Convert<boolean> = (reply) => reply === "OK";
const nothing: Convert<void> = () => undefined;

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

const replies: { [M in Converted]: Convert<Result<M>> } & { [M in CommandMethod]?: Convert<Result<M>> } = {
  set: nothing,
  setnx: isOk,
  expire: isOne,
  keys: withoutPrefix,
  scan(reply, prefix) {
    const [cursor, keys] = reply as [string, string[]];
    return { cursor, keys: withoutPrefix(keys, prefix) };
  },
  hmset: nothing,
  hgetall: hash,
  hexists: isOne,
  sismember: isOne,
  ltrim: nothing,
  zscore: double,
  zincrby: double as Convert<number>,
  eval: withErrors,
};

/** The result that a reply of the memory store stands for; none where it is the reply. */
export function conversionOf({ method }: Command): Convert<unknown> | undefined {
  return replies[method];
}

const forms = new Map(
  commands.map((command) => [command, { has: shapes[command.method], convert: conversionOf(command) }]),
);

/**
 * The result that a server's reply stands for. Throws the error that the reply holds, where only a script's may;
 * `CONNECTION` if it is of no shape that the command's replies have.
 */
export function resultOf(command: Command, reply: Reply, prefix: string): unknown {
  const form = forms.get(command);
  if (form?.has(reply) === false) throw misshapen(command.name, reply);
  return form?.convert === undefined ? reply : form.convert(reply, prefix);
}

/** The argv of a call; none for a call that is answered without asking the store. Throws INVALID_ARGUMENT. */
export function argvOf(command: Command, args: readonly unknown[], prefix: string): Argument[] | undefined {
  const read = argumentsOf(command, args, prefix);
  const worded = words[command.method as Worded] as ((...args: unknown[]) => Argument[]) | undefined;
  return read === undefined || worded === undefined ? (read as Argument[] | undefined) : worded(...read);
}

/** Redis's words, and its replies. */
export const redisForm: Form<Argument[]> = {
  argvOf,
  resultOf(command, answer, prefix) {
    if (isError(answer)) return decode(answer, command.name);
    try {
      const result = resultOf(command, answer as Reply, prefix);
      // EXEC's answer tells whether a SET took effect.
      return command.method === "set" ? answer : result;
    } catch (error) {
      return error;
    }
  },
};

/**
 * The parameters of a plain call, whose arguments go into the argv as they are: no options, one element of a list.
 * Undefined if the command has no such calls.
 */
export function plainParameters({ parameters, rest }: Command): Scalar<Argument>[] | undefined {
  const scalars = parameters.filter(isScalar);
  const others = parameters.filter((parameter) => !isScalar(parameter) && !parameter.optional);
  if (others.length > 0) return undefined;
  return rest === undefined ? scalars : [...scalars, rest];
}

function isScalar(parameter: Parameter<unknown>): parameter is Scalar<Argument> {
  return "accepts" in parameter;
}

const plain = new Map(commands.map((command) => [command, plainParameters(command)]));

/** Whether these are the good arguments of a plain call, and so its argv. */
export function isPlain(command: Command, args: readonly unknown[]): args is Argument[] {
  const parameters = plain.get(command);
  if (parameters === undefined || args.length !== parameters.length) return false;
  for (let i = 0; i < args.length; i++) if (!parameters[i]?.accepts(args[i])) return false;
  return true;
}
