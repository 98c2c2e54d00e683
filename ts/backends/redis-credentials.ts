// Credentials that change: what a configuration has as functions is asked for before each connection.
import { text } from "../arguments.js";
import type { RedisConfig } from "../config.js";
import { isError, KVError } from "../errors.js";
import type { Given } from "../fields.js";

/** What is known of the credentials: what is not asked for is undefined. */
export interface Credentials {
  readonly username: string | undefined;
  readonly password: string | undefined;
}

/** Asks for the credentials. Rejects with a KVError that says which were not given, and why. */
export type AskCredentials = () => Promise<Credentials>;

type Field = keyof Credentials;

/** Nothing if a configuration has no functions. */
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
