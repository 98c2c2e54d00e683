import { type Absent, findBinary, remedy } from "./binaries.js";
import { isError, KVError } from "./errors.js";
import { type Platform, platforms } from "./platforms.js";

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

/** Bun's bundler has errors of its own for what was not there when it ran. */
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
