// Comments name documents that do not exist, and headings that have other names. So every link must lead to a file and a heading, and every
// file that a document or a comment names must exist.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, test } from "node:test";
import { commentsOf, DOCS, FILES, read, root, SOURCES, withoutCode } from "./texts.js";

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

function headingsOf(path: string): string[] {
  return [...withoutCode(read(path)).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => heading);
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
      named(commentsOf(source).join("\n"))
        .filter((name) => !exists(name) && !ELSEWHERE.test(name))
        .map((name) => `${source}: ${name}`),
    );
    assert.deepEqual(missing, []);
  });

  test("a heading that a comment names is there", () => {
    const missing: string[] = [];
    for (const source of [...SOURCES, ...DOCS]) {
      const text = DOCS.includes(source) ? withoutCode(read(source)) : commentsOf(source).join("\n");
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
