// Workers in workerd, Cloudflare's runtime, which miniflare starts.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DurableObjectNamespaceLike, WebSocketLike } from "covara-kv";
import { tool } from "../installed/run.js";

type Upgradable = Response & { readonly webSocket: WebSocketLike | null };

/** What we use of miniflare. */
interface Miniflare {
  readonly ready: Promise<URL>;
  dispatchFetch(url: string, init?: RequestInit): Promise<Upgradable>;
  getDurableObjectNamespace(binding: string): Promise<DurableObjectNamespaceLike>;
  dispose(): Promise<void>;
}

export interface Worker {
  /** Where it listens. */
  readonly url: URL;
  /** What its binding COVARA_KV is. */
  readonly namespace: DurableObjectNamespaceLike;
  /** Sends a request to the Worker. */
  fetch(url: string, init?: RequestInit): Promise<Upgradable>;
  stop(): Promise<void>;
}

/** Why there is no workerd on this Node.js, if there is none. */
export const cannotRun = Number.parseInt(process.versions.node, 10) < 20 && "miniflare needs Node.js 20";

/** A file system in memory, on Linux: workerd has each commit wait for the disk. */
const MEMORY = "/dev/shm";

/** What a Worker may be given. */
interface Options {
  /** Where its objects are. Without one they end with it. */
  readonly folder?: string;
  /** Runs it in several isolates, over the same objects: each answers for the host of its name. */
  readonly isolates?: readonly string[];
}

/** Starts the Worker of a file, whose binding COVARA_KV is of its class CovaraKVDurableObject. */
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

/** Starts a Worker that has been bundled, with miniflare's options for it. */
export function startScript(script: string, options: object): Promise<Worker> {
  return start({ ...options, modules: true, script });
}

async function start(options: object, folder?: string): Promise<Worker> {
  const objects = folder ?? mkdtempSync(join(existsSync(MEMORY) ? MEMORY : tmpdir(), "covara-kv-workerd-"));
  const { Miniflare } = require(tool("miniflare")) as { Miniflare: new (options: object) => Miniflare };
  // Without `cf: false` that is downloaded.
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
    // What has not started has to be ended as well.
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
