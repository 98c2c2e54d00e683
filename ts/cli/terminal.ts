/** Output of the command line: colours, tables and progress bars only on a terminal. */

/** A wrong command line: exit code 2. */
export class WrongCall extends Error {}

const CODES = { bold: 1, red: 31, green: 32, dim: 2 };

/** Text in a style. Plain where `stream` is no terminal, or NO_COLOR is set (https://no-color.org). */
export function styled(
  style: keyof typeof CODES,
  text: string,
  stream: NodeJS.WriteStream = process.stdout,
): string {
  const { NO_COLOR = "", FORCE_COLOR = "" } = process.env;
  const coloured = FORCE_COLOR !== "" || (stream.isTTY && NO_COLOR === "");
  return coloured ? `\x1b[${CODES[style]}m${text}\x1b[0m` : text;
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/**
 * An untrusted value. On a terminal, a value with control characters is quoted, as by redis-cli, so that none reaches the terminal; so
 * is one that looks quoted. Elsewhere it is unchanged.
 */
export function shown(text: string): string {
  if (!process.stdout.isTTY || !(UNPRINTABLE.test(text) || text.startsWith('"'))) return text;
  return `"${escaped(text.replace(/["\\]/g, "\\$&"))}"`;
}

/** A line with text of a server, made safe for a terminal. */
export function clean(line: string, stream: NodeJS.WriteStream = process.stdout): string {
  return stream.isTTY ? escaped(line) : line;
}

/** Any character but letters, marks, numbers, punctuation, symbols and the space. */
const UNPRINTABLE = /[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/u;
const ALL_UNPRINTABLE = new RegExp(UNPRINTABLE, "gu");
const NAMED: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\x07": "\\a", "\b": "\\b" };

function escaped(text: string): string {
  return text.replace(ALL_UNPRINTABLE, (character) => {
    const bytes = [...Buffer.from(character)];
    return NAMED[character] ?? bytes.map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
  });
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value));
}

export function fail(...lines: string[]): void {
  const text = lines.map((line) => clean(line, process.stderr)).join("\n");
  process.stderr.write(`${styled("red", "covara-kv:", process.stderr)} ${text}\n`);
}

/** Aligns columns: the first to the left, the others to the right. */
export function table(rows: string[][]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? "").length)),
  );
  const cell = (text: string, column: number) =>
    column === 0 ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0);
  return rows.map((row) => row.map(cell).join("  ").trimEnd()).join("\n");
}

/** Shows a progress bar on a terminal. */
export function progress(done: number, total: number, what: string): void {
  const { stderr } = process;
  if (!stderr.isTTY) return;
  const width = 30;
  const full = Math.round((done / total) * width);
  const bar = `${"█".repeat(full)}${"░".repeat(width - full)}`;
  stderr.write(done === total ? "\r\x1b[K" : `\r\x1b[K${bar} ${what}`);
}

/** Formats milliseconds for people. */
export function milliseconds(time: number): string {
  return time < 0.1 ? `${(time * 1000).toFixed(1)} µs` : `${time.toFixed(time < 10 ? 2 : 0)} ms`;
}

/** The percentile of sorted times: `share` of them are not above it. */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
