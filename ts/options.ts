import type { ExpiryOptions, ScanOptions, SetOptions, ZRangeOptions } from "./adapter.js";
import {
  type CallContext,
  checkBoolean,
  integer,
  invalid,
  object,
  type Parameter,
  text,
} from "./arguments.js";
import { own } from "./own.js";

type OptionParameters<T> = { readonly [K in keyof T]-?: Parameter<Exclude<T[K], undefined>> };

/** An object of options, each of which may be absent. At most one option of each `either` may be set. */
function options<T extends object>(
  parameters: OptionParameters<T>,
  ...either: (keyof T & string)[][]
): Parameter<T> {
  const rows = Object.entries<Parameter<unknown>>(parameters);
  const names = Object.keys(parameters);
  const none = Object.freeze(Object.fromEntries(names.map((name) => [name, undefined]))) as T;
  return {
    optional: true,
    read(value, call) {
      if (value === undefined) return none;
      const given = known(value, names, "options", call);
      for (const names of either) {
        const set = names.filter((name) => given[name] !== undefined && given[name] !== false);
        if (set.length > 1) throw invalid(`${call.method}: options ${set.join(" and ")} exclude each other`);
      }
      for (const [name, parameter] of rows) {
        if (given[name] !== undefined) given[name] = parameter.read(given[name], call);
      }
      return given as T;
    },
  };
}

/** The object's own options with these names. Refuses any other name. */
export function known(
  value: unknown,
  names: readonly string[],
  name: string,
  { method }: Pick<CallContext, "method">,
): Record<string, unknown> {
  const given = object(value, name, method);
  for (const option of Object.keys(given)) {
    if (names.includes(option) || given[option] === undefined) continue;
    throw invalid(`${method}: ${name} has no ${JSON.stringify(option)}`);
  }
  return own(given, names, (option) => invalid(`${method}: ${name}.${option} must not be inherited`));
}

const flag = (name: string): Parameter<boolean> => ({
  read: (value, { method }) => checkBoolean(value, name, method),
});

const expiry = { ex: integer("options.ex"), px: integer("options.px") };

export const setOptions = options<SetOptions>(
  { ...expiry, nx: flag("options.nx"), xx: flag("options.xx") },
  ["ex", "px"],
  ["nx", "xx"],
);

/** Not optional: SETNX has words beside its arguments, so a call never crosses unchanged. */
export const setnxOptions: Parameter<ExpiryOptions> = {
  ...options<ExpiryOptions>(expiry, ["ex", "px"]),
  optional: false,
};

const limit: Parameter<NonNullable<ZRangeOptions["limit"]>> = {
  read(value, call) {
    const { offset, count } = known(value, ["offset", "count"], "options.limit", call);
    return {
      offset: integer("options.limit.offset").read(offset, call),
      count: integer("options.limit.count").read(count, call),
    };
  },
};

export const rangeOptions = options<ZRangeOptions>({ withScores: flag("options.withScores"), limit });

/** A glob over the keys of the store. Special characters of the prefix are escaped. */
export const pattern = (name: string): Parameter<string> => ({
  read(value, { method, prefix }) {
    const glob = text(name).check(value, method);
    return prefix === "" ? glob : `${prefix}:`.replace(/[\\*?[]/g, "\\$&") + glob;
  },
});

const match = pattern("options.match");
const scan = options<ScanOptions>({ match, count: integer("options.count") });

/** Without `match`, a store with a prefix asks for the keys with its prefix. */
export const scanOptions: Parameter<ScanOptions> = {
  read(value, call) {
    const read = scan.read(value, call);
    return read.match === undefined && call.prefix !== "" ? { ...read, match: match.read("*", call) } : read;
  },
};
