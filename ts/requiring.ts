/** Runs a `require` of dist/index.js. In ES modules of esbuild it exists only if the bundle's author provides it. */
export function requiring<T>(require: () => T): T {
  try {
    return require();
  } catch (cause) {
    if (!String(cause).includes("Dynamic require of")) throw cause;
    const banner = `import { createRequire } from "node:module"; const require = createRequire(import.meta.url);`;
    const error = new Error(
      `covara-kv, as esbuild bundles it into ES modules with the condition node-addons, needs --banner:js='${banner}': see https://github.com/covara-dev/covara-kv/blob/main/docs/bundlers.md`,
      { cause },
    );
    throw Object.assign(error, { code: "UNSUPPORTED" });
  }
}
