// Shared by the benchmarks: child processes, medians and tables.
import { execFile } from "node:child_process";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";

const run = promisify(execFile);

/** The options of every benchmark, and the names on the command line. */
export function commandLine() {
  const { values, positionals } = parseArgs({
    options: {
      json: { type: "boolean", default: false },
      "strict-bars": { type: "boolean", default: false },
    },
    allowPositionals: true,
  });
  return { json: values.json, strict: values["strict-bars"], names: positionals };
}

/** Runs a script of this folder in a process of its own, and resolves to the JSON that it prints. */
export async function child(script, ...args) {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const { stdout } = await run(process.execPath, ["--expose-gc", path, ...args]);
  // A library may print lines before the last one.
  return JSON.parse(stdout.trim().split("\n").at(-1));
}

/** A positive integer from the environment. */
export function setting(name, byDefault) {
  const value = Number(process.env[name] ?? byDefault);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new Error(`${name} must be a positive integer, got ${JSON.stringify(process.env[name])}`);
}

export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** A number with three significant digits or more. */
export function digits(number) {
  const fraction = number >= 100 ? 0 : number >= 10 ? 1 : 2;
  return number.toLocaleString("en", { minimumFractionDigits: fraction, maximumFractionDigits: fraction });
}

/** A table of lines with columns: the first is aligned to the left, the others to the right. */
export function table(lines) {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => String(line[column]).length)));
  const pad = (cell, column) =>
    column === 0 ? String(cell).padEnd(widths[column]) : String(cell).padStart(widths[column]);
  return lines.map((line) => line.map(pad).join("  ").trimEnd()).join("\n");
}

/** ✓ or ✗ where there is a bar, otherwise nothing. */
export function mark(met) {
  return met === undefined ? "" : met ? "✓" : "✗";
}

/** The machine that the figures are from. */
export function machine() {
  return `Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model.trim()}`;
}

/** Fails the process for a missed bar if `strict`: on a busy machine a missed bar says little. */
export function finish(strict, allMet) {
  if (strict && !allMet) process.exitCode = 1;
}
