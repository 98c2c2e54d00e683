// Applies the changes that a guide shows to a copy of the sources.
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { root } from "../installed/run.js";

/** Lines of a file, before and after the change. */
interface Hunk {
  readonly path: string;
  readonly before: string;
  readonly after: string;
}

/** The hunks of all `diff` blocks: `+++ path`, then hunks that each begin with `@@`. */
export function hunksIn(guide: string): Hunk[] {
  return [...guide.matchAll(/^```diff\n(.*?)^```$/gms)].flatMap(([, block = ""]) =>
    block.split(/^\+\+\+ /m).flatMap((file) => {
      const [path = "", ...hunks] = file.split(/^@@\n/m);
      return hunks.map((hunk) => ({ path: path.trim(), before: side(hunk, "+"), after: side(hunk, "-") }));
    }),
  );
}

/** One side of a hunk, without the lines of the other. */
function side(hunk: string, other: "+" | "-"): string {
  const lines = hunk.split("\n").slice(0, -1);
  return lines
    .filter((line) => !line.startsWith(other))
    .map((line) => `${line.slice(1)}\n`)
    .join("");
}

/**
 * Copies the files from which the package is built and tested, with the hunks applied. An unchanged file keeps its time, so that Cargo does
 * not build it again.
 */
export function copyWith(directory: string, hunks: readonly Hunk[]): void {
  const changed = new Map<string, string>();
  for (const { path, before, after } of hunks) {
    const text = changed.get(path) ?? readFileSync(join(root, path), "utf8");
    const parts = text.split(before);
    assert.equal(parts.length, 2, `${path} holds ${parts.length - 1} times:\n${before}`);
    changed.set(path, parts.join(after));
  }
  const copied = ["src", "ts", "__test__", "scripts", "docs"].flatMap((folder) => filesIn(folder));
  copied.push(
    ...readdirSync(root).filter((name) => /\.(json|toml|lock|md|rs|ts|mts)$|^\.gitignore$/.test(name)),
  );
  for (const path of copied) {
    const target = join(directory, path);
    const content = changed.get(path) ?? readFileSync(join(root, path));
    if (existsSync(target) && Buffer.from(content).equals(readFileSync(target))) continue;
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, content);
  }
  const wanted = new Set(copied);
  for (const folder of ["src", "ts", "__test__"]) {
    for (const path of filesIn(folder, directory)) if (!wanted.has(path)) rmSync(join(directory, path));
  }
  for (const path of ["node_modules", ".cache/tools"]) linkTo(join(root, path), join(directory, path));
}

function filesIn(folder: string, from = root): string[] {
  const entries = readdirSync(join(from, folder), { recursive: true }) as string[];
  const paths = entries.map((name) => join(folder, name));
  return paths.filter((path) => !path.includes("node_modules") && statSync(join(from, path)).isFile());
}

function linkTo(target: string, link: string): void {
  if (existsSync(link) || !existsSync(target)) return;
  mkdirSync(dirname(link), { recursive: true });
  symlinkSync(target, link, "junction");
}
