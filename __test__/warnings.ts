import { setImmediate as turn } from "node:timers/promises";

/** Runs `work`, and gives the warnings of the process meanwhile, which are not printed. */
export async function warningsOf(
  work: () => unknown,
): Promise<{ code: string | undefined; message: string }[]> {
  const printers = process.listeners("warning");
  const warnings: NodeJS.ErrnoException[] = [];
  process.removeAllListeners("warning");
  process.on("warning", (warning) => void warnings.push(warning));
  try {
    await work();
    await turn(); // A warning is told in the tick after the one that it comes from.
  } finally {
    process.removeAllListeners("warning");
    for (const printer of printers) process.on("warning", printer);
  }
  return warnings.map(({ code, message }) => ({ code, message }));
}
