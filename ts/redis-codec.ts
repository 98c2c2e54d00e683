// Converts calls to argv, and replies to results, for the Redis backend and the memory store.

import type { Argument, Reply } from "../native.js";
import type { Parameter, Scalar } from "./arguments.js";
import { argumentsOf, type Command, commands } from "./commands.js";
import { decode, isError } from "./errors.js";
import { misshapen } from "./results.js";
import type { Codec } from "./transaction.js";

/**
 * The result of a reply. Throws an error that the reply holds, unless it is a script's; `CONNECTION` for a shape that the command's
 * replies do not have.
 */
export function resultOf({ name, returns }: Command, reply: Reply, prefix: string): unknown {
  if (!returns.fits(reply)) throw misshapen(name, reply);
  return returns.ofReply === undefined ? reply : returns.ofReply(reply, prefix);
}

/** The argv of a call. Undefined for a call that no store runs. Throws INVALID_ARGUMENT. */
export function argvOf(command: Command, args: readonly unknown[], prefix: string): Argument[] | undefined {
  const read = argumentsOf(command, args, prefix);
  if (read === undefined || command.argv === undefined) return read as Argument[] | undefined;
  return command.argv(...(read as never[]));
}

export const redisCodec: Codec<Argument[]> = {
  encode: argvOf,
  decode(command, answer, prefix) {
    if (isError(answer)) return decode(answer, command.name);
    try {
      return resultOf(command, answer as Reply, prefix);
    } catch (error) {
      return error;
    }
  },
};

/**
 * The parameters of a plain call, whose arguments are the argv: no options, one element of a list. Undefined if the command has no
 * plain calls.
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

/** Whether these are the valid arguments of a plain call, and so its argv. */
export function isPlain(command: Command, args: readonly unknown[]): args is Argument[] {
  const parameters = plain.get(command);
  if (parameters === undefined || args.length !== parameters.length) return false;
  for (let i = 0; i < args.length; i++) if (!parameters[i]?.accepts(args[i])) return false;
  return true;
}
