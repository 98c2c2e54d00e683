import type { KVError } from "../index.js";

/** A failure, and what it comes from and what to do about it where that can be told. */
export function explain(error: unknown): { code: string; message: string; cause: string } {
  if (!isKVError(error)) {
    return { code: "ERR", message: error instanceof Error ? error.message : String(error), cause: "" };
  }
  const { code, message } = error;
  const text = message.startsWith(code) ? message : `${code}: ${message}`;
  return { code, message: text, cause: causeOf(error) };
}

/** Told without the class, which comes with the binary: that may be what is missing. */
function isKVError(error: unknown): error is KVError {
  return error instanceof Error && error.name === "KVError";
}

function causeOf({ code, message }: KVError): string {
  if (code === "WRONGPASS") return "The user or the password is wrong.";
  if (code === "NOAUTH") return "The server wants a password: redis://user:password@host:port";
  if (code === "NOPERM") return "The user lacks the right for this: see ACL SETUSER.";
  if (/no Redis server/.test(message)) return "Something else listens on this port: is the port right?";
  if (/refused/i.test(message))
    return "Nothing listens there: is the server running, and are host and port right?";
  if (/no address/.test(message)) return "The host's name is not known: is it spelled right?";
  if (/of an authority that is not known here/.test(message))
    return "The certificate is from an authority that is not known here: name it with --ca <file>.";
  if (/TLS/.test(message))
    return "Does the server speak TLS on this port (rediss://), and is its certificate for this host?";
  if (code === "TIMEOUT" || /within \d+ ms/.test(message))
    return "The server does not answer: is it reachable from here, and does it need TLS (rediss://)?";
  return "";
}
