// ts/ → dist/: core.js, and a file for each way in. These are index.js (CommonJS), index.mjs in front of it for `import`, module.mjs for
// bundlers, worker.mjs for Workers, the command line and the module hooks.
//   --types   also writes index.d.ts, the public types in one file
//   --check   fails if the committed index.d.ts is not what ts/ gives
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { generateDtsBundle } from "dts-bundle-generator";
import * as esbuild from "esbuild";
import ts from "typescript";
import { Failure, main, TSC } from "./steps.mjs";

const entry = "ts/index.ts";

/** What stands in for the modules that need native code or Node.js, in a Worker. */
const inWorker = {
  "ts/backends/memory.ts": "ts/worker/stores.ts",
  "ts/backends/redis.ts": "ts/worker/stores.ts",
  "ts/fanout/thread.ts": "ts/worker/fanout.ts",
  "ts/guard.ts": "ts/worker/guard.ts",
  "ts/hints.ts": "ts/worker/hints.ts",
  "ts/timers.ts": "ts/worker/timers.ts",
  "ts/utf8.ts": "ts/worker/utf8.ts",
  "ts/warning.ts": "ts/worker/warning.ts",
};

/** Where the declarations of each file are, of which index.d.ts is made. */
const declarations = ".cache/declarations";

/** Checks the types, and writes the declarations. */
function checkTypes() {
  rmSync(declarations, { recursive: true, force: true });
  // In a copy whose node_modules is a link, the declarations could not name the types in there by the path of the package.
  const options = ["--declaration", "--emitDeclarationOnly", "--preserveSymlinks", "--outDir", declarations];
  try {
    execFileSync(process.execPath, [TSC, "-p", "tsconfig.json", ...options], { encoding: "utf8" });
  } catch (error) {
    throw new Failure(error.stdout || error.message);
  }
}

/** Writes what is published. */
async function build() {
  rmSync("dist", { recursive: true, force: true });

  // Smaller by a third. Names stay, and lines are short, for the stacks of errors and the line that Node.js shows above them.
  const minified = { minifyWhitespace: true, minifySyntax: true, lineLimit: 120 };
  const node = { platform: "node", target: "node18.18", format: "cjs", ...minified };
  const core = { ...node, ...asFunction, plugins: [replacing({ "ts/binaries.ts": binaries })] };
  const [metafile] = await Promise.all([
    bundle(entry, "core.js", core),
    bundle("ts/cli/index.ts", "cli.js", {
      ...node,
      external: addons,
      plugins: [replacing({ [entry]: "./index.js" })],
    }),
    bundle("ts/register.ts", "register.js", node),
    bundle("ts/register-import.mts", "register-import.mjs", { ...node, format: "esm" }),
    bundle(entry, "worker.mjs", {
      ...{ platform: "neutral", target: "es2022", format: "esm", minify: true },
      plugins: [replacing(inWorker)],
      banner: { js: "// covara-kv for Workers, bundled and minified from ts/ of its repository." },
    }),
  ]);
  await entries(exportedValues(), metafile.inputs, node);
}

/** What the core has from outside beside Node.js's modules: each of its entries finds the binary in a way of its own. */
const binaries = "./binaries.js";

/** What ts/binaries.ts requires. */
const addons = ["../covara-kv.*.node", "covara-kv-*"];

/** The core is a function of `require`, so that a bundle of ES modules can give it Node.js's modules. */
const asFunction = {
  banner: { js: 'module.exports=(require,module)=>{"use strict";' },
  footer: { js: "return module.exports};" },
};

/** The entries in front of the core: they run it, and name what it exports. */
async function entries(names, inputs, node) {
  const paths = Object.values(inputs).flatMap(({ imports }) => imports.map(({ path }) => path));
  const builtin = [...new Set(paths)].filter((path) => path.startsWith("node:")).sort();
  const list = names.map((name) => `  ${name},\n`).join("");
  const write = (resolveDir, contents, output, options) =>
    bundle({ stdin: { contents, resolveDir } }, output, { ...node, ...options });
  await Promise.all([
    write(
      "ts",
      `const { requiring } = require("./requiring.ts");
      const modules = {
        "${binaries}": () => require("./binaries.ts"),
        ${builtin.map((name) => `"${name}": () => require("${name}"),`).join("\n")}
      };
      module.exports = require("./core.js")((name) => requiring(modules[name]), { exports: {} });`,
      "index.js",
      // Names for `import`, which does not run CommonJS to learn them.
      {
        external: ["./core.js", ...addons],
        footer: { js: `0 && (module.exports = {\n${list}});` },
      },
    ),
    write(
      "ts",
      `import core from "./core.js";
      import { load } from "./bundle.mts";
      export const {\n${list}} = core(load, { exports: {} });`,
      "module.mjs",
      { external: ["./core.js"], format: "esm" },
    ),
  ]);
  // One instance, however it is loaded.
  const head =
    "// Re-exports the CommonJS build, so that the process-wide store is one for `import` and `require`.\n";
  writeFileSync("dist/index.mjs", `${head}export {\n${list}} from "./index.js";\n`);
}

