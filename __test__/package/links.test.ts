// Comments name documents that do not exist, and headings that have other names. So every link must lead to a file and a heading, and every
// file that a document or a comment names must exist.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, test } from "node:test";

const root = join(__dirname, "../..");
const read = (path: string) => readFileSync(join(root, path), "utf8");

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
const FILES = [...TOP.map(({ name }) => name), ...FOLDERS.flatMap(filesIn)];
const DOCS = FILES.filter((path) => path.endsWith(".md"));
const SOURCES = FILES.filter((path) =>
  /^(src|ts|scripts|benchmark|__test__)\/.*\.(rs|lua|[cm]?[jt]s)$/.test(path),
);

/** Files that a build or an application has, and names that only look like files. */
const ELSEWHERE = /^(?:dist\/.*|(?:app|core|index)\.c?js|module\.mjs|tests\.[cm]js|(?:Node|Next)\.js)$/;

/** The anchor that GitHub makes of a heading. */
function anchorOf(heading: string): string {
  const text = heading.replaceAll("`", "").replace(/\[([^\]]*)\]\([^)]*\)/g, "$1");
  return text
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
}

const withoutCode = (markdown: string) => markdown.replace(/^```[\s\S]*?^```/gm, "");

function headingsOf(path: string): string[] {
  return [...withoutCode(read(path)).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => heading);
}

/** The comments of a source file. The slashes of a URL or a pattern begin no comment. */
function commentsOf(path: string): string {
  const text = read(path);
  const found = path.endsWith(".lua")
    ? text.matchAll(/^\s*--.*$/gm)
    : text.matchAll(/^\s*\/\/.*$|(?<=[;{},)]\s+)\/\/ .*$|^\s*\/\*[\s\S]*?\*\//gm);
  return [...found].map(([comment]) => comment.replace(/^\s*(\/\/[/!]?|\/?\*+\/?|--)/gm, "")).join("\n");
}

/** The files that a text names. */
function named(text: string): string[] {
  const withoutUrls = text.replace(/\b[a-z+]+:\/\/\S+/g, "");
  const names = withoutUrls.matchAll(
    /(?<![\w./@<>{}*…-])(?:[\w.-]+\/)*[\w-][\w.-]*\.(?:md|rs|lua|[cm]?[jt]s)\b(?![\w(/])/g,
  );
  return [...names].map(([name]) => name);
}

/** Whether a file has this path, or a path that ends with it. TypeScript imports a `.ts` as `.js`. */
function exists(name: string): boolean {
  const path = name.replace(/^(\.\.?\/)+/, "");
  const paths = [path, path.replace(/\.js$/, ".ts")];
  return FILES.some((file) => paths.some((path) => file === path || file.endsWith(`/${path}`)));
}

describe("links and names", () => {
  test("a link leads to a file, and to a heading of it", () => {
    const broken: string[] = [];
    for (const doc of DOCS) {
      for (const [, link = ""] of withoutCode(read(doc)).matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^[a-z]+:/.test(link)) continue;
        const [path = "", anchor] = link.split("#");
        const target =
          path === "" ? doc : relative(root, join(root, dirname(doc), path)).replaceAll("\\", "/");
        const isThere = FILES.some((file) => file === target || file.startsWith(`${target}/`));
        if (!isThere) broken.push(`${doc}: ${link}`);
        else if (anchor !== undefined && !headingsOf(target).map(anchorOf).includes(anchor))
          broken.push(`${doc}: ${link}`);
      }
    }
    assert.deepEqual(broken, []);
  });

  test("a file that a comment names is there", () => {
    const missing = SOURCES.flatMap((source) =>
      named(commentsOf(source))
        .filter((name) => !exists(name) && !ELSEWHERE.test(name))
        .map((name) => `${source}: ${name}`),
    );
    assert.deepEqual(missing, []);
  });

  test("a heading that a comment names is there", () => {
    const missing: string[] = [];
    for (const source of [...SOURCES, ...DOCS]) {
      const text = DOCS.includes(source) ? withoutCode(read(source)) : commentsOf(source);
      for (const [whole, path = "", heading = ""] of text.matchAll(
        /\b((?:docs|benchmark)\/[\w/-]+\.md), "([^"]+)"/g,
      )) {
        if (!FILES.includes(path) || !headingsOf(path).includes(heading)) missing.push(`${source}: ${whole}`);
      }
    }
    assert.deepEqual(missing, []);
  });

  test("a file that a document names is there", () => {
    const missing = DOCS.filter((doc) => doc !== "CHANGELOG.md").flatMap((doc) =>
      named(read(doc))
        .filter((name) => !exists(name) && !ELSEWHERE.test(name))
        .map((name) => `${doc}: ${name}`),
    );
    assert.deepEqual(missing, []);
  });

  test("__test__/README.md has a row for each folder", () => {
    const rows = [...read("__test__/README.md").matchAll(/^\| `([\w-]+)\/` \|/gm)].map(
      ([, folder]) => folder,
    );
    const folders = readdirSync(join(root, "__test__"), { withFileTypes: true }).filter((entry) =>
      entry.isDirectory(),
    );
    assert.deepEqual(rows.sort(), folders.map(({ name }) => name).sort());
  });
});
