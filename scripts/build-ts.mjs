// ts/ → dist/: CommonJS by tsc, and dist/index.mjs in front of it for `import`.
//   --types   also writes index.d.ts, the public types in one file
//   --check   fails if the committed index.d.ts is not what ts/ gives
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { generateDtsBundle } from "dts-bundle-generator";
import ts from "typescript";
import { Failure, main } from "./steps.mjs";

const entry = "ts/index.ts";

/** Compiles, and writes the ES module that re-exports the CommonJS build: one instance, however it is loaded. */
function build() {
  const { config } = ts.readConfigFile("tsconfig.json", ts.sys.readFile);
  const { options, fileNames, errors } = ts.parseJsonConfigFileContent(config, ts.sys, ".");
  report(errors);
  const program = ts.createProgram(fileNames, options);
  report(ts.getPreEmitDiagnostics(program));
  rmSync(options.outDir, { recursive: true, force: true });
  report(program.emit().diagnostics);

  const names = exportedValues(program).map((name) => `  ${name},\n`);
  const head =
    "// Re-exports the CommonJS build, so that the process-wide store is one for `import` and `require`.\n";
  writeFileSync("dist/index.mjs", `${head}export {\n${names.join("")}} from "./index.js";\n`);
}

function exportedValues(program) {
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

function report(diagnostics) {
  if (diagnostics.length === 0) return;
  const host = {
    getCanonicalFileName: (name) => name,
    getCurrentDirectory: ts.sys.getCurrentDirectory,
    getNewLine: () => "\n",
  };
  throw new Failure(ts.formatDiagnostics(diagnostics, host));
}

/** The types of the entry and all they need, in one file; what is not exported or is `@internal` cannot be imported. */
function publicTypes() {
  const output = { noBanner: true, exportReferencedTypes: false };
  const [types] = generateDtsBundle([{ filePath: entry, output }], { preferredConfigPath: "tsconfig.json" });
  const spaced = types.replaceAll(/^(.*[;}])\n(?=\/\*\*|export |interface |type |declare )/gm, "$1\n\n");
  return execFileSync("biome", ["format", "--stdin-file-path=types.d.ts"], {
    input: `// Generated from ts/ by \`npm run build:ts\`.\n\n/// <reference lib="esnext.disposable" />\n\n${spaced}`,
    encoding: "utf8",
    shell: process.platform === "win32",
  });
}

await main(import.meta.url, () => {
  const [option] = process.argv.slice(2);
  if (option !== "--check") build();
  if (option === "--types") writeFileSync("index.d.ts", publicTypes());
  if (option === "--check" && readFileSync("index.d.ts", "utf8") !== publicTypes()) {
    throw new Failure("index.d.ts is not what ts/ gives: run `npm run build:ts` and commit it.");
  }
});
