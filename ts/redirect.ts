import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { KVError } from "./errors.js";

/** The framework whose key-value module this package replaces. */
const FRAMEWORK = "covara";
/** The module that an application imports. */
export const SPECIFIER = `${FRAMEWORK}/kv`;

interface Manifest {
  name?: unknown;
  version?: unknown;
  exports?: unknown;
}

/** A cache: the directory of the framework's key-value module, by the directory of the importing file. */
const kvDirectories = new Map<string, string | undefined>();

/**
 * Whether a file belongs to the framework's key-value module. Throws CONFIG for a framework without one: else the application
 * would run with two stores.
 */
export function isReplaced(file: string): boolean {
  return kvDirectoryOf(dirname(file)) === dirname(file);
}

/** The error to throw when `covara/kv` cannot be resolved. Undefined if the framework is not installed. */
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
    // Node.js's own error is right here.
    return undefined;
  }
}

/** The file of `covara/kv`, under any condition. */
function kvEntry({ version, exports }: Manifest, directory: string): string {
  const entry = firstString((exports as Record<string, unknown> | undefined)?.["./kv"]);
  if (entry === undefined) throw withoutKV(`${FRAMEWORK} ${version} in ${directory}`);
  return entry;
}

/** The first file of a target, without type declarations. */
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
