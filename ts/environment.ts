/** A variable of the process's environment. Undefined where the runtime keeps it from us, as Deno does without `--allow-env`. */
export function variable(name: string): string | undefined {
  try {
    return process.env[name];
  } catch {
    return undefined;
  }
}
