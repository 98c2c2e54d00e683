// The hook for `import` in Node.js before 22.15, which runs hooks in a thread of their own.
import { fileURLToPath } from "node:url";
import { isReplaced, refusalOf, SPECIFIER } from "./redirect.js";

const replaced = { url: new URL("./index.mjs", import.meta.url).href, shortCircuit: true };

export async function resolve(
  specifier: string,
  context: object,
  next: (specifier: string, context: object) => Promise<{ url: string }>,
): Promise<object> {
  let resolved: { url: string };
  try {
    resolved = await next(specifier, context);
  } catch (error) {
    const refusal = specifier === SPECIFIER ? refusalOf(error) : error;
    if (refusal !== undefined) throw refusal;
    return replaced;
  }
  const isFile = resolved.url.startsWith("file:");
  return isFile && isReplaced(fileURLToPath(resolved.url)) ? replaced : resolved;
}
