// Runs the file of tests that is its argument, in a realm with intrinsics of its own and few of Node.js's globals.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { after, before, describe, test } from "node:test";
import { createContext, runInContext } from "node:vm";
import { tool } from "../installed/run.js";

interface FakeTimers {
  withGlobal(global: object): { install(): { tick(ms: number): void; uninstall(): void } };
}

const { withGlobal } = require(tool("@sinonjs/fake-timers")) as FakeTimers;
const { AbortController, Buffer, URL } = globalThis;
const { clearImmediate, clearInterval, clearTimeout, queueMicrotask } = globalThis;
const { setImmediate, setInterval, setTimeout } = globalThis;

const context = createContext({
  ...{ AbortController, Buffer, URL },
  ...{ clearImmediate, clearInterval, clearTimeout, queueMicrotask, setImmediate, setInterval, setTimeout },
  // A copy, so that only this realm sees what its tests fake.
  process: Object.create(process),
  ...{ describe, beforeAll: before, afterAll: after },
  test: (name: string, body: () => Promise<void>, timeout: number) => test(name, { timeout }, () => body()),
});

let clock: ReturnType<ReturnType<FakeTimers["withGlobal"]>["install"]> | undefined;
context.vi = {
  useFakeTimers() {
    clock = withGlobal(runInContext("globalThis", context)).install();
  },
  useRealTimers: () => clock?.uninstall(),
  advanceTimersByTime: (ms: number) => clock?.tick(ms),
};

/** Makes the `require` of each file. Modules of Node.js and addons come from the main realm. */
function loader(context: object): (file: string) => (name: string) => unknown {
  const modules = new Map<string, { exports: unknown }>();
  const requireFrom = (from: string) => (name: string) => {
    const requireThere = createRequire(from);
    const path = requireThere.resolve(name);
    if (!path.startsWith("/") || path.endsWith(".node")) return requireThere(path);
    const known = modules.get(path);
    if (known !== undefined) return known.exports;
    const module = { exports: {} };
    modules.set(path, module);
    const wrapped = `(function (exports, require, module, __filename, __dirname) {${readFileSync(path, "utf8")}\n})`;
    const run = runInContext(wrapped, context, { filename: path });
    run(module.exports, requireFrom(path), module, path, dirname(path));
    return module.exports;
  };
  return requireFrom;
}

const file = process.argv[2] as string;
context.loadCopy = () => loader(context)(file)("covara-kv");
loader(context)(__filename)(file);
