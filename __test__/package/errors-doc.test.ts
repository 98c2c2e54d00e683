// A code that no document has is to be found only in the source. docs/errors.md has every code and reason of the source, and no others.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { KVError, type KVErrorReason } from "covara-kv";
import { OPEN_REASONS } from "../../ts/errors.js";

const root = join(__dirname, "../..");
const read = (path: string) => readFileSync(join(root, path), "utf8");

function sourcesOf(directory: string, extension: string): string {
  const files = readdirSync(join(root, directory), { recursive: true, encoding: "utf8" });
  const isSource = (file: string) => file.endsWith(extension) && !/(^|[/\\])tests([/\\]|\.rs$)/.test(file);
  return files
    .filter(isSource)
    .map((file) => read(join(directory, file)).split("#[cfg(test)]\nmod tests")[0])
    .join("\n");
}

const found = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, ...groups]) => groups);
const sorted = (names: Iterable<string>) => [...new Set(names)].sort();

interface Row {
  code: string;
  reason: string | undefined;
  todo: string;
}

const rows: Row[] = [];
let section: string | undefined;
for (const line of read("docs/errors.md").split("\n")) {
  if (line.startsWith("## ")) section = /^## `([A-Z_]+)`/.exec(line)?.[1];
  const [, name, todo = ""] = /^\| `([^`]+)` \|.*\| (.*) \|$/.exec(line) ?? [];
  if (name === undefined) continue;
  rows.push(
    section === undefined ? { code: name, reason: undefined, todo } : { code: section, reason: name, todo },
  );
}
const tagOf = ({ code, reason }: Omit<Row, "todo">) => (reason === undefined ? code : `${code} ${reason}`);

const rust = sourcesOf("src", ".rs");
const typescript = sourcesOf("ts", ".ts");
/** The code and the reason of each error that TypeScript makes, where they are literals. */
const made = [...typescript.matchAll(/new KVError\(\s*"([A-Z_]+)"[^;]*/g)].map(([call, code = ""]) => ({
  code,
  reason: /\breason: "([\w-]+)"/.exec(call)?.[1],
}));

describe("docs/errors.md", () => {
  test("has each code and reason that the source can give, and nothing else", () => {
    const ofRust = found(rust, /=> \("([A-Z_]+)", "([\w-]+)"\)/g).map((names) => names.join(" "));
    const oursOfRust = found(rust, /Error::ours\(\s*"([A-Z_]+)"/g).flat();
    // The code of a reply is the first word of its text.
    const replies = found(`${rust}${typescript}`, /\(\s*["`](ERR|[A-Z]{5,}) /g).flat();
    const hinted = found(read("ts/hints.ts").split("BY_CODE")[1] ?? "", /^ {2}([A-Z_]+):/gm).flat();
    const given = [...ofRust, ...oursOfRust, ...made.map(tagOf), ...replies, ...hinted] as string[];
    assert.deepEqual(sorted(rows.map(tagOf)), sorted(given));
    assert.equal(new Set(rows.map(tagOf)).size, rows.length, "each once");
    assert.ok(ofRust.length > 20 && made.length > 20, "the source is read");
  });

  test("a code that has several reasons is never given without one", () => {
    const withReasons = new Set(rows.filter(({ reason }) => reason !== undefined).map(({ code }) => code));
    const without = [
      ...found(rust, /Error::ours\(\s*"([A-Z_]+)"/g).flat(),
      ...made.filter(({ reason }) => !reason).map(({ code }) => code),
    ];
    assert.deepEqual(
      without.filter((code) => withReasons.has(code as string)),
      [],
    );
  });

  test("says perhaps where the source does", () => {
    const perhaps = found(read("docs/errors.md"), /^\| `([\w-]+)` \|.*\| perhaps \| .* \|$/gm).flat();
    assert.deepEqual(sorted(perhaps as string[]), sorted(OPEN_REASONS));
  });

  test("the type of the reasons is the document's", () => {
    const [, union = ""] = /export type KVErrorReason =([^;]*);/.exec(read("index.d.ts")) ?? [];
    const documented = rows.flatMap(({ reason }) => reason ?? []);
    assert.deepEqual(sorted(found(union, /"([\w-]+)"/g).flat() as string[]), sorted(documented));
    assert.equal(new Set(documented).size, documented.length, "a reason has one code");
  });

  test("what to do is the error's hint", () => {
    for (const row of rows) {
      const { hint } = new KVError(row.code, "", { reason: row.reason as KVErrorReason | undefined });
      assert.equal(hint ?? row.todo, row.todo, tagOf(row));
      assert.notEqual(row.todo, "", tagOf(row));
      if (row.reason !== undefined) assert.notEqual(hint, undefined, tagOf(row));
    }
  });

  test("is linked from the README and from KVError", () => {
    assert.match(read("README.md"), /\]\(docs\/errors\.md\)/);
    assert.match(read("index.d.ts"), /blob\/main\/docs\/errors\.md/);
  });
});