/** Where the limit of a line breaks a string: Rollup indents what it bundles, and puts the indentation into the string. */
const brokenString = /(?<!\\)((?:\\\\)*)\\\n/g;

/** Bundles a file, or `{ stdin }`. */
async function bundle(source, output, options) {
  const input = typeof source === "string" ? { entryPoints: [source] } : source;
  const fixed = { outfile: `dist/${output}`, bundle: true, charset: "utf8", metafile: true, write: false };
  // Errors are thrown, and all of them are in the message.
  const { metafile, outputFiles } = await esbuild.build({
    ...input,
    ...fixed,
    logLevel: "silent",
    ...options,
  });
  mkdirSync("dist", { recursive: true });
  for (const { path, text } of outputFiles) {
    const mode = text.startsWith("#!") ? 0o755 : 0o644;
    writeFileSync(path, text.replaceAll(brokenString, "$1"), { mode });
  }
  return metafile;
}

/** Has modules replaced: by others, or by what is not to be bundled. */
function replacing(modules) {
  const replacements = new Map(Object.entries(modules).map(([from, to]) => [resolve(from), to]));
  return {
    name: "replacing",
    setup({ onResolve }) {
      onResolve({ filter: /^\.\.?\// }, ({ path, resolveDir }) => {
        const to = replacements.get(resolve(resolveDir, path).replace(/\.js$/, ".ts"));
        if (to === undefined) return undefined;
        return to.startsWith("./") ? { path: to, external: true } : { path: resolve(to) };
      });
    },
  };
}

/** The names of what the entry exports beside types. What they are is not asked, so the libraries are not read. */
function exportedValues() {
  const program = ts.createProgram([entry], { module: ts.ModuleKind.Node16, noLib: true, types: [] });
  const checker = program.getTypeChecker();
  const target = (symbol) =>
    symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  return checker
    .getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(entry)))
    .filter((symbol) => target(symbol).flags & ts.SymbolFlags.Value)
    .filter((symbol) => !symbol.declarations.some(ts.isTypeOnlyExportDeclaration))
    .map((symbol) => symbol.name)
    .sort();
}

/** The types of the entry and all they need, in one file; what is not exported or is `@internal` cannot be imported. */
function publicTypes() {
  const output = { noBanner: true, exportReferencedTypes: false };
  // A user may have no types of Node.js. And without them the bundler takes half of the time.
  const compilerOptions = { rootDir: ".", skipLibCheck: true, types: [] };
  const preferredConfigPath = `${declarations}/tsconfig.json`;
  writeFileSync(
    preferredConfigPath,
    JSON.stringify({ extends: resolve("tsconfig.json"), compilerOptions, include: ["."] }),
  );
  const filePath = `${declarations}/index.d.ts`;
  const [types] = generateDtsBundle([{ filePath, output }], { preferredConfigPath });
  const spaced = types.replaceAll(/^(.*[;}])\n(?=\/\*\*|export |interface |type |declare )/gm, "$1\n\n");
  return execFileSync("biome", ["format", "--stdin-file-path=types.d.ts"], {
    input: `// Generated from ts/ by \`npm run build:ts\`.\n\n/// <reference lib="esnext.disposable" />\n\n${spaced}`,
    encoding: "utf8",
    shell: process.platform === "win32",
  });
}

await main(import.meta.url, async () => {
  const [option] = process.argv.slice(2);
  checkTypes();
  if (option !== "--check") await build();
  if (option === "--types") writeFileSync("index.d.ts", publicTypes());
  if (option === "--check" && readFileSync("index.d.ts", "utf8") !== publicTypes()) {
    throw new Failure("index.d.ts is not what ts/ gives: run `npm run build:ts` and commit it.");
  }
});
