// In a Worker warnings are for its log.
import type { WarningDetails } from "../warning.js";

export function emitWarning(text: string, { code, detail = "" }: WarningDetails): void {
  console.warn(`[${code}] ${text}`, detail);
}
