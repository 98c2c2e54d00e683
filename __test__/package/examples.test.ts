// An example may show a result that the method never gives. So each `@example` in ts/ is run, and each `// …` behind a statement is
// compared with the statement's value.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import * as covara from "covara-kv";
import { Redis } from "ioredis";
import ts from "typescript";
import { FakeNamespace } from "../durable-object/fake-namespace.js";
import { FakeStorage } from "../durable-object/fake-storage.js";
import { type RedisServer, startRedis } from "../redis-server.js";

const root = join(__dirname, "../../ts");

interface Documented {
  /** A name such as `KVStore.get` or `createKV`. */
  name: string;
  /** Whether it is a method or an exported function. */
  isCallable: boolean;
  examples: string[];
}

/** Everything with a name in a file, with its examples. */
function documentedIn(path: string): Documented[] {
  const source = ts.createSourceFile(
    path,
    readFileSync(join(root, path), "utf8"),
    ts.ScriptTarget.Latest,
    true,
  );
  const found: Documented[] = [];
  const visit = (node: ts.Node, owner: string) => {
    const declared = node as ts.NamedDeclaration;
    const name =
      declared.name && ts.isIdentifier(declared.name) ? `${owner}${declared.name.text}` : undefined;
    if (name !== undefined && !ts.isVariableDeclaration(node)) {
      const tags = ts.getJSDocTags(node).filter(({ tagName }) => tagName.text === "example");
      const examples = tags.map(({ comment }) => ts.getTextOfJSDocComment(comment) ?? "");
      const isCallable = ts.isMethodSignature(node) || ts.isFunctionDeclaration(node);
      found.push({ name, isCallable, examples });
    }
    const isInterface = ts.isInterfaceDeclaration(node) && name !== undefined;
    ts.forEachChild(node, (child) => visit(child, isInterface ? `${name}.` : owner));
  };
  visit(source, "");
  return found;
}

const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".ts"));
const documented = files.flatMap(documentedIn);

/** The example as JavaScript that compares the value of each statement with the `// …` behind it. */
function programOf(example: string): { code: string; checks: number } {
  const source = ts.createSourceFile("example.ts", example, ts.ScriptTarget.Latest, true);
  let checks = 0;
  const statements = source.statements.map((statement) => {
    const [comment] = ts.getTrailingCommentRanges(example, statement.end) ?? [];
    if (comment === undefined) return statement.getText();
    const said = example.slice(comment.pos + 2, comment.end);
    assert.ok(
      ts.isExpressionStatement(statement),
      `only an expression gives something: ${statement.getText()}`,
    );
    checks += 1;
    return `check(${JSON.stringify(statement.getText())}, ${statement.expression.getText()}, (${said}));`;
  });
  const code = ts.transpile(`(async () => {\n${statements.join("\n")}\n})()`, {
    target: ts.ScriptTarget.ES2022,
  });
  return { code, checks };
}

/** How to close and undo what an example has left, after it. */
const open: (() => unknown)[] = [];

/** Wraps a function so that its effect is undone after the example. */
function undone<A extends unknown[], R>(
  work: (...args: A) => R,
  undo: (result: Awaited<R>, ...args: A) => unknown,
) {
  return (...args: A): R => {
    const result = work(...args);
    open.push(async () => undo(await result, ...args));
    return result;
  };
}

const disconnect = (kv: covara.KVStore) => kv.disconnect();

