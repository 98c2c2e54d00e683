export function emitWarning(text: string, code: string, ...failure: unknown[]): void {
  process.emitWarning(text, { code, ...(failure.length > 0 && { detail: describe(failure[0]) }) });
}

function describe(error: unknown): string {
  try {
    const { stack } = Object(error) as { stack?: unknown };
    return typeof stack === "string" ? stack : `It threw ${String(error)}`;
  } catch {
    return "What it threw cannot be printed.";
  }
}
