// What came of a step, in a form that two stores can be compared by.
import { isDeepStrictEqual } from "node:util";
import { KVError } from "covara-kv";
import { differsIn } from "../servers.js";
import { commands } from "./commands.js";
import type { Step } from "./steps.js";

export interface Failure {
  readonly code: string;
  readonly message: string;
  /** Of a transaction: the command that failed, and what came of all. */
  readonly index?: number | undefined;
  readonly results?: unknown[] | undefined;
}

export type Outcome = { readonly value: unknown } | { readonly failure: Failure };

/** The failure that Redis's error is to become. */
export function failureOf({ message }: Error): Failure {
  return { code: message.split(" ", 1)[0] as string, message: inWordsOf70(message) };
}

const hasOtherWords = differsIn("The words of an expiry that is refused");

function inWordsOf70(message: string): string {
  return hasOtherWords ? message.replace(/^(ERR invalid expire time in) (\w+)$/, "$1 '$2' command") : message;
}

/** What came of a method. Anything but a KVError is no answer, and goes on as the error it is. */
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

/** Seconds to live that were read at times less than a second apart. */
function areClose(one: unknown, other: unknown): boolean {
  return Number(one) > 0 && Number(other) > 0 && Math.abs(Number(one) - Number(other)) <= 1;
}
