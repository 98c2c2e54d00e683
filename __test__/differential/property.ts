// A property, checked as often and from the seed that the environment says.
//   DIFFERENTIAL_RUNS=5000 npm test -- differential    longer, and other cases each time
//   DIFFERENTIAL_SEED=-123 npm test -- differential    again what a failure printed
import fc from "fast-check";
import { literal } from "./steps.js";

const { DIFFERENTIAL_RUNS, DIFFERENTIAL_SEED } = process.env;
/** By default the same cases each time: a failure then comes from the change, not from a new case. */
const SEED = DIFFERENTIAL_SEED ?? (DIFFERENTIAL_RUNS === undefined ? "1" : undefined);

export const runs = (byDefault: number) => Number(DIFFERENTIAL_RUNS ?? byDefault);

export async function check<T>(
  arbitrary: fc.Arbitrary<T>,
  numRuns: number,
  predicate: (value: T) => Promise<void>,
  print: (value: T) => string = literal,
): Promise<void> {
  const seed = SEED === undefined ? {} : { seed: Number(SEED) };
  const outcome = await fc.check(fc.asyncProperty(arbitrary, predicate), { numRuns, ...seed });
  if (!outcome.failed) return;
  const { counterexample, errorInstance, numShrinks } = outcome;
  const cause = errorInstance instanceof Error ? errorInstance.message : String(errorInstance);
  const found = counterexample === null ? "" : print(counterexample[0]);
  throw new Error(`${cause}\n\n${found}\n\nDIFFERENTIAL_SEED=${outcome.seed}, shrunk ${numShrinks} times`, {
    cause: errorInstance,
  });
}
