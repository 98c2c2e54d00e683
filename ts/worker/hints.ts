// Left out to keep the bundle small: docs/errors.md has the hints.
export const hintFor = (): string | undefined => undefined;
