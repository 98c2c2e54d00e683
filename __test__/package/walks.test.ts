// A page that names a function which does not exist, or is in another file, sends its reader astray. A number of files that is too low
// promises less work than there is.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { root } from "../installed/run.js";
import { FILES } from "./texts.js";

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

/** The files that a way of docs/architecture.md counts: those of the guide or the walk that it names, else those of its first sentence. */
function filesOfWay(which: string): string[] {
  if (which.includes("](adding-a-command.md)")) {
    const guide = readFileSync(join(root, "docs/adding-a-command.md"), "utf8");
    const [, first = ""] = guide.split("## What a new command needs");
    return (first.split(/^## /m)[0] as string).match(/(?<=^\+\+\+ )(?:src|ts)\/.*/gm) ?? [];
  }
  if (which.includes("](walks.md#a-lost-subscription)")) {
    const [walk = ""] = (walks.split("## A lost subscription\n")[1] as string).split(/^## /m);
    return [...walk.matchAll(/^\| `([\w./-]+)` \|/gm)].map(([, file = ""]) => file);
  }
  const [sentence = ""] = which.split(". ");
  return [...sentence.matchAll(/`([^`]+)`/g)].flatMap(([, name]) => {
    const found = FILES.filter((path) => /^(src|ts)\//.test(path) && `/${path}`.endsWith(`/${name}`));
    assert.equal(found.length, 1, `${name} is ${found.join(" or ") || "no file"}`);
    return found;
  });
}

test("each way of the architecture has as many files as it says", () => {
  const [, table = ""] = readFileSync(join(root, "docs/architecture.md"), "utf8").split("## Five ways");
  const ways = [...table.matchAll(/^\| ([^|]+) \| [^|]+ \| (\d+)[^|]* \| (.+) \|$/gm)];
  assert.equal(ways.length, 5);
  for (const [, way, number, which = ""] of ways) {
    assert.equal(new Set(filesOfWay(which)).size, Number(number), way);
  }
});
