// Workers in workerd, Cloudflare's runtime, which miniflare starts.
import { join } from "node:path";
import type { DurableObjectNamespaceLike, WebSocketLike } from "covara-kv";
import { root, tool } from "../installed/run.js";

type Upgradable = Response & { readonly webSocket: WebSocketLike | null };

/** What we use of miniflare. */
interface Miniflare {
  readonly ready: Promise<URL>;
  dispatchFetch(url: string, init?: RequestInit): Promise<Upgradable>;
  dispose(): Promise<void>;
}

export interface Worker {
  /** Sends a request to the Worker. */
  fetch(url: string, init?: RequestInit): Promise<Upgradable>;
  stop(): Promise<void>;
}

/** Miniflare's client needs it, and there is no workerd for musl. */
export const cannotRun = Number.parseInt(process.versions.node, 10) < 20 && "miniflare needs Node.js 20";

/** Starts the Worker of a file, whose binding COVARA_KV is of its class CovaraKVDurableObject. Objects last as long as it, or are kept in a folder. */
export async function startWorker(file: string, keptIn?: string): Promise<Worker> {
  const { Miniflare } = require(tool("miniflare")) as { Miniflare: new (options: object) => Miniflare };
  const miniflare = new Miniflare({
    modules: true,
    script: await bundled(file),
    compatibilityDate: "2026-04-01",
    // Else it is downloaded.
    cf: false,
    durableObjects: { COVARA_KV: { className: "CovaraKVDurableObject", useSQLite: true } },
    durableObjectsPersist: keptIn ?? false,
  });
  // What has not started has to be ended as well.
  await miniflare.ready.catch(async (error) => {
    await miniflare.dispose();
    throw error;
  });
  return {
    fetch: (url, init) => miniflare.dispatchFetch(url, init),
    stop: () => miniflare.dispose(),
  };
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
    alias: { "covara-kv": join(root, "ts/backends/durable-object/index.ts") },
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
