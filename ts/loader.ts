import { type Absent, findBinary, remedy } from "./binaries.js";
import { isError, KVError } from "./errors.js";
import { type Platform, platforms } from "./platforms.js";

/** The platform of this process, as in the names of binaries. */
export function platformName(): string {
  const { platform, arch } = process;
  if (platform === "win32") return `${platform}-${arch}-msvc`;
  if (platform !== "linux") return `${platform}-${arch}`;
  if (arch === "arm") return "linux-arm-gnueabihf";
  return `linux-${arch}-${libc().startsWith("musl") ? "musl" : "gnu"}`;
}

/** The C library, with its version if that is known. Empty except on Linux. */
export function libc(): string {
  if (process.platform !== "linux") return "";
  const { report } = process as { report?: { excludeNetwork?: boolean; getReport(): object } };
  if (report === undefined) return "glibc";
  const { excludeNetwork } = report;
  try {
    // Else a report asks a name server about each open connection. Node.js before 20.13 has no such option.
    if (excludeNetwork !== undefined) report.excludeNetwork = true;
    const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } };
    const version = header?.glibcVersionRuntime;
    return version === undefined ? "musl" : `glibc ${version}`;
  } finally {
    // A setting of the process: its own reports must have the connections.
    if (excludeNetwork !== undefined) report.excludeNetwork = excludeNetwork;
  }
}

/** Loads the binary of this platform. Throws UNSUPPORTED, with a remedy, if it is missing. */
export function loadBinary(): unknown {
  const name = platformName();
  if (!isPlatform(name)) {
    throw new KVError(
      "UNSUPPORTED",
      `covara-kv has no binary for ${name}. It has for: ${platforms.join(", ")}`,
      {
        reason: "platform",
      },
    );
  }
  let cause: unknown;
  const absent: Absent = (error) => {
    if (!isMissing(error)) throw unusable(name, error);
    cause = error;
  };
  const binary = findBinary(name, absent);
  if (binary === undefined)
    throw new KVError("UNSUPPORTED", remedy(name, where()), { reason: "binary-missing", cause });
  return binary;
}

/** Bun's bundler throws its own error for a module that was missing at build time. */
function isMissing(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  return code === "MODULE_NOT_FOUND" || String(message).startsWith("Cannot require module ");
}

function isPlatform(name: string): name is Platform {
  return (platforms as readonly string[]).includes(name);
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
