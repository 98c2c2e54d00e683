// The outcome of a step, in a form in which two stores can be compared.
import { isDeepStrictEqual } from "node:util";
import { KVError } from "covara-kv";
import { differsIn } from "../servers.js";
import { commands } from "./commands.js";
import type { Step } from "./steps.js";

export interface Failure {
  readonly code: string;
  readonly message: string;
  /** Only of a transaction: the index of the command that failed, and all results. */
  readonly index?: number | undefined;
  readonly results?: unknown[] | undefined;
}

export type Outcome = { readonly value: unknown } | { readonly failure: Failure };

/** The failure that a store reports for this error of Redis. */
export function failureOf({ message }: Error): Failure {
  return { code: message.split(" ", 1)[0] as string, message: inWordsOf70(message) };
}

const hasOtherWords = differsIn("The words of an expiry that is refused");

function inWordsOf70(message: string): string {
  return hasOtherWords ? message.replace(/^(ERR invalid expire time in) (\w+)$/, "$1 '$2' command") : message;
}

/** The outcome of a method. An error that is no KVError is thrown on. */
export async function outcomeOf(result: Promise<unknown>): Promise<Outcome> {
  try {
    return { value: await result };
  } catch (error) {
    if (!(error instanceof KVError)) throw error;
    const { code, index, results } = error;
    const failure = { code, message: inWordsOf70(error.message) };
    if (index === undefined) return { failure };
    return { failure: { ...failure, index, results: results?.map((result) => withFailure(result)) } };
  }
}

function withFailure(result: unknown): unknown {
  return result instanceof KVError ? { code: result.code, message: inWordsOf70(result.message) } : result;
}

export function equal(step: Step, one: Outcome, other: Outcome): boolean {
  if ("queue" in step || "failure" in one || "failure" in other) return isDeepStrictEqual(one, other);
  const { inOrder = (result) => result, elapses } = commands[step.method];
  const [value, otherValue] = [inOrder(one.value), inOrder(other.value)];
  return isDeepStrictEqual(value, otherValue) || (elapses === true && areClose(value, otherValue));
}

/** Whether two times to live, in seconds, are read less than about a second apart. */
function areClose(one: unknown, other: unknown): boolean {
  return Number(one) > 0 && Number(other) > 0 && Math.abs(Number(one) - Number(other)) <= 1;
}
