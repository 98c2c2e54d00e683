// Credentials that change: functions in a configuration are called before each connection.
import { text } from "../arguments.js";
import type { RedisConfig } from "../config.js";
import { isError, KVError } from "../errors.js";
import type { Given } from "../fields.js";

/** The results of the functions. Undefined for a credential that is no function. */
export interface Credentials {
  readonly username: string | undefined;
  readonly password: string | undefined;
}

/** Calls the functions. Rejects with a KVError that names the one that failed, and why. */
export type AskCredentials = () => Promise<Credentials>;

type Field = keyof Credentials;

/** Undefined if a configuration has no functions. */
export function askerOf({ username, password }: Given<RedisConfig>): AskCredentials | undefined {
  if (typeof username !== "function" && typeof password !== "function") return undefined;
  return async () => {
    const [name, secret] = await Promise.all([ask("username", username), ask("password", password)]);
    return { username: name, password: secret };
  };
}

async function ask(field: Field, source: RedisConfig[Field]): Promise<string | undefined> {
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

function failed(field: Field, what: string): KVError {
  return new KVError("CONNECTION", `redis.${field}() ${what}`, { reason: "credentials" });
}
