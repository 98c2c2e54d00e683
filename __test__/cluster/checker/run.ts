// Starts the checker for one client, in a process and, on Linux, a network namespace of its own.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import type { Report } from "./check.js";

export async function runChecker(client: string, seconds: number, seed: number): Promise<Report> {
  const program = ["--import", "tsx", join(__dirname, "program.ts"), client, `${seconds}`, `${seed}`];
  const isLinux = process.platform === "linux";
  const [command, ...args] = isLinux
    ? ["unshare", "--map-root-user", "--net", process.execPath, ...program]
    : [process.execPath, ...program];
  const env = { ...process.env, ...(isLinux && { CHECKER_NAMESPACE: "1" }) };
  // Libraries may write to standard output, so the report has a pipe of its own.
  const child = spawn(command as string, args, { env, stdio: ["ignore", "ignore", "inherit", "pipe"] });
  const [report, [code]] = await Promise.all([text(child.stdio[3] as Readable), once(child, "close")]);
  if (code !== 0) throw new Error(`the checker ended with ${code}`);
  return JSON.parse(report) as Report;
}
