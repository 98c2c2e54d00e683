// A property, checked as often and from the seed that the environment says.
//   DIFFERENTIAL_RUNS=10000 npm test -- differential     long
//   DIFFERENTIAL_SEED=-123 npm test -- differential      again, as it was printed
import fc from "fast-check";
import { literal } from "./steps.js";

const { DIFFERENTIAL_RUNS, DIFFERENTIAL_SEED } = process.env;

/** How much longer than by default everything is to run. */
export const runs = (byDefault: number) => Math.ceil(byDefault * Number(DIFFERENTIAL_RUNS ?? 1));

export async function check<T>(
  arbitrary: fc.Arbitrary<T>,
  numRuns: number,
  predicate: (value: T) => Promise<void>,
  print: (value: T) => string = literal,
): Promise<void> {
  const seed = DIFFERENTIAL_SEED === undefined ? {} : { seed: Number(DIFFERENTIAL_SEED) };
  const outcome = await fc.check(fc.asyncProperty(arbitrary, predicate), { numRuns, ...seed });
  if (!outcome.failed) return;
  const { counterexample, errorInstance, numShrinks } = outcome;
  const cause = errorInstance instanceof Error ? errorInstance.message : String(errorInstance);
  const found = counterexample === null ? "" : print(counterexample[0]);
  throw new Error(`${cause}\n\n${found}\n\nDIFFERENTIAL_SEED=${outcome.seed}, shrunk ${numShrinks} times`, {
    cause: errorInstance,
  });
}
