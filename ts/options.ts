import type { ExpiryOptions, ScanOptions, SetOptions, ZRangeOptions } from "./adapter.js";
import { type Call, checkBoolean, integer, invalid, object, type Parameter, text } from "./arguments.js";

type Options<T> = { readonly [K in keyof T]-?: Parameter<T[K]> };

/**
 * An object of which each option goes into the argv by itself, in the order given here. Of each `either` at
 * most one is set.
 */
function options<T>(parameters: Options<T>, ...either: (keyof T & string)[][]): Parameter<T> {
  return {
    optional: true,
    append(argv, value, call) {
      const given = value === undefined ? {} : known(value, Object.keys(parameters), "options", call);
      for (const names of either) {
        const set = names.filter((name) => given[name] !== undefined && given[name] !== false);
        if (set.length > 1) throw invalid(`${call.method}: options ${set.join(" and ")} exclude each other`);
      }
      for (const [name, parameter] of Object.entries<Parameter<unknown>>(parameters)) {
        parameter.append(argv, given[name], call);
      }
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
  append(argv, value, call) {
    if (value === undefined) return;
    argv.push(word);
    parameter.append(argv, value, call);
  },
});

/** An option that is a word of Redis's, there or not. */
const flag = (name: string, word: string): Parameter<boolean | undefined> => ({
  append(argv, value, { method }) {
    if (value !== undefined && checkBoolean(value, name, method)) argv.push(word);
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
  append(argv, value, call) {
    expiryOptions.append(argv, value, call);
    argv.push("NX");
  },
};

const limit: Parameter<ZRangeOptions["limit"]> = {
  append(argv, value, call) {
    const { offset, count } = known(value, ["offset", "count"], "options.limit", call);
    integer("options.limit.offset").append(argv, offset, call);
    integer("options.limit.count").append(argv, count, call);
  },
};

export const rangeOptions = options<ZRangeOptions>({
  withScores: flag("options.withScores", "WITHSCORES"),
  limit: valued("LIMIT", limit),
});

/** A glob over the store's keys: what the prefix contains is taken literally. */
export const pattern = (name: string): Parameter<string> => ({
  append(argv, value, { method, prefix }) {
    const glob = text(name).check(value, method);
    argv.push(prefix === "" ? glob : `${prefix}:`.replace(/[\\*?[]/g, "\\$&") + glob);
  },
});

/** Without `match`, a store with a prefix still asks for its own keys only. */
const match: Parameter<ScanOptions["match"]> = {
  append(argv, value, call) {
    if (value === undefined && call.prefix === "") return;
    argv.push("MATCH");
    pattern("options.match").append(argv, value === undefined ? "*" : value, call);
  },
};

export const scanOptions: Parameter<ScanOptions> = {
  ...options<ScanOptions>({ match, count: valued("COUNT", integer("options.count")) }),
  optional: false,
};
