import type { ExpiryOptions, ScanOptions, SetOptions, ZRangeOptions } from "./adapter.js";
import { type Call, checkBoolean, integer, invalid, object, type Parameter, text } from "./arguments.js";

type Options<T> = { readonly [K in keyof T]-?: Parameter<T[K]> };

/**
 * An object of which each option goes into the argv by itself, in the order given here. Of each `either` at
 * most one is set.
 */
function options<T extends object>(parameters: Options<T>, ...either: (keyof T & string)[][]): Parameter<T> {
  const rows = Object.entries<Parameter<unknown>>(parameters);
  return {
    optional: true,
    read(value, call) {
      const given = value === undefined ? {} : known(value, Object.keys(parameters), "options", call);
      for (const names of either) {
        const set = names.filter((name) => given[name] !== undefined && given[name] !== false);
        if (set.length > 1) throw invalid(`${call.method}: options ${set.join(" and ")} exclude each other`);
      }
      const read = rows.map(([name, parameter]) => [name, parameter.read(given[name], call)] as const);
      return Object.fromEntries(read.filter(([, option]) => option !== undefined)) as T;
    },
    append(argv, value) {
      for (const [name, parameter] of rows) parameter.append(argv, value[name as keyof T]);
    },
  };
}

/**
 * The options of these names, read once each: a getter cannot change one after its check. Refuses any other
 * name.
 */
export function known(
  value: unknown,
  names: string[],
  name: string,
  { method }: Pick<Call, "method">,
): Record<string, unknown> {
  const given = object(value, name, method);
  const unknown = Object.keys(given).find((option) => !names.includes(option) && given[option] !== undefined);
  if (unknown !== undefined) throw invalid(`${method}: ${name} has no ${JSON.stringify(unknown)}`);
  return Object.fromEntries(names.map((option) => [option, given[option]]));
}

/** An option that is a word of Redis's and a value after it. */
const valued = <T>(word: string, parameter: Parameter<T>): Parameter<T | undefined> => ({
  read: (value, call) => (value === undefined ? undefined : parameter.read(value, call)),
  append(argv, value) {
    if (value === undefined) return;
    argv.push(word);
    parameter.append(argv, value);
  },
});

/** An option that is a word of Redis's, there or not. */
const flag = (name: string, word: string): Parameter<boolean | undefined> => ({
  read: (value, { method }) => (value === undefined ? undefined : checkBoolean(value, name, method)),
  append(argv, value) {
    if (value) argv.push(word);
  },
});

const expiry = {
  ex: valued("EX", integer("options.ex")),
  px: valued("PX", integer("options.px")),
};

export const setOptions = options<SetOptions>(
  { ...expiry, nx: flag("options.nx", "NX"), xx: flag("options.xx", "XX") },
  ["ex", "px"],
  ["nx", "xx"],
);

const expiryOptions = options<ExpiryOptions>(expiry, ["ex", "px"]);

/** An expiry, and always NX. */
export const setnxOptions: Parameter<ExpiryOptions> = {
  read: expiryOptions.read,
  append(argv, value) {
    expiryOptions.append(argv, value);
    argv.push("NX");
  },
};

const limit: Parameter<NonNullable<ZRangeOptions["limit"]>> = {
  read(value, call) {
    const { offset, count } = known(value, ["offset", "count"], "options.limit", call);
    return {
      offset: integer("options.limit.offset").read(offset, call),
      count: integer("options.limit.count").read(count, call),
    };
  },
  append: (argv, { offset, count }) => argv.push(offset, count),
};

export const rangeOptions = options<ZRangeOptions>({
  withScores: flag("options.withScores", "WITHSCORES"),
  limit: valued("LIMIT", limit),
});

/** A glob over the store's keys: what the prefix contains is taken literally. */
export const pattern = (name: string): Parameter<string> => ({
  read(value, { method, prefix }) {
    const glob = text(name).check(value, method);
    return prefix === "" ? glob : `${prefix}:`.replace(/[\\*?[]/g, "\\$&") + glob;
  },
  append: (argv, glob) => argv.push(glob),
});

const matchOption = valued("MATCH", pattern("options.match"));

/** Without `match`, a store with a prefix still asks for its own keys only. */
const match: Parameter<ScanOptions["match"]> = {
  read: (value, call) => matchOption.read(value === undefined && call.prefix !== "" ? "*" : value, call),
  append: matchOption.append,
};

export const scanOptions: Parameter<ScanOptions> = {
  ...options<ScanOptions>({ match, count: valued("COUNT", integer("options.count")) }),
  optional: false,
};
