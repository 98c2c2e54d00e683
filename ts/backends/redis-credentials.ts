// Credentials that change: functions in a configuration are called before each connection.
import { text } from "../arguments.js";
import type { RedisConfig } from "../config.js";
import { isError, KVError } from "../errors.js";

/** The results of the functions. Undefined for a credential that is no function. */
export interface Credentials {
  readonly username: string | undefined;
  readonly password: string | undefined;
}

/** Where in a configuration credentials are. */
export type CredentialsPlace = "redis" | "redis.sentinel";

/** Asks for the credentials of a place. Rejects with a KVError that says which were not given, and why. */
export type AskCredentials = (place: CredentialsPlace) => Promise<Credentials>;

type Field = keyof Credentials;
type Sources = { readonly [F in Field]?: RedisConfig[F] };

/** Nothing if a configuration has no functions. */
export function askerOf(sources: Record<CredentialsPlace, Sources>): AskCredentials | undefined {
  const isFunction = (source: unknown) => typeof source === "function";
  if (!Object.values(sources).some((source) => isFunction(source.username) || isFunction(source.password))) {
    return undefined;
  }
  return async (place) => {
    const ask = (field: Field) => askFor(`${place}.${field}`, sources[place][field]);
    const [username, password] = await Promise.all([ask("username"), ask("password")]);
    return { username, password };
  };
}

async function askFor(field: string, source: RedisConfig[Field]): Promise<string | undefined> {
  if (typeof source !== "function") return undefined;
  let given: unknown;
  try {
    given = await source();
  } catch (error) {
    throw failed(field, `failed: ${isError(error) ? error.message : typeof error}`);
  }
  if (given === "") throw failed(field, "gave an empty string");
  if (text(field).accepts(given)) return given;
  throw failed(field, `must give a string, got ${given === null ? "null" : typeof given}`);
}

function failed(field: string, what: string): KVError {
  return new KVError("CONNECTION", `${field}() ${what}`, { reason: "credentials" });
}
