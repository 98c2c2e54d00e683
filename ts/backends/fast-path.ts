import type { Argument, Run } from "../../native.js";
import type { SetOptions } from "../adapter.js";
import { isText, type Scalar } from "../arguments.js";
import type { Command } from "../commands.js";
import { isTraced, traced } from "../diagnostics.js";
import { decode } from "../errors.js";
import { argvOf, plainParameters } from "../redis-codec.js";
import type { Convert } from "../results.js";

/**
 * From more arguments than this on they cross as one array: spreading a very long list overflows the stack.
 */
const MANY = 1_000;

interface Target {
  readonly prefix: string;
}

type Method<S> = (this: S, ...args: unknown[]) => Promise<unknown>;

/** How a command gets to a store that answers at once. */
interface Crossing<S> {
  readonly command: Command;
  readonly reply: Convert<unknown> | undefined;
  /** Its number in the native table. */
  readonly index: number;
  readonly runnerOf: (store: S) => Run;
}

/**
 * The method of a command on a store that answers at once.
 *
 * A plain call has just the arguments that go into the argv as they are: no options, one element of a list.
 * These are nearly all calls, and have a function for each number of arguments, without a loop or an argv: 45
 * % faster. Any other call, a wrong one too, takes the general way.
 */
export function directMethod<S extends Target>(given: Omit<Crossing<S>, "reply">): Method<S> {
  const crossing = { ...given, reply: given.command.returns.ofReply };
  const [first, second, third, ...more] = plainParameters(crossing.command) ?? [];
  if (first === undefined || more.length > 0) return anyCall(crossing);
  if (second === undefined) return plainCallOfOne(crossing, first);
  if (third === undefined) return plainCallOfTwo(crossing, first, second);
  return plainCallOfThree(crossing, first, second, third);
}

function plainCallOfOne<S extends Target>(crossing: Crossing<S>, { accepts }: Scalar<Argument>): Method<S> {
  const { reply, index, runnerOf } = crossing;
  const { name } = crossing.command;
  return async function (...args) {
    try {
      const a = args[0];
      if (args.length !== 1 || !accepts(a) || isTraced())
        return (isTraced() ? tracedCall : call)(crossing, this, args);
      const answer = runnerOf(this)(index, a);
      return reply === undefined ? answer : reply(answer, this.prefix);
    } catch (error) {
      throw decode(error, name);
    }
  };
}

function plainCallOfTwo<S extends Target>(
  crossing: Crossing<S>,
  { accepts: acceptsFirst }: Scalar<Argument>,
  { accepts: acceptsSecond }: Scalar<Argument>,
): Method<S> {
  const { reply, index, runnerOf } = crossing;
  const { name } = crossing.command;
  return async function (...args) {
    try {
      const a = args[0];
      const b = args[1];
      if (args.length !== 2 || !acceptsFirst(a) || !acceptsSecond(b) || isTraced()) {
        return (isTraced() ? tracedCall : call)(crossing, this, args);
      }
      const answer = runnerOf(this)(index, a, b);
      return reply === undefined ? answer : reply(answer, this.prefix);
    } catch (error) {
      throw decode(error, name);
    }
  };
}

/**
 * SET's method. Sessions and caches call it with a lifetime and nothing else: that crosses as SETEX or PSETEX, whose
 * arguments are plain.
 */
export function setMethod<S extends Target>(
  given: Omit<Crossing<S>, "reply">,
  { ex: setex, px: psetex }: { ex: number; px: number },
): Method<S> {
  const crossing = { ...given, reply: given.command.returns.ofReply };
  const { index, runnerOf } = crossing;
  return async function (...args) {
    try {
      const [key, value, options] = args;
      const isPlain = args.length <= 3 && isText(key) && isText(value) && !isTraced();
      if (isPlain && args.length === 2) return void runnerOf(this)(index, key, value);
      const ex = isPlain ? lifetime("ex", options) : undefined;
      if (ex !== undefined) return void runnerOf(this)(setex, key as string, ex, value as string);
      const px = isPlain ? lifetime("px", options) : undefined;
      if (px !== undefined) return void runnerOf(this)(psetex, key as string, px, value as string);
      return (isTraced() ? tracedCall : call)(crossing, this, args);
    } catch (error) {
      throw decode(error, crossing.command.name);
    }
  };
}

/** What options say under a name, if they say nothing else, and it is a lifetime that any store takes. */
function lifetime(name: "ex" | "px", options: unknown): number | undefined {
  const TOO_LONG = 1e12;
  try {
    for (const other in options as object) if (other !== name) return undefined;
    if (!Object.hasOwn(options as object, name)) return undefined;
    const { ex, px, nx, xx } = options as SetOptions;
    const count = name === "ex" ? ex : px;
    if ((name === "ex" ? px : ex) !== undefined || nx !== undefined || xx !== undefined) return undefined;
    return Number.isSafeInteger(count) && (count as number) > 0 && (count as number) < TOO_LONG
      ? count
      : undefined;
  } catch {
    // A getter that throws, or no object: the general way says so.
    return undefined;
  }
}

function plainCallOfThree<S extends Target>(
  crossing: Crossing<S>,
  { accepts: acceptsFirst }: Scalar<Argument>,
  { accepts: acceptsSecond }: Scalar<Argument>,
  { accepts: acceptsThird }: Scalar<Argument>,
): Method<S> {
  const { reply, index, runnerOf } = crossing;
  const { name } = crossing.command;
  return async function (...args) {
    try {
      const a = args[0];
      const b = args[1];
      const c = args[2];
      if (args.length !== 3 || !acceptsFirst(a) || !acceptsSecond(b) || !acceptsThird(c) || isTraced()) {
        return (isTraced() ? tracedCall : call)(crossing, this, args);
      }
      const answer = runnerOf(this)(index, a, b, c);
      return reply === undefined ? answer : reply(answer, this.prefix);
    } catch (error) {
      throw decode(error, name);
    }
  };
}

function anyCall<S extends Target>(crossing: Crossing<S>): Method<S> {
  return async function (...args) {
    try {
      return (isTraced() ? tracedCall : call)(crossing, this, args);
    } catch (error) {
      throw decode(error, crossing.command.name);
    }
  };
}

function tracedCall<S extends Target>(crossing: Crossing<S>, store: S, args: unknown[]): unknown {
  const message = { command: crossing.command.name, backend: "memory", prefix: store.prefix } as const;
  return traced(message, () => call(crossing, store, args));
}

function call<S extends Target>(
  { command, reply, index, runnerOf }: Crossing<S>,
  store: S,
  args: unknown[],
): unknown {
  const argv = argvOf(command, args, store.prefix);
  if (argv === undefined) return command.none?.();
  const run = runnerOf(store);
  const answer = argv.length > MANY ? run(index, argv) : run(index, ...argv);
  return reply === undefined ? answer : reply(answer, store.prefix);
}
