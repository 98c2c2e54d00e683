// Runs Workers in workerd, Cloudflare's runtime, which miniflare starts.
import { rmSync } from "node:fs";
import type { DurableObjectNamespaceLike, WebSocketLike } from "covara-kv";
import { tool } from "../installed/run.js";
import { scratchFolder } from "../scratch-folder.js";

type Upgradable = Response & { readonly webSocket: WebSocketLike | null };

/** The part of miniflare that is used here. */
interface Miniflare {
  readonly ready: Promise<URL>;
  dispatchFetch(url: string, init?: RequestInit): Promise<Upgradable>;
  getDurableObjectNamespace(binding: string): Promise<DurableObjectNamespaceLike>;
  dispose(): Promise<void>;
}

export interface Worker {
  /** The address it listens on. */
  readonly url: URL;
  /** The value of its binding COVARA_KV. */
  readonly namespace: DurableObjectNamespaceLike;
  fetch(url: string, init?: RequestInit): Promise<Upgradable>;
  stop(): Promise<void>;
}

/** Why workerd cannot run on this Node.js, or false. */
export const cannotRun = Number.parseInt(process.versions.node, 10) < 20 && "miniflare needs Node.js 20";

interface Options {
  /** The folder of its objects. Without one their data ends with the Worker. */
  readonly folder?: string;
  /** Runs the Worker in several isolates over the same objects. Each isolate answers for the host of its name. */
  readonly isolates?: readonly string[];
}

/** Starts the Worker in a file, which exports the class CovaraKVDurableObject for its binding COVARA_KV. */
export async function startWorker(file: string, { folder, isolates }: Options = {}): Promise<Worker> {
  const script = await bundled(file);
  const [first = "worker", ...others] = isolates ?? [];
  const class_ = { className: "CovaraKVDurableObject", useSQLite: true };
  const isolate = (name: string, COVARA_KV: object) => ({
    name,
    routes: [`${name}/*`],
    modules: true,
    script,
    compatibilityDate: "2026-04-01",
    durableObjects: { COVARA_KV },
  });
  const workers = [
    isolate(first, class_),
    ...others.map((name) => isolate(name, { ...class_, scriptName: first })),
  ];
  return start({ workers }, folder);
}

/** Starts a bundled Worker, with options of miniflare. */
export function startScript(script: string, options: object): Promise<Worker> {
  return start({ ...options, modules: true, script });
}

async function start(options: object, folder?: string): Promise<Worker> {
  const objects = folder ?? scratchFolder("workerd");
  const { Miniflare } = require(tool("miniflare")) as { Miniflare: new (options: object) => Miniflare };
  // Without `cf: false` miniflare downloads the data of `request.cf`.
  const miniflare = new Miniflare({ ...options, cf: false, durableObjectsPersist: objects });
  const stop = async () => {
    await miniflare.dispose();
    if (folder === undefined) rmSync(objects, { recursive: true, force: true });
  };
  try {
    const url = await miniflare.ready;
    const namespace = await miniflare.getDurableObjectNamespace("COVARA_KV");
    return { url, namespace, fetch: (url, init) => miniflare.dispatchFetch(url, init), stop };
  } catch (error) {
    // A Worker that failed to start has to be ended too.
    await stop();
    throw error;
  }
}

async function bundled(file: string): Promise<string> {
  const { build } = require(tool("esbuild")) as {
    build(options: object): Promise<{ outputFiles: [{ text: string }] }>;
  };
  const { outputFiles } = await build({
    entryPoints: [file],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
    conditions: ["workerd", "worker"],
    external: ["cloudflare:workers"],
    logLevel: "silent",
  });
  return outputFiles[0].text;
}

/** The objects of a Worker that runs forwarder.ts, for stores in this process. */
export function namespaceOf(worker: Worker): DurableObjectNamespaceLike {
  return {
    idFromName: (name) => name,
    get: (name) => ({
      fetch(url, init) {
        const headers = { ...init?.headers, object: name as string };
        return worker.fetch(url, { ...init, headers });
      },
    }),
  };
}
