// A walk that names a function which is in another file sends its reader astray.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
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

test("each function of a walk is in its file", () => {
  assert.ok(rows.length > 40, `${rows.length} rows`);
  const astray = rows.filter(({ file, name }) => !defines(file, name));
  assert.deepEqual(astray, []);
});

test("each row of a walk has a file and a function", () => {
  const all = walks.match(/^\| (?!file \||--- \|).*$/gm) ?? [];
  assert.equal(all.length, rows.length);
});
