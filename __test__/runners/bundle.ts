// The conformance tests and checks.ts as one file, for test runners other than Node.js's own.
import { cpSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build, type Plugin } from "esbuild";
import { platformName } from "../../ts/loader.js";
import { root } from "../installed/run.js";

/** The folder of the bundles, with the package in node_modules. It is a copy, as some runners take linked files for the test's own. */
export const folder = join(root, ".cache/runners");

const tests = join(root, "__test__");

/** The text that replaces a module in the bundle, by the name of the import. */
const replacements: Record<string, string> = {
  "node:test": 'export * from "./runners/environment.js";',
  // Durable Objects have no native part, and need more of Node.js's globals than some realms have.
  "./durable-object/fake-namespace.js": "export class FakeNamespace {}",
  "./workerd/workerd.js":
    "export const cannotRun = true; export const namespaceOf = () => {}, startWorker = () => {};",
};

const replacing: Plugin = {
  name: "replacing",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /./ }, ({ path }) =>
      path in replacements ? { path, namespace: "replaced" } : undefined,
    );
    onLoad({ filter: /./, namespace: "replaced" }, ({ path }) => ({
      contents: replacements[path] as string,
      resolveDir: tests,
    }));
  },
};

/** Writes `tests.cjs` and `tests.mjs`, and copies the built package. */
export async function bundle(): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  const families = readdirSync(join(tests, "conformance")).map((file) => `./conformance/${file}`);
  const contents = [...families, "./runners/checks.ts"]
    .map((file) => `import ${JSON.stringify(file)};\n`)
    .join("");
  for (const [format, outfile] of [
    ["cjs", "tests.cjs"],
    ["esm", "tests.mjs"],
  ] as const) {
    await build({
      stdin: { contents, resolveDir: tests },
      outfile: join(folder, outfile),
      format,
      bundle: true,
      // Our package.json declares only one module as having side effects, which would drop the test files.
      ignoreAnnotations: true,
      platform: "node",
      target: "es2022",
      external: ["covara-kv"],
      plugins: [replacing],
      logLevel: "error",
    });
  }
  const copy = join(folder, "node_modules/covara-kv");
  mkdirSync(copy, { recursive: true });
  for (const file of ["package.json", "dist", `covara-kv.${platformName()}.node`])
    cpSync(join(root, file), join(copy, file), { recursive: true });
  writeFileSync(join(folder, "package.json"), "{}");
}
