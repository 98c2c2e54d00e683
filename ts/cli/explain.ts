import type { KVError } from "../index.js";

/** An error, and what to do about it where that is known. */
export function explain(error: unknown): { code: string; message: string; cause: string } {
  if (!isKVError(error)) {
    return { code: "ERR", message: error instanceof Error ? error.message : String(error), cause: "" };
  }
  const { code, message, hint = "" } = error;
  return { code, message: message.startsWith(code) ? message : `${code}: ${message}`, cause: hint };
}

/** By its fields, not its class: the class needs the binary, which may be missing. */
function isKVError(error: unknown): error is KVError {
  return error instanceof Error && error.name === "KVError";
}
