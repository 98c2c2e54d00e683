import { isError, KVError } from "./errors.js";

/**
 * The binary of each platform: beside the package in a clone, else a package of its own, of which npm installs the one that
 * fits. The names are literal, so that bundlers see what may be loaded; nothing is downloaded or compiled.
 */
const binaries: Record<string, { readonly local: () => unknown; readonly installed: () => unknown }> = {
  "linux-x64-gnu": {
    local: () => require("../covara-kv.linux-x64-gnu.node"),
    installed: () => require("covara-kv-linux-x64-gnu"),
  },
  "linux-x64-musl": {
    local: () => require("../covara-kv.linux-x64-musl.node"),
    installed: () => require("covara-kv-linux-x64-musl"),
  },
  "linux-arm64-gnu": {
    local: () => require("../covara-kv.linux-arm64-gnu.node"),
    installed: () => require("covara-kv-linux-arm64-gnu"),
  },
  "linux-arm64-musl": {
    local: () => require("../covara-kv.linux-arm64-musl.node"),
    installed: () => require("covara-kv-linux-arm64-musl"),
  },
  "linux-arm-gnueabihf": {
    local: () => require("../covara-kv.linux-arm-gnueabihf.node"),
    installed: () => require("covara-kv-linux-arm-gnueabihf"),
  },
  "darwin-x64": {
    local: () => require("../covara-kv.darwin-x64.node"),
    installed: () => require("covara-kv-darwin-x64"),
  },
  "darwin-arm64": {
    local: () => require("../covara-kv.darwin-arm64.node"),
    installed: () => require("covara-kv-darwin-arm64"),
  },
  "win32-x64-msvc": {
    local: () => require("../covara-kv.win32-x64-msvc.node"),
    installed: () => require("covara-kv-win32-x64-msvc"),
  },
  "win32-arm64-msvc": {
    local: () => require("../covara-kv.win32-arm64-msvc.node"),
    installed: () => require("covara-kv-win32-arm64-msvc"),
  },
};

/** What this process runs on, as binaries are named. */
export function platformName(): string {
  const { platform, arch } = process;
  if (platform === "win32") return `${platform}-${arch}-msvc`;
  if (platform !== "linux") return `${platform}-${arch}`;
  if (arch === "arm") return "linux-arm-gnueabihf";
  return `linux-${arch}-${libc().startsWith("musl") ? "musl" : "gnu"}`;
}

/** The C library, with its version where that is known. Empty where there is no choice. */
export function libc(): string {
  if (process.platform !== "linux") return "";
  const { report } = process as { report?: { excludeNetwork?: boolean; getReport(): object } };
  if (report === undefined) return "glibc";
  const { excludeNetwork } = report;
  try {
    // Else a report asks a name server for each open connection. Node.js before 20.13 cannot be told.
    if (excludeNetwork !== undefined) report.excludeNetwork = true;
    const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } };
    const version = header?.glibcVersionRuntime;
    return version === undefined ? "musl" : `glibc ${version}`;
  } finally {
    // It is the process's: whoever writes a report of a crash wants the connections in it.
    if (excludeNetwork !== undefined) report.excludeNetwork = excludeNetwork;
  }
}

/** Loads the binary of this platform. Throws UNSUPPORTED, with the cure, if it is not there. */
export function loadBinary(): unknown {
  const name = platformName();
  const binary = binaries[name];
  if (binary === undefined) {
    const known = Object.keys(binaries).join(", ");
    throw new KVError("UNSUPPORTED", `covara-kv has no binary for ${name}. It has for: ${known}`, {
      reason: "platform",
    });
  }
  try {
    return binary.local();
  } catch (error) {
    if (!isMissing(error)) throw unusable(name, error);
  }
  try {
    return binary.installed();
  } catch (error) {
    throw isMissing(error) ? missing(name, error) : unusable(name, error);
  }
}

function isMissing(error: unknown): boolean {
  return (error as { code?: unknown })?.code === "MODULE_NOT_FOUND";
}

function missing(name: string, cause: unknown): KVError {
  return new KVError(
    "UNSUPPORTED",
    [
      `The package covara-kv-${name} is not installed: it holds covara-kv's binary for this platform (${where()}).`,
      "npm leaves optional dependencies out if it was called with --omit=optional, if node_modules was copied from another platform,",
      "or by a bug of its own when package-lock.json was made on another one (https://github.com/npm/cli/issues/4828): then remove",
      `node_modules and package-lock.json and install again, or add it by itself: npm install covara-kv-${name}`,
    ].join(" "),
    { reason: "binary-missing", cause },
  );
}

function unusable(name: string, cause: unknown): KVError {
  const reason = isError(cause) ? cause.message : String(cause);
  const text = `covara-kv's binary for ${name} cannot be loaded here (${where()}): ${reason}`;
  return new KVError("UNSUPPORTED", text, { reason: "binary-unusable", cause });
}

function where(): string {
  const { platform, arch, version } = process;
  return [platform, arch, libc(), `Node.js ${version}`].filter((part) => part !== "").join(", ");
}
