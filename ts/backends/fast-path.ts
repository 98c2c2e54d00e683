import type { Argument, Run } from "../../native.js";
import type { SetOptions } from "../adapter.js";
import { isText, type Scalar } from "../arguments.js";
import type { Command } from "../commands.js";
import { isTraced, traced } from "../diagnostics.js";
import { decode } from "../errors.js";
import { argvOf, plainParameters } from "../redis-codec.js";
import type { Convert } from "../results.js";

/**
 * More arguments than this cross as one array: to spread a very long list overflows the stack.
 */
const MANY = 1_000;

interface PrefixedStore {
  readonly prefix: string;
}

type FastPathMethod<S> = (this: S, ...args: unknown[]) => Promise<unknown>;

/** How a command is run by a synchronous store. */
interface NativeCall<S> {
  readonly command: Command;
  readonly reply: Convert<unknown> | undefined;
  /** Its number in the native table. */
  readonly index: number;
  readonly runnerOf: (store: S) => Run;
}

/**
 * The method of a command on a synchronous store.
 *
 * The arguments of a plain call are its argv: no options, one element of a list. Nearly all calls are plain. They have a function for
 * each number of arguments, without a loop or an argv: 45 % faster. Any other call, also a wrong one, takes the general path.
 */
export function fastPathMethod<S extends PrefixedStore>(
  given: Omit<NativeCall<S>, "reply">,
): FastPathMethod<S> {
  const call = { ...given, reply: given.command.returns.ofReply };
  const [first, second, third, ...more] = plainParameters(call.command) ?? [];
  if (first === undefined || more.length > 0) return anyCall(call);
  if (second === undefined) return plainCallOfOne(call, first);
  if (third === undefined) return plainCallOfTwo(call, first, second);
  return plainCallOfThree(call, first, second, third);
}

function plainCallOfOne<S extends PrefixedStore>(
  call: NativeCall<S>,
  { accepts }: Scalar<Argument>,
): FastPathMethod<S> {
  const { reply, index, runnerOf } = call;
  const { name } = call.command;
  return async function (...args) {
    try {
      const a = args[0];
      if (args.length !== 1 || !accepts(a) || isTraced())
        return (isTraced() ? tracedCall : generalCall)(call, this, args);
      const answer = runnerOf(this)(index, a);
      return reply === undefined ? answer : reply(answer, this.prefix);
    } catch (error) {
      throw decode(error, name);
    }
  };
}

function plainCallOfTwo<S extends PrefixedStore>(
  call: NativeCall<S>,
  { accepts: acceptsFirst }: Scalar<Argument>,
  { accepts: acceptsSecond }: Scalar<Argument>,
): FastPathMethod<S> {
  const { reply, index, runnerOf } = call;
  const { name } = call.command;
  return async function (...args) {
    try {
      const a = args[0];
      const b = args[1];
      if (args.length !== 2 || !acceptsFirst(a) || !acceptsSecond(b) || isTraced()) {
        return (isTraced() ? tracedCall : generalCall)(call, this, args);
      }
      const answer = runnerOf(this)(index, a, b);
      return reply === undefined ? answer : reply(answer, this.prefix);
    } catch (error) {
      throw decode(error, name);
    }
  };
}

/**
 * The method of SET. Sessions and caches call it with an expiry as the only option: that crosses as SETEX or PSETEX, as a plain call.
 */
export function setMethod<S extends PrefixedStore>(
  given: Omit<NativeCall<S>, "reply">,
  { ex: setex, px: psetex }: { ex: number; px: number },
): FastPathMethod<S> {
  const call = { ...given, reply: given.command.returns.ofReply };
  const { index, runnerOf } = call;
  return async function (...args) {
    try {
      const [key, value, options] = args;
      const isPlain = args.length <= 3 && isText(key) && isText(value) && !isTraced();
      if (isPlain && args.length === 2) return void runnerOf(this)(index, key, value);
      const ex = isPlain ? lifetime("ex", options) : undefined;
      if (ex !== undefined) return void runnerOf(this)(setex, key as string, ex, value as string);
      const px = isPlain ? lifetime("px", options) : undefined;
      if (px !== undefined) return void runnerOf(this)(psetex, key as string, px, value as string);
      return (isTraced() ? tracedCall : generalCall)(call, this, args);
    } catch (error) {
      throw decode(error, call.command.name);
    }
  };
}

/** The expiry of options that have nothing else, if every store accepts it. */
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
    // A getter that throws, or no object: the general path reports it.
    return undefined;
  }
}

function plainCallOfThree<S extends PrefixedStore>(
  call: NativeCall<S>,
  { accepts: acceptsFirst }: Scalar<Argument>,
  { accepts: acceptsSecond }: Scalar<Argument>,
  { accepts: acceptsThird }: Scalar<Argument>,
): FastPathMethod<S> {
  const { reply, index, runnerOf } = call;
  const { name } = call.command;
  return async function (...args) {
    try {
      const a = args[0];
      const b = args[1];
      const c = args[2];
      if (args.length !== 3 || !acceptsFirst(a) || !acceptsSecond(b) || !acceptsThird(c) || isTraced()) {
        return (isTraced() ? tracedCall : generalCall)(call, this, args);
      }
      const answer = runnerOf(this)(index, a, b, c);
      return reply === undefined ? answer : reply(answer, this.prefix);
    } catch (error) {
      throw decode(error, name);
    }
  };
}

function anyCall<S extends PrefixedStore>(call: NativeCall<S>): FastPathMethod<S> {
  return async function (...args) {
    try {
      return (isTraced() ? tracedCall : generalCall)(call, this, args);
    } catch (error) {
      throw decode(error, call.command.name);
    }
  };
}

function tracedCall<S extends PrefixedStore>(call: NativeCall<S>, store: S, args: unknown[]): unknown {
  const message = { command: call.command.name, backend: "memory", prefix: store.prefix } as const;
  return traced(message, () => generalCall(call, store, args));
}

function generalCall<S extends PrefixedStore>(
  { command, reply, index, runnerOf }: NativeCall<S>,
  store: S,
  args: unknown[],
): unknown {
  const argv = argvOf(command, args, store.prefix);
  if (argv === undefined) return command.none?.();
  const run = runnerOf(store);
  const answer = argv.length > MANY ? run(index, argv) : run(index, ...argv);
  return reply === undefined ? answer : reply(answer, store.prefix);
}
