/** What a warning has beside its text. */
export interface WarningDetails {
  readonly code: string;
  readonly detail?: string;
}

export function emitWarning(text: string, details: WarningDetails): void {
  process.emitWarning(text, details);
}
