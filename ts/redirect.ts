import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { KVError } from "./errors.js";

/** The framework whose key-value module this package takes the place of. */
const FRAMEWORK = "covara";
/** What an application imports of it. */
export const SPECIFIER = `${FRAMEWORK}/kv`;

interface Manifest {
  name?: unknown;
  version?: unknown;
  exports?: unknown;
}

/** The directory of the framework's key-value module, for each directory that was asked about. */
const kvDirectories = new Map<string, string | undefined>();

/**
 * Whether a module is one of the framework's key-value module. Throws CONFIG if it is of a framework that has none:
 * then the application would go on with two stores.
 */
export function isReplaced(file: string): boolean {
  return kvDirectoryOf(dirname(file)) === dirname(file);
}

/** What to throw in place of the error that `covara/kv` could not be resolved with; nothing if the framework is not there. */
export function refusalOf(error: unknown): unknown {
  const { code } = error as { code?: unknown };
  if (code === "MODULE_NOT_FOUND" || code === "ERR_MODULE_NOT_FOUND") return undefined;
  if (code !== "ERR_PACKAGE_PATH_NOT_EXPORTED") return error;
  return withoutKV(`this version of ${FRAMEWORK}`, error);
}

function kvDirectoryOf(directory: string): string | undefined {
  if (kvDirectories.has(directory)) return kvDirectories.get(directory);
  const manifest = manifestOf(directory);
  const parent = dirname(directory);
  let found: string | undefined;
  if (manifest?.name === FRAMEWORK) found = join(directory, dirname(kvEntry(manifest, directory)));
  else if (manifest?.name === undefined && parent !== directory) found = kvDirectoryOf(parent);
  kvDirectories.set(directory, found);
  return found;
}

function manifestOf(directory: string): Manifest | undefined {
  const file = join(directory, "package.json");
  if (!existsSync(file)) return undefined;
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    // Whoever loads that package is told by Node.
    return undefined;
  }
}

/** The file that `covara/kv` is, under whatever condition. */
function kvEntry({ version, exports }: Manifest, directory: string): string {
  const entry = firstString((exports as Record<string, unknown> | undefined)?.["./kv"]);
  if (entry === undefined) throw withoutKV(`${FRAMEWORK} ${version} in ${directory}`);
  return entry;
}

/** Types are no modules. */
function firstString(target: unknown): string | undefined {
  if (typeof target === "string") return target;
  if (typeof target !== "object" || target === null) return undefined;
  for (const [condition, inner] of Object.entries(target)) {
    const found = condition === "types" ? undefined : firstString(inner);
    if (found !== undefined) return found;
  }
  return undefined;
}

function withoutKV(what: string, cause?: unknown): KVError {
  const text = `covara-kv/register: ${what} has no "./kv" that could be replaced. Use setGlobalKV(await createKV(…)) in its place.`;
  return new KVError("CONFIG", text, { reason: "framework", cause });
}
