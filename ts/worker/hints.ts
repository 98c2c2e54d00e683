// A Worker's bundle is small: docs/errors.md has them.
export const hintFor = (): string | undefined => undefined;
