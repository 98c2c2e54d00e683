// What the scripts share: a line for each step, output that shows only when something fails, and
// builds that are skipped while nothing they read or wrote has changed.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);
process.env.PATH = join(root, "node_modules", ".bin") + delimiter + process.env.PATH;

/** Something the developer has to know or do: the message says all, so no stack is shown. */
export class Failure extends Error {}

/** TypeScript's compiler in Go, which takes a tenth of the time. The one in JavaScript has the API that the build needs. */
export const TSC = "node_modules/typescript-7/bin/tsc";

/** The steps that are at work, for the terminal. */
const atWork = new Set();
/** Ends the commands of all steps. */
const stop = new AbortController();

/**
 * Does several things at a time, for what waits for the network or a linker leaves a processor idle. The first that fails stops the others.
 * @param {...(() => Promise<unknown>)} works
 */
export async function together(...works) {
  let failure;
  const watched = works.map((work) =>
    work().catch((error) => {
      failure ??= error;
      stop.abort();
    }),
  );
  await Promise.all(watched);
  if (failure) throw failure;
}

/**
 * Runs a step and prints its line: name, time, and what `work` returned as a remark. `work` gets `run`, which
 * appends a command's output to the step's log in `.cache/logs`, and the path of that log.
 * @param {string} name
 * @param {(run: (command: string, ...args: string[]) => Promise<void>, log: string) => unknown} work
 */
export async function step(name, work) {
  mkdirSync(".cache/logs", { recursive: true });
  const log = `.cache/logs/${name.replaceAll(/[^\w.]+/g, "-")}.log`;
  writeFileSync(log, "");
  const started = performance.now();
  atWork.add(name);
  showAtWork();
  const line = (mark, remark) => {
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const line = `${mark} ${name} (${seconds} s)${remark ? `: ${remark}` : ""}`;
    console.log(process.stdout.isTTY ? `\r\x1b[K${line}` : line);
    atWork.delete(name);
    showAtWork();
  };
  try {
    line("✓", await work((command, ...args) => run(log, command, args), log));
  } catch (error) {
    if (!stop.signal.aborted) line("✗");
    throw error;
  }
}

function showAtWork() {
  if (process.stdout.isTTY && atWork.size > 0) process.stdout.write(`\r\x1b[K· ${[...atWork].join(", ")} …`);
}

/** Runs a command with its output in `log`; a failure shows where the log ends. */
async function run(log, command, args) {
  const output = openSync(log, "a");
  try {
    const status = await finished(command, args, ["inherit", output, output]);
    const shown = [command, ...args].join(" ").slice(0, 100);
    if (status !== 0) throw new Failure(`${shown}: ${status}\n${tail(log)}`);
  } finally {
    closeSync(output);
  }
}

/** Runs a command in the terminal; the script fails if it does. */
export async function visibly(command, ...args) {
  if ((await finished(command, args, "inherit")) !== 0) process.exitCode = 1;
}

function finished(command, args, stdio) {
  return new Promise((resolve) => {
    // npm and the tools in node_modules are .cmd files on Windows, which only a shell runs.
    // The timeout ends a test that hangs; a build for another platform takes 25 minutes on a busy machine.
    const options = { stdio, signal: stop.signal, timeout: 60 * 60_000 };
    const child = spawn(command, args, { ...options, shell: process.platform === "win32" });
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code, signal) => resolve(code ?? signal));
  });
}

function tail(log) {
  const output = readFileSync(log, "utf8").trimEnd();
  const failingTests = output.indexOf("failing tests:");
  const end =
    failingTests < 0
      ? output.split("\n").slice(-40).join("\n")
      : output.slice(failingTests, failingTests + 20_000);
  return `${end}\n(all of it: ${log})`;
}

/** The version a command prints of itself, or nothing if there is no such command. */
export function versionOf(command, word = "--version") {
  const { status, stdout } = spawnSync(command, [word], { encoding: "utf8" });
  return status === 0 ? (stdout.match(/\d+(\.\d+)+/)?.[0] ?? "unknown version") : undefined;
}

/**
 * Builds, unless the files in `inputs` and `outputs` (paths, or patterns of names at the top) are as the last successful build
 * read and left them. It compares contents: a checkout gives every file a new time.
 * @param {string} name of the stamp in `.cache`
 * @param {(string | RegExp)[]} inputs
 * @param {(string | RegExp)[]} outputs
 * @param {() => Promise<void>} build
 */
export async function unlessBuilt(name, inputs, outputs, build) {
  const stamp = `.cache/${name}.stamp`;
  const read = digest(inputs);
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === read + digest(outputs)) return "up to date";
  await build();
  writeFileSync(stamp, read + digest(outputs));
}

function digest(paths) {
  const hash = createHash("sha256");
  for (const file of paths.flatMap(files)) hash.update(`${file}\0`).update(readFileSync(file)).update("\0");
  return hash.digest("hex");
}

/** Every file below a path, or at the top by pattern, in a stable order. */
export function files(path) {
  if (path instanceof RegExp)
    return readdirSync(".")
      .filter((name) => path.test(name))
      .sort();
  if (!existsSync(path)) return [];
  if (!statSync(path).isDirectory()) return [path];
  const names = readdirSync(path).sort();
  return names.flatMap((name) => files(`${path}/${name}`));
}

/** Does a script's work if it is the one that Node was started with, and says why it failed. */
export async function main(url, work) {
  if (url !== pathToFileURL(realpathSync(process.argv[1])).href) return;
  try {
    await work();
  } catch (error) {
    console.log(error instanceof Failure ? error.message : error);
    process.exitCode = 1;
  }
}
