// A test waits for a condition, never for a time.
import { setTimeout as wait } from "node:timers/promises";

/** The factor by which a test's time limit grows: more than one where an emulator runs the tests. */
export const timeoutFactor = Number(process.env.TEST_TIMEOUT_FACTOR ?? 1);

/** Resolves once `condition` holds; it is checked every `interval` ms. Fails after 20 s, far longer than any condition here takes. */
export async function eventually(condition: () => unknown, interval = 5): Promise<void> {
  const deadline = Date.now() + 20_000 * timeoutFactor;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Not within ${20 * timeoutFactor} s: ${condition}`);
    await wait(interval);
  }
}
