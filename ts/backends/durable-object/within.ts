import { clearTimeout, setTimeout } from "../../timers.js";

/** Waits for `work`, at most `timeout` ms. */
export async function within(timeout: number, work: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeout);
  });
  await Promise.race([work, late]).finally(() => clearTimeout(timer));
}
