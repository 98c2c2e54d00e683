// The texts of the repository: documents and comments.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export const root = join(__dirname, "../..");
export const read = (path: string) => readFileSync(join(root, path), "utf8");

/** The files of a folder that are neither generated nor downloaded. */
function filesIn(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === "node_modules" ? [] : filesIn(path);
    return [path.replaceAll("\\", "/")];
  });
}

const TOP = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isFile());
const FOLDERS = [
  ".ci",
  ".github",
  "__test__",
  "benchmark",
  "docs",
  "examples",
  "fuzz/fuzz_targets",
  "npm",
  "scripts",
  "src",
  "ts",
];
export const FILES = [...TOP.map(({ name }) => name), ...FOLDERS.flatMap(filesIn)];
export const DOCS = FILES.filter((path) => path.endsWith(".md"));
export const SOURCES = FILES.filter((path) =>
  /^(src|ts|scripts|benchmark|__test__)\/.*\.(rs|lua|[cm]?[jt]s)$/.test(path),
);

export const withoutCode = (markdown: string) => markdown.replace(/^```[\s\S]*?^```/gm, "");

/** The comments of a source file. The slashes of a URL or a pattern begin no comment. */
export function commentsOf(path: string): string[] {
  const text = read(path);
  const found = path.endsWith(".lua")
    ? text.matchAll(/(?:^[ \t]*--.*\n?)+/gm)
    : text.matchAll(/(?:^[ \t]*\/\/.*\n?)+|(?<=[;{},)]\s+)\/\/ .*$|^\s*\/\*[\s\S]*?\*\//gm);
  return [...found].map(([comment]) => comment.replace(/^\s*(\/\/[/!]?|\/?\*+\/?|--)/gm, ""));
}
