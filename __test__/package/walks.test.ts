// A page that names a function which does not exist, or is in another file, sends its reader astray.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { root } from "../installed/run.js";

const walks = readFileSync(join(root, "docs/walks.md"), "utf8");
const rows = [...walks.matchAll(/^\| `([\w./-]+)` \| \*{0,2}`([^`]+)`\*{0,2} \|/gm)].map(
  ([, file = "", name = ""]) => ({ file, name }),
);

/** Whether a source defines a function: one of Rust, a method, a function or a row of a table in TypeScript. */
function defines(file: string, name: string): boolean {
  const source = readFileSync(join(root, file), "utf8");
  const [own = "", type] = name.split(/::|\./).reverse();
  const home = file.endsWith(".rs") ? `\\bimpl\\b[^{]*\\b${type}\\b` : `\\bclass ${type}\\b`;
  if (type !== undefined && !new RegExp(home).test(source)) return false;
  const definition = file.endsWith(".rs")
    ? `\\bfn ${own}\\b`
    : `(?:^|\\s)(?:async |function )*${own}(?:<[^>]*>)?(?:\\(|: \\{| = \\()`;
  return new RegExp(definition, "m").test(source);
}

/** The texts of all files in a folder whose names end so. */
function textsOf(folder: string, end: string): string[] {
  const paths = readdirSync(join(root, folder), { recursive: true, encoding: "utf8" });
  return paths
    .filter((path) => path.endsWith(end))
    .map((path) => readFileSync(join(root, folder, path), "utf8"));
}

/** The types of Rust that a source declares or implements, each with the text of that. */
const blocks = textsOf("src", ".rs").flatMap((text) =>
  [...text.matchAll(/^(?:pub(?:\([a-z]+\))? )?(?:impl|struct|enum|trait)\b([^{;]*)\{([\s\S]*?)^\}/gm)].map(
    ([, head = "", body = ""]) => ({ head, body }),
  ),
);

test("each function, field or variant of Rust that a page names exists", () => {
  const names = textsOf("docs", ".md").flatMap((page) => page.match(/(?<=`)[A-Z]\w*::\w+(?=`)/g) ?? []);
  assert.ok(names.length > 80, `${names.length} names`);
  const astray = names.filter((name) => {
    const [type, own] = name.split("::");
    const member = new RegExp(`^ {4}(?:pub(?:\\([a-z]+\\))? )?(?:(?:async |const )*fn )?${own}\\b`, "m");
    return !blocks.some(({ head, body }) => new RegExp(`\\b${type}\\b`).test(head) && member.test(body));
  });
  assert.deepEqual(astray, []);
});

test("each function of a walk is in its file", () => {
  assert.ok(rows.length > 40, `${rows.length} rows`);
  const astray = rows.filter(({ file, name }) => !defines(file, name));
  assert.deepEqual(astray, []);
});

test("each row of a walk has a file and a function", () => {
  const all = walks.match(/^\| (?!file \||--- \|).*$/gm) ?? [];
  assert.equal(all.length, rows.length);
});
