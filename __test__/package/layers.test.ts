// Without these rules files import each other in a circle, and a reader who wants to understand one of them has to read all.
// Imports lead only downward. A few modules of Rust have children that use them, and that they use.
import { deepEqual, ok } from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, posix, relative } from "node:path";
import { describe, it } from "node:test";
import ts from "typescript";

const ROOT = join(__dirname, "../..");

/** The rules of a tree of sources, and its imports. */
interface Tree {
  /** From the top down. A floor is a folder or a file; for a file under several floors the longest name counts. */
  floors: string[];
  /** Pairs of floors of which the first must not import the second, although the second is lower. */
  apart: [string, string][];
  /** Modules that may import their children although these import them. */
  drivesChildren: string[];
  /** The modules that each module imports. */
  imports: Map<string, Set<string>>;
}

/** The files of a folder for which `isSource` is true: name without extension, and text. */
function sources(folder: string, isSource: (path: string) => boolean): Map<string, string> {
  const root = join(ROOT, folder);
  const found = new Map<string, string>();
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    const path = relative(root, join(entry.parentPath, entry.name)).replaceAll("\\", "/");
    if (!entry.isFile() || !isSource(path)) continue;
    found.set(path.replace(/(\/mod)?\.\w+$/, ""), readFileSync(join(root, path), "utf8"));
  }
  return found;
}

/** Expands `a::{b, c::d}` into `a::b` and `a::c::d`. */
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
function moduleOf(modules: Map<string, string>, path: string): string | undefined {
  const parts = path.split("::");
  while (parts.length > 0 && !modules.has(parts.join("/"))) parts.pop();
  return parts.join("/") || undefined;
}

/** A path of Rust from the crate's root, or undefined for another crate's. */
function absolute(modules: Map<string, string>, name: string, path: string): string | undefined {
  const [first = "", ...rest] = path.split("::");
  const own = name.split("/");
  if (first === "crate") return rest.join("::");
  if (first === "self") return [...own, ...rest].join("::");
  if (first !== "super") return modules.has(`${name}/${first}`) ? [...own, path].join("::") : undefined;
  const up = path.split("::").findIndex((part) => part !== "super");
  return [...own.slice(0, -up), ...path.split("::").slice(up)].join("::");
}

