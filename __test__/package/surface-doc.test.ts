// A contract outside of the repository may miss a method without a failing test. docs/surface.md names every export and every method, and
// none that does not exist. A user finds no option that README.md does not name.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import * as covara from "covara-kv";
import ts from "typescript";

const root = join(__dirname, "../..");
const read = (path: string) => readFileSync(join(root, path), "utf8");

/** The names in the first column of the tables of a text. */
function firstColumn(text = ""): string[] {
  const rows = text.split("\n").filter((line) => line.startsWith("| `"));
  return rows.flatMap((row) =>
    [...(row.split(" | ")[0] ?? "").matchAll(/`(\w+)`/g)].map(([, name = ""]) => name),
  );
}

/** The names in the tables under a heading of docs/surface.md. */
function named(heading: string): string[] {
  const [, section = ""] = read("docs/surface.md").split(`\n### ${heading}\n`);
  return firstColumn(section.split(/\n##+ /)[0]);
}

const interfaces = [
  "adapter.ts",
  "config.ts",
  ...readdirSync(join(root, "ts/methods")).map((name) => `methods/${name}`),
]
  .map((name) => ts.createSourceFile(name, read(`ts/${name}`), ts.ScriptTarget.Latest))
  .flatMap(({ statements }) => statements.filter(ts.isInterfaceDeclaration));

/** The members of an interface of ts/adapter.ts, and of those of ts/methods/ that it extends. */
function membersOf(name: string): string[] {
  const found = interfaces.find((item) => item.name.text === name);
  assert.ok(found, name);
  const bases = (found.heritageClauses ?? []).flatMap(({ types }) =>
    types.map(({ expression }) => expression),
  );
  const inherited = bases.filter(ts.isIdentifier).flatMap(({ text }) => membersOf(text));
  const own = found.members.flatMap((member) =>
    member.name && ts.isIdentifier(member.name) ? member.name.text : [],
  );
  return [...inherited, ...own];
}

describe("docs/surface.md", () => {
  test("names every export that has a value", () => {
    const documented = [...named("Exports"), ...named("Functions"), "KVError"];
    assert.deepEqual(
      documented.sort(),
      Object.keys(covara)
        .filter((name) => name !== "default")
        .sort(),
    );
  });

  test("names every method and property of a store", () => {
    const documented = [...named("Methods"), ...named("Methods and properties")];
    assert.deepEqual(documented.sort(), membersOf("KVStore").sort());
  });

  test("names every command of a transaction", () => {
    const text = read("docs/surface.md");
    for (const name of membersOf("Queue")) assert.ok(text.includes(`\`${name}\``), name);
  });
});

test("README.md has a row for each field of redis", () => {
  const [, table = ""] = read("README.md").split("\n| field of `redis` | default | |\n");
  assert.deepEqual(firstColumn(table.split("\n\n")[0]).sort(), membersOf("RedisConfig").sort());
});
