import { setImmediate as turn } from "node:timers/promises";

/** Runs `work`, and resolves to the warnings that the process emitted meanwhile. They are not printed. */
export async function warningsOf(
  work: () => unknown,
): Promise<{ code: string | undefined; message: string }[]> {
  const printers = process.listeners("warning");
  const warnings: NodeJS.ErrnoException[] = [];
  process.removeAllListeners("warning");
  process.on("warning", (warning) => void warnings.push(warning));
  try {
    await work();
    await turn(); // A warning is emitted in the tick after its cause.
  } finally {
    process.removeAllListeners("warning");
    for (const printer of printers) process.on("warning", printer);
  }
  return warnings.map(({ code, message }) => ({ code, message }));
}