function rustImports(modules: Map<string, string>, name: string): Set<string> {
  const found = new Set<string>();
  const text = (modules.get(name) ?? "")
    .replace(/#\[cfg\(test\)\]\s*mod tests[\s\S]*$/, "")
    .replace(/\/\/.*$/gm, "");
  const uses = text.matchAll(/^\s*(?:pub(?:\([a-z]+\))? )?use ([^;]+);/gm);
  const inline = text.matchAll(/(?<![\w:])([a-z_]+(?:::[a-z_]+)+)/g);
  for (const [, tree = ""] of [...uses, ...inline]) {
    for (const path of expand(tree.replace(/\s/g, ""))) {
      const whole = absolute(modules, name, path);
      const target = whole === undefined ? undefined : moduleOf(modules, whole);
      if (target !== undefined && target !== name) found.add(target);
    }
  }
  return found;
}

/** Type imports count too: the reader has to look up the type in the other file. */
function typescriptImports(modules: Map<string, string>, name: string): Set<string> {
  const { importedFiles } = ts.preProcessFile(modules.get(name) ?? "", true, true);
  const paths = importedFiles.map(({ fileName }) => fileName).filter((path) => path.startsWith("."));
  const names = paths.map((path) => posix.join(posix.dirname(name), path).replace(/\.m?[jt]s$/, ""));
  return new Set(names.filter((target) => modules.has(target) && target !== name));
}

function graph(
  modules: Map<string, string>,
  importsOf: (modules: Map<string, string>, name: string) => Set<string>,
): Map<string, Set<string>> {
  return new Map([...modules.keys()].map((name) => [name, importsOf(modules, name)]));
}

const isTest = (path: string) => /(^|\/)(tests|lib)(\.rs|\/)/.test(path);

const TREES: Record<string, Tree> = {
  src: {
    floors: [
      "addon",
      "fanout",
      "commands",
      "store",
      "redis/client",
      "redis/subscriber",
      "redis/router",
      "redis/cluster",
      "redis/connection",
      "redis/pipeline",
      "redis/completions",
      "redis/config",
      "redis/provided",
      "redis/credentials",
      "redis/tls",
      "redis/request",
      "redis/slot",
      "redis/endpoint",
      "redis/moment",
      "redis/runtime",
      "redis/protocol",
      "redis/error",
      "backlog",
      "wake",
      "coalesced",
      "trace",
      "reply",
      "error",
    ],
    apart: [
      ["fanout", "commands"],
      ["fanout", "store"],
      ["commands", "redis"],
      ["store", "redis"],
    ],
    drivesChildren: ["addon/raw", "commands", "commands/scripting/cjson", "fanout/records"],
    imports: graph(
      sources("src", (path) => path.endsWith(".rs") && !isTest(path) && path !== "redis/mod.rs"),
      rustImports,
    ),
  },
  ts: {
    floors: [
      "cli",
      "register",
      "register-import",
      "redirect",
      "index",
      "create",
      // In a Worker these replace modules below.
      "worker",
      "fanout",
      "global",
      "guard",
      // The stores.
      "backends",
      "unawaited",
      "fanout/channels",
      "fanout/mode",
      "config",
      "backends/durable-object/types",
      // What all stores share.
      "store",
      "pubsub",
      "emitter",
      "redis-codec",
      "transaction",
      "commands",
      "results",
      "options",
      "fields",
      "arguments",
      "adapter",
      "methods",
      "method-types",
      "diagnostics",
      "overflow",
      "events",
      "dispose",
      "own",
      // The binary.
      "bundle",
      "requiring",
      "native",
      "loader",
      "binaries",
      "platforms",
      // Modules that import no other module of ours.
      "errors",
      "hints",
      "reasons",
      "warning",
      "time-slice",
      "timers",
      "clock",
      "environment",
      "utf8",
      "promised",
    ],
    apart: [
      ["backends/durable-object", "native"],
      ["backends/durable-object", "redis-codec"],
      ["worker", "native"],
      ["worker", "backends"],
    ],
    drivesChildren: [],
    imports: graph(
      sources("ts", (path) => /\.m?ts$/.test(path)),
      typescriptImports,
    ),
  },
};

const isIn = (name: string, folder: string) => name === folder || name.startsWith(`${folder}/`);

/** The floor of a module, counted from the top, or -1. */
function floorOf({ floors }: Tree, name: string): number {
  const mine = floors.filter((floor) => isIn(name, floor)).sort((a, b) => b.length - a.length);
  return floors.indexOf(mine[0] ?? "");
}

function circles({ imports, drivesChildren }: Tree): string[] {
  const found = new Set<string>();
  const done = new Set<string>();
  const visit = (name: string, path: string[]) => {
    const start = path.indexOf(name);
    if (start >= 0) found.add(path.slice(start).sort().join(" ↔ "));
    if (start >= 0 || done.has(name)) return;
    for (const target of imports.get(name) ?? []) {
      if (!(drivesChildren.includes(name) && isIn(target, name))) visit(target, [...path, name]);
    }
    done.add(name);
  };
  for (const name of imports.keys()) visit(name, []);
  return [...found];
}

// A path that the reader of imports misses hides a circle.
it("paths of Rust lead to their modules", () => {
  const text =
    "use settings::Wait;\nuse super::super::{error, wake::Wake};\nfn f() { files::open(self::files::A) } // super::super::old";
  const names = ["a/b/c", "a/b/c/settings", "a/b/c/files", "a/error", "a/wake", "a/old", "a/b"];
  const modules = new Map(names.map((name) => [name, name === "a/b/c" ? text : ""]));
  deepEqual([...rustImports(modules, "a/b/c")].sort(), [
    "a/b/c/files",
    "a/b/c/settings",
    "a/error",
    "a/wake",
  ]);
});

for (const [folder, tree] of Object.entries(TREES)) {
  describe(`the layers of ${folder}`, () => {
    it("have a place for each file", () => {
      deepEqual(
        [...tree.imports.keys()].filter((name) => floorOf(tree, name) < 0),
        [],
      );
      // A test that finds no imports would pass always.
      ok([...tree.imports.values()].reduce((sum, { size }) => sum + size, 0) > 200);
    });

    it("import downward only", () => {
      const upward: string[] = [];
      for (const [name, targets] of tree.imports) {
        for (const target of targets) {
          const isUp = floorOf(tree, target) < floorOf(tree, name);
          const isApart = tree.apart.some(([one, other]) => isIn(name, one) && isIn(target, other));
          if (isUp || isApart) upward.push(`${name} → ${target}`);
        }
      }
      deepEqual(upward, []);
    });

    it("have no circle of files", () => {
      deepEqual(circles(tree), []);
    });
  });
}
