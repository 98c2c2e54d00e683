// What the package needs of Node.js where a bundler has taken it in: built-in modules, and the binary, which is looked for when the
// bundle runs. A bundler that is to copy the binary gets ./binaries.ts instead, by the condition `node-addons`.
import { existsSync } from "node:fs";
import module from "node:module";
import { dirname, isAbsolute } from "node:path";
import { fileURLToPath } from "node:url";
import type { Absent } from "./binaries.js";
import type { Platform } from "./platforms.js";

/** Not as an import of its own: webpack would take `createRequire` for its own business. */
const { createRequire } = module;

/** Unless this is an ES module. Asked by `typeof` webpack says that there is one in any case. */
function nameOfCommonJs(): string | undefined {
  try {
    return __filename;
  } catch {
    return undefined;
  }
}

/**
 * Files that this may be: these names are the bundle's, or what a bundler has put in their place, such as the path that the module
 * had in the build. Last comes the program's own.
 */
const files = [nameOfCommonJs(), import.meta.url, process.argv[1]]
  .filter((file) => file !== undefined)
  .map((file) => (file.startsWith("file:") ? fileURLToPath(file) : file))
  .filter((file) => isAbsolute(file));

const requires = files.map((file) => createRequire(file));

/** The binary of a platform, or undefined if it is nowhere. */
export function findBinary(platform: Platform, absent: Absent): unknown {
  const name = `covara-kv-${platform}`;
  for (const require of requires) {
    const places: (() => unknown)[] = [
      () => require(`./covara-kv.${platform}.node`),
      () => require(name),
      // pnpm lets only covara-kv itself see it.
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

/** What to do where it is nowhere. `here` is what this process runs on. */
export function remedy(platform: Platform, here: string): string {
  const file = `covara-kv.${platform}.node`;
  return [
    `This bundle has no covara-kv binary for this platform (${here}): there is neither ${file} in`,
    `${dirname(files.find((file) => existsSync(file)) ?? process.execPath)} nor the package covara-kv-${platform} in a node_modules above it.`,
    `Copy that file there from node_modules/covara-kv-${platform}, or run npm install covara-kv-${platform} there.`,
    "How each bundler does it: https://github.com/covara-dev/covara-kv/blob/main/docs/bundlers.md",
  ].join(" ");
}

/** A module that the core is to have from outside. */
export function load(specifier: string): unknown {
  if (specifier === "./binaries.js") return { findBinary, remedy };
  return createRequire(process.execPath)(specifier);
}
