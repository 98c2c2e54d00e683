// A test waits for a condition, never for a time.
import { setTimeout as wait } from "node:timers/promises";

/** How many times as long as usual a test may take: more than one where an emulator runs it. */
export const patience = Number(process.env.TEST_PATIENCE ?? 1);

/** Resolves once `condition` holds, looked at each `interval` ms. Fails if it does not for 20 s: far more than anything here takes. */
export async function eventually(condition: () => unknown, interval = 5): Promise<void> {
  const deadline = Date.now() + 20_000 * patience;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Not within ${20 * patience} s: ${condition}`);
    await wait(interval);
  }
}
