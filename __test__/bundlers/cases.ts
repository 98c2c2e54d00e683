// How each bundler is called, without a list of externals. It runs in a project with app.mjs and app.cjs, and writes to `out`.
import { platformName } from "../../ts/loader.js";
import { tool } from "../installed/run.js";
import { bundler, unlessAll } from "./project.js";

export interface Case {
  /** The bundler's configuration files. */
  readonly files?: Record<string, string>;
  readonly build: [program: string, ...args: string[]];
  readonly run: [program: string, ...args: string[]];
  /** Whether the output has a copy of the binary. */
  readonly copies?: true;
}

const node = (file: string): Case["run"] => ["node", file];

const esbuild = (entry: string, output: string, ...options: string[]): Case => {
  const fixed = [entry, "--bundle", "--platform=node", `--format=${output.endsWith("cjs") ? "cjs" : "esm"}`];
  const extension = `--out-extension:.js=.${output.slice(-3)}`;
  return {
    build: ["node", tool("esbuild/bin/esbuild"), ...fixed, extension, "--outdir=out", ...options],
    run: node(output),
  };
};

/** The options with which esbuild copies the binary. A bundle of ES modules has no `require` of its own. */
const copying = ["--conditions=node-addons", "--loader:.node=copy"];
export const banner =
  '--banner:js=import { createRequire } from "node:module"; const require = createRequire(import.meta.url);';

const webpack = (path: string, entry: string, output: string): Case => ({
  files: {
    "webpack.cjs": `
      const isModule = ${output.endsWith("mjs")};
      const settings = {
        mode: "production", target: "node", entry: "./${entry}", experiments: { outputModule: isModule },
        output: { path: require("path").resolve("out"), filename: "${output}", module: isModule },
      };
      require(${JSON.stringify(path)})(settings, (error, stats) => {
        const { errors, warnings } = error ? { errors: [error], warnings: [] } : stats.toJson();
        for (const { message } of [...errors, ...warnings]) { console.error(message); process.exitCode = 1; }
      });`,
  },
  build: ["node", "webpack.cjs"],
  run: node(output),
});

const rollup = (entry: string, output: string): Case => ({
  files: {
    "rollup.config.cjs": `
      const commonjs = require(${JSON.stringify(bundler("@rollup/plugin-commonjs"))});
      const { nodeResolve } = require(${JSON.stringify(bundler("@rollup/plugin-node-resolve"))});
      module.exports = {
        input: "${entry}",
        output: { file: "out/${output}", format: "${output.endsWith("mjs") ? "es" : "cjs"}" },
        plugins: [nodeResolve({ preferBuiltins: true }), commonjs()],
      };`,
  },
  build: ["node", bundler("rollup/dist/bin/rollup"), "-c", "rollup.config.cjs", "--failAfterWarnings"],
  run: node(output),
});

/** Vite leaves packages out of a bundle for the server, unless it is told not to. */
const vite = (path: string): Case => ({
  files: {
    "vite.config.mjs": `export default {
      ssr: { noExternal: true },
      build: { ssr: "app.mjs", outDir: "out", rollupOptions: { output: { entryFileNames: "app.mjs" } } },
    };`,
  },
  build: ["node", path, "build", "--logLevel", "warn"],
  run: node("app.mjs"),
});

/** tsup leaves out what package.json has as a dependency, unless it is told not to. */
const tsup = (format: "esm" | "cjs", output: string): Case => ({
  files: {
    "tsup.config.mjs": `export default {
      entry: ["app.mjs"], format: "${format}", outDir: "out", noExternal: [/./],
      outExtension: () => ({ js: ".${output.slice(-3)}" }),
    };`,
  },
  build: ["node", bundler("tsup/dist/cli-default.js")],
  run: node(output),
});

const rolldown = (output: string): Case => ({
  build: [
    ...["node", bundler("rolldown/bin/cli.mjs"), "app.mjs", "--platform", "node"],
    ...["--format", output.endsWith("mjs") ? "esm" : "cjs", "-o", `out/${output}`],
  ] as unknown as Case["build"],
  run: node(output),
});

const bunItself = tool("@oven/bun-linux-x64/bin/bun");

const bun = (target: "node" | "bun", format: "esm" | "cjs"): Case => {
  const output = format === "esm" ? "[name].mjs" : "[name].cjs";
  const options = [`--target=${target}`, `--format=${format}`, "--outdir=out", `--entry-naming=${output}`];
  const file = output.replace("[name]", "app");
  return {
    build: [bunItself, "build", "app.mjs", ...options],
    run: [target === "bun" ? bunItself : "node", file],
    copies: true,
  };
};

const quick: Record<string, Case> = {
  "esbuild, ES modules": esbuild("app.mjs", "app.mjs"),
  "esbuild, CommonJS from ES modules": esbuild("app.mjs", "app.cjs"),
  "esbuild, ES modules from CommonJS": esbuild("app.cjs", "app.mjs"),
  "esbuild, CommonJS": esbuild("app.cjs", "app.cjs"),
  "esbuild that copies, CommonJS": { ...esbuild("app.mjs", "app.cjs", ...copying), copies: true },
  "esbuild that copies, ES modules": { ...esbuild("app.mjs", "app.mjs", ...copying, banner), copies: true },
  "webpack, ES modules to CommonJS": webpack(tool("webpack"), "app.mjs", "app.cjs"),
  "webpack, CommonJS": webpack(tool("webpack"), "app.cjs", "app.cjs"),
  "Vite 6 for SSR": vite(tool("vite/bin/vite.js")),
};

/** The programs of Bun and esbuild are those of this platform. */
const bunOnLinux: Record<string, Case> = {
  "bun build for Node.js": bun("node", "esm"),
  "bun build for Node.js, CommonJS": bun("node", "cjs"),
  "bun build for Bun": bun("bun", "esm"),
  "bun build --compile": {
    build: [bunItself, "build", "--compile", "app.mjs", "--outfile=out/app"],
    run: ["./app"],
    copies: true,
  },
};

const slow: Record<string, Case> = {
  "newest webpack, ES modules": webpack(bundler("webpack"), "app.mjs", "app.mjs"),
  "newest webpack, CommonJS": webpack(bundler("webpack"), "app.mjs", "app.cjs"),
  "Rollup, ES modules": rollup("app.mjs", "app.mjs"),
  "Rollup, CommonJS from ES modules": rollup("app.mjs", "app.cjs"),
  "Rollup, ES modules from CommonJS": rollup("app.cjs", "app.mjs"),
  "Rollup, CommonJS": rollup("app.cjs", "app.cjs"),
  "Rolldown, ES modules": rolldown("app.mjs"),
  "Rolldown, CommonJS": rolldown("app.cjs"),
  "Vite 8 for SSR": vite(bundler("vite/bin/vite.js")),
  "tsup, ES modules": tsup("esm", "app.mjs"),
  "tsup, CommonJS": tsup("cjs", "app.cjs"),
};

const unlessBun = platformName() !== "linux-x64-gnu" && "Bun's program is of linux-x64-gnu";

/** All cases; `skip` is why one is not run, if it is not. */
export const cases: Record<string, Case & { readonly skip: string | false }> = Object.fromEntries([
  ...Object.entries(quick).map(([name, one]) => [name, { ...one, skip: false }]),
  ...Object.entries(bunOnLinux).map(([name, one]) => [name, { ...one, skip: unlessBun }]),
  ...Object.entries(slow).map(([name, one]) => [name, { ...one, skip: unlessAll }]),
]);
