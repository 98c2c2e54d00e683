// In a Worker warnings go to its log.
export function emitWarning(text: string, code: string, ...failure: unknown[]): void {
  console.warn(`[${code}] ${text}`, ...failure);
}
