import type { ArgumentsOf, CommandMethod, Value } from "../../commands.js";
import type { Keyspace } from "./keyspace.js";

/** What may be given any number of times comes as one array: an engine has no room for 100,000 arguments. */
type Gathered<A> = A extends [infer First, ...infer Others]
  ? [First, ...Gathered<Others>]
  : A extends []
    ? []
    : [A];

type Run<M extends CommandMethod> = (db: Keyspace, ...args: Gathered<ArgumentsOf<M>>) => Promise<Value<M>>;

/** What each command does. TypeScript refuses to compile while one is missing. */
export type Table = { [M in CommandMethod]: Run<M> };
