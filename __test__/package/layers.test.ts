// `dial, link, plain, supervisor, transport` imported each other in a circle, and `outbox, registry, source` did: whoever wanted to understand
// one file had to read all of them. Imports go down only.
import { deepEqual, ok } from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, it } from "node:test";

const ROOT = join(__dirname, "../../src");

/** From the top down. A folder is a floor; so is a file. */
const FLOORS = [
  "addon",
  "fanout",
  "commands",
  "store",
  "redis/client",
  "redis/subscriber",
  "redis/router",
  "redis/connection",
  "redis/pipeline",
  "redis/completions",
  "redis/config",
  "redis/credentials",
  "redis/tls",
  "redis/request",
  "redis/endpoint",
  "redis/runtime",
  "redis/protocol",
  "redis/error",
  "backlog",
  "wake",
  "trace",
  "reply",
  "error",
];

/** Which floors know nothing of each other, whichever lies higher. */
const APART: [string, string][] = [
  ["fanout", "commands"],
  ["fanout", "store"],
  ["commands", "redis"],
  ["store", "redis"],
];

/** The modules of a file without its tests: `redis/connection/socket` for that file, `redis/connection` for its mod.rs. */
const modules = new Map<string, string>();
for (const entry of readdirSync(ROOT, { recursive: true, withFileTypes: true })) {
  const path = relative(ROOT, join(entry.parentPath, entry.name));
  if (!path.endsWith(".rs") || /(^|\/)(tests|lib)(\.rs|\/)/.test(path)) continue;
  const text = readFileSync(join(ROOT, path), "utf8");
  modules.set(path.replace(/(\/mod)?\.rs$/, ""), text.replace(/#\[cfg\(test\)\]\s*mod tests[\s\S]*$/, ""));
}

/** `a::{b, c::d}` as `a::b` and `a::c::d`. */
function expand(tree: string): string[] {
  const open = tree.indexOf("{");
  if (open < 0) return [tree.replace(/::self$/, "")];
  const inner: string[] = [];
  let depth = 0;
  let item = "";
  for (const letter of tree.slice(open + 1, tree.lastIndexOf("}"))) {
    if (letter === "," && depth === 0) {
      inner.push(item);
      item = "";
      continue;
    }
    if (letter === "{") depth++;
    if (letter === "}") depth--;
    item += letter;
  }
  inner.push(item);
  return inner.filter((part) => part !== "").flatMap((part) => expand(tree.slice(0, open) + part));
}

/** The module that a path of Rust leads to. */
function moduleOf(path: string): string | undefined {
  const parts = path.split("::");
  while (parts.length > 0 && !modules.has(parts.join("/"))) parts.pop();
  return parts.join("/") || undefined;
}

function importsOf(name: string, text: string): Set<string> {
  const found = new Set<string>();
  const parent = name.split("/").slice(0, -1).join("::");
  const uses = text.matchAll(/^\s*(?:pub(?:\([a-z]+\))? )?use ((?:crate|super|self)::[^;]+);/gm);
  const inline = text.matchAll(/\b((?:crate|super)::[a-z_]+(?:::[a-z_]+)*)/g);
  for (const [, tree = ""] of [...uses, ...inline]) {
    for (const path of expand(tree.replace(/\s/g, ""))) {
      const whole = path
        .replace(/^crate::/, "")
        .replace(/^(super::)+/, `${parent}::`)
        .replace(/^self::/, `${name.replaceAll("/", "::")}::`);
      const target = moduleOf(whole);
      if (target !== undefined && target !== name) found.add(target);
    }
  }
  return found;
}

const imports = new Map([...modules].map(([name, text]) => [name, importsOf(name, text)]));

const OURS = /^(redis|fanout|addon)/;

const floorOf = (name: string) => FLOORS.findIndex((floor) => name === floor || name.startsWith(`${floor}/`));

const isIn = (name: string, folder: string) => name === folder || name.startsWith(`${folder}/`);

describe("the layers of src", () => {
  it("have a place for each file", () => {
    const placeless = [...modules.keys()].filter((name) => name !== "redis" && floorOf(name) < 0);
    deepEqual(placeless, []);
    // A test that reads nothing refuses nothing.
    ok([...imports.values()].reduce((sum, { size }) => sum + size, 0) > 200);
  });

  it("import downward only", () => {
    const upward: string[] = [];
    for (const [name, targets] of imports) {
      for (const target of targets) {
        const isUp = floorOf(target) < floorOf(name);
        const isApart = APART.some(([one, other]) => isIn(name, one) && isIn(target, other));
        if (isUp || isApart) upward.push(`${name} → ${target}`);
      }
    }
    deepEqual(upward, []);
  });

  it("have no circle of files within src/redis, src/fanout and src/addon", () => {
    const circles = new Set<string>();
    const done = new Set<string>();
    const visit = (name: string, path: string[]) => {
      const start = path.indexOf(name);
      if (start >= 0) circles.add(path.slice(start).sort().join(" ↔ "));
      if (start >= 0 || done.has(name)) return;
      for (const target of imports.get(name) ?? []) if (OURS.test(target)) visit(target, [...path, name]);
      done.add(name);
    };
    for (const name of modules.keys()) if (OURS.test(name)) visit(name, []);
    deepEqual([...circles], []);
  });
});
