/** An environment variable. Undefined also where the runtime denies it, as Deno does without `--allow-env`. */
export function variable(name: string): string | undefined {
  try {
    return process.env[name];
  } catch {
    return undefined;
  }
}
