import type { KVError } from "../index.js";

/** A failure, and what to do about it where that can be told. */
export function explain(error: unknown): { code: string; message: string; cause: string } {
  if (!isKVError(error)) {
    return { code: "ERR", message: error instanceof Error ? error.message : String(error), cause: "" };
  }
  const { code, message, hint = "" } = error;
  return { code, message: message.startsWith(code) ? message : `${code}: ${message}`, cause: hint };
}

/** Told without the class, which comes with the binary: that may be what is missing. */
function isKVError(error: unknown): error is KVError {
  return error instanceof Error && error.name === "KVError";
}