/** The names that an example may use: those of the package, and those that an application would have. */
function scopeOf(url: string) {
  return {
    ...covara,
    createKV: undone(covara.createKV, disconnect),
    initializeKV: undone(covara.initializeKV, disconnect),
    createMemoryKV: undone(covara.createMemoryKV, disconnect),
    createRedisKV: undone(covara.createRedisKV, disconnect),
    createRedisKVFromConfig: undone(covara.createRedisKVFromConfig, disconnect),
    createDurableObjectKV: undone(covara.createDurableObjectKV, disconnect),
    guardUnhandledRejections: undone(covara.guardUnhandledRejections, (undo) => undo()),
    registerHandler: undone(covara.registerHandler, (_, id) => covara.unregisterHandler(id)),
    registerAggregateWatcher: undone(covara.registerAggregateWatcher, (stop) => stop()),
    env: { COVARA_KV: new FakeNamespace(() => new FakeStorage()) },
    kv: covara.createMemoryKV(),
    Redis,
    token: { get: () => "secret" },
    url,
  };
}

describe("the examples in ts/", () => {
  let redis: RedisServer;

  before(async () => {
    redis = await startRedis();
  });

  after(() => redis.stop());

  for (const { name, examples } of documented) {
    for (const example of examples) {
      test(name, async () => {
        const { code, checks } = programOf(example);
        const scope = { ...scopeOf(`redis://${redis.host}:${redis.port}`), check };
        let checked = 0;
        function check(statement: string, given: unknown, said: unknown) {
          checked += 1;
          assert.deepEqual(plain(given), said, statement);
        }
        try {
          await new Function(...Object.keys(scope), `return ${code}`)(...Object.values(scope));
          assert.equal(checked, checks, "each was reached");
        } finally {
          for (const close of open.splice(0).reverse()) await close();
          await scope.kv.disconnect();
          covara.clearGlobalKV();
        }
      });
    }
  }

  test("have the types that they use", () => {
    const path = join(__dirname, "examples.ts");
    const names = Object.keys(covara).filter((name) => /^[a-z]/.test(name) && name !== "default");
    const head = `import { ${names.join(", ")}, type Gap, type KVStore, type DurableObjectNamespaceLike } from "covara-kv";
      import { Redis } from "ioredis";
      declare const env: { COVARA_KV: DurableObjectNamespaceLike }, token: { get(): string }, url: string;
      export { ${names.join(", ")}, env, Redis, token, url };`;
    const bodies = documented.flatMap(({ examples }) =>
      examples.map((example) => {
        const isGiven = !/const kv\b/.test(example);
        return `(async (${isGiven ? "kv: KVStore" : ""}) => {\n${example}\n});`;
      }),
    );
    const { config } = ts.readConfigFile(join(root, "../tsconfig.test.json"), ts.sys.readFile);
    const { options } = ts.parseJsonConfigFileContent(config, ts.sys, join(root, ".."));
    const host = ts.createCompilerHost(options);
    const { readFile, fileExists } = host;
    const text = [head, ...bodies].join("\n");
    host.readFile = (name) => (name === path ? text : readFile(name));
    host.fileExists = (name) => name === path || fileExists(name);
    host.getSourceFile = (name, language) => {
      const content = host.readFile(name);
      return content === undefined ? undefined : ts.createSourceFile(name, content, language);
    };
    const program = ts.createProgram(
      [path],
      { ...options, noUnusedLocals: false, noUnusedParameters: false },
      host,
    );
    const messages = program.getSemanticDiagnostics(program.getSourceFile(path));
    assert.deepEqual(
      messages.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n")),
      [],
    );
  });

  test("every method of a store and a transaction, and every function, has one that gives something", () => {
    const exported = Object.keys(covara).filter((name) => /^[a-z]/.test(name));
    const isPublic = ({ name }: Documented) =>
      /^(?:KVStore|KVAdapter|Queue|\w+Methods)\./.test(name) ||
      (exported.includes(name) && name !== "default");
    const callable = documented.filter((one) => one.isCallable && isPublic(one));
    const without = callable.filter(({ examples }) => examples.length === 0).map(({ name }) => name);
    assert.deepEqual(without, []);
    assert.ok(callable.length > 80, String(callable.length));
  });
});

/** Objects of a reply have no prototype; a copy has the usual one, so that they compare as equal. */
const plain = (value: unknown) => (value === undefined ? undefined : structuredClone(value));
