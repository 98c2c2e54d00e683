// Built-in modules and the binary for the package in a bundle, which looks for the binary when it runs. Under the condition
// `node-addons` a bundler gets ./binaries.ts instead, and copies the binary.
import { existsSync } from "node:fs";
import module from "node:module";
import { dirname, isAbsolute } from "node:path";
import { fileURLToPath } from "node:url";
import type { Absent } from "./binaries.js";
import type { Platform } from "./platforms.js";

/** Not imported by name: webpack would handle `createRequire` itself. */
const { createRequire } = module;

/** The path of a CommonJS module. Not by `typeof`, for which webpack always answers that it exists. */
function nameOfCommonJs(): string | undefined {
  try {
    return __filename;
  } catch {
    return undefined;
  }
}

/**
 * Candidates for the file of this bundle: a bundler may have replaced these names, for example by the path in the build. The last one is
 * the program.
 */
const files = [nameOfCommonJs(), import.meta.url, process.argv[1]]
  .filter((file) => file !== undefined)
  .map((file) => (file.startsWith("file:") ? fileURLToPath(file) : file))
  .filter((file) => isAbsolute(file));

const requires = files.map((file) => createRequire(file));

/** The binary of a platform. Undefined if it is missing. */
export function findBinary(platform: Platform, absent: Absent): unknown {
  const name = `covara-kv-${platform}`;
  for (const require of requires) {
    const places: (() => unknown)[] = [
      () => require(`./covara-kv.${platform}.node`),
      () => require(name),
      // With pnpm only covara-kv itself can resolve it.
      () => createRequire(require.resolve("covara-kv/package.json"))(name),
    ];
    for (const place of places) {
      try {
        return place();
      } catch (error) {
        absent(error);
      }
    }
  }
  return undefined;
}

/** What to do if the binary is missing. `here` describes this process. */
export function remedy(platform: Platform, here: string): string {
  const file = `covara-kv.${platform}.node`;
  return [
    `This bundle has no covara-kv binary for this platform (${here}): there is neither ${file} in`,
    `${dirname(files.find((file) => existsSync(file)) ?? process.execPath)} nor the package covara-kv-${platform} in a node_modules above it.`,
    `Copy that file there from node_modules/covara-kv-${platform}, or run npm install covara-kv-${platform} there.`,
    "How each bundler does it: https://github.com/covara-dev/covara-kv/blob/main/docs/bundlers.md",
  ].join(" ");
}

/** Loads an external module for the core. */
export function load(specifier: string): unknown {
  if (specifier === "./binaries.js") return { findBinary, remedy };
  return createRequire(process.execPath)(specifier);
}
