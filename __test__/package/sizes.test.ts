// A file that is longer than 400 lines has more than one subject, and so has a function that is longer than 50.
// Clippy counts the lines of Rust's functions: clippy.toml.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import ts from "typescript";
import { root } from "../installed/run.js";

const MOST = 400;
const MOST_OF_FUNCTION = 50;

/** The sources in a folder, by their paths. */
function* sources(folder: string): Generator<[path: string, text: string]> {
  for (const path of readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })) {
    if (path.includes("node_modules") || !/\.([cm]?[jt]s|rs)$/.test(path)) continue;
    yield [`${folder}/${path}`, readFileSync(join(root, folder, path), "utf8")];
  }
}

test("no file of sources, tests or scripts is longer than 400 lines", () => {
  const long: string[] = [];
  let count = 0;
  for (const folder of ["src", "ts", "__test__", "benchmark", "examples", "scripts", "fuzz/fuzz_targets"]) {
    for (const [path, text] of sources(folder)) {
      count += 1;
      const lines = text.split("\n").length - 1;
      if (lines > MOST) long.push(`${path}: ${lines}`);
    }
  }
  assert.ok(count > 300, `${count} files`);
  assert.deepEqual(long, []);
});

/** The functions of a file, with the number of lines from the first to the last of each. */
function functionsOf(path: string, text: string): { at: string; lines: number }[] {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest);
  const found: { at: string; lines: number }[] = [];
  const lineOf = (position: number) => file.getLineAndCharacterOfPosition(position).line + 1;
  const visit = (node: ts.Node) => {
    if (ts.isFunctionLike(node) && "body" in node && node.body !== undefined) {
      const first = lineOf(node.getStart(file));
      found.push({ at: `${path}:${first}`, lines: lineOf(node.end) - first + 1 });
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

test("no function of sources or scripts is longer than 50 lines", () => {
  const files = ["ts", "scripts"].flatMap((folder) => [...sources(folder)]);
  const all = files.flatMap(([path, text]) => functionsOf(path, text));
  assert.ok(all.length > 1_000, `${all.length} functions`);
  assert.deepEqual(
    all.filter(({ lines }) => lines > MOST_OF_FUNCTION),
    [],
  );
});
