// Redirects `covara/kv`, and the framework's own imports of its key-value module, to this package. Also keeps an outage of the store
// from ending the process:
//   node --import covara-kv/register app.js       (or --require)
import module from "node:module";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { variable } from "./environment.js";
import { KVError } from "./errors.js";
import { setDefaultFanout } from "./fanout/mode.js";
import { guardUnhandledRejections } from "./guard.js";
import { isReplaced, refusalOf, SPECIFIER } from "./redirect.js";

const forRequire = join(__dirname, "index.js");
const forImport = join(__dirname, "index.mjs");

interface Context {
  readonly conditions?: readonly string[];
}

interface Resolved {
  readonly url: string;
}

/** `module.registerHooks` of Node.js 22.15, 23.5 and later. */
type RegisterHooks = (hooks: {
  resolve(
    specifier: string,
    context: Context,
    next: (specifier: string, context: Context) => Resolved,
  ): object;
}) => void;

/** Parts of node:module that @types/node lacks. */
const node = module as typeof module & {
  registerHooks?: RegisterHooks;
  register?: (specifier: string, parent: string) => void;
  _resolveFilename: (this: unknown, request: string, ...rest: unknown[]) => string;
};

/** Hooks both `import` and `require`. */
function hookBoth(registerHooks: RegisterHooks): void {
  registerHooks({
    resolve(specifier, context, next) {
      const entry = context.conditions?.includes("import") ? forImport : forRequire;
      const replaced = { url: pathToFileURL(entry).href, shortCircuit: true };
      let resolved: Resolved;
      try {
        resolved = next(specifier, context);
      } catch (error) {
        const refusal = specifier === SPECIFIER ? refusalOf(error) : error;
        if (refusal !== undefined) throw refusal;
        return replaced;
      }
      const isFile = resolved.url.startsWith("file:");
      return isFile && isReplaced(fileURLToPath(resolved.url)) ? replaced : resolved;
    },
  });
}

function hookRequire(): void {
  const resolve = node._resolveFilename;
  node._resolveFilename = function (request, ...rest) {
    let file: string;
    try {
      file = resolve.call(this, request, ...rest);
    } catch (error) {
      const refusal = request === SPECIFIER ? refusalOf(error) : error;
      if (refusal !== undefined) throw refusal;
      return forRequire;
    }
    return isReplaced(file) ? forRequire : file;
  };
}

/** Marks the process: the hooks of a second copy of the package would resolve again what the first has resolved. */
const REGISTERED = Symbol.for("covara-kv.registered");
const holder = globalThis as { [REGISTERED]?: boolean };

if (!holder[REGISTERED]) {
  holder[REGISTERED] = true;
  if (node.registerHooks !== undefined) {
    hookBoth(node.registerHooks);
  } else if (node.register !== undefined) {
    hookRequire();
    node.register("./register-import.mjs", pathToFileURL(__filename).href);
  } else {
    throw new KVError("UNSUPPORTED", "covara-kv/register needs Node.js 18.19, 20.6 or newer", {
      reason: "node-version",
    });
  }
  setDefaultFanout(variable("COVARA_KV_FANOUT"));
  guardUnhandledRejections();
}
