import type { ArgumentsOf, CommandMethod, Value } from "../../commands.js";
import type { Keyspace } from "./keyspace.js";

/** Rest parameters arrive as one array: a call cannot have 100,000 arguments. */
type Gathered<A> = A extends [infer First, ...infer Others]
  ? [First, ...Gathered<Others>]
  : A extends []
    ? []
    : [A];

type CommandFunction<M extends CommandMethod> = (
  db: Keyspace,
  ...args: Gathered<ArgumentsOf<M>>
) => Promise<Value<M>>;

/** The function of each command. TypeScript refuses to compile while one is missing. */
export type Table = { [M in CommandMethod]: CommandFunction<M> };
