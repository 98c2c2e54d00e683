// Applications on the stand-in of the framework, each in a process of its own.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { get as httpGet } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { RedisConfig } from "covara-kv";
import { transformSync } from "esbuild";
import { eventually } from "../backends.js";
import { application, type Files } from "../package/application.js";

export type Kind = "module" | "commonjs";

/** How the application gets its store: `bare` is setGlobalKV without the guard, `plain` is the framework's own store over ioredis. */
export type Way = "register" | "setGlobalKV" | "bare" | "plain";

export interface AppOptions {
  readonly kind: Kind;
  readonly way: Way;
  readonly redis: RedisConfig;
  readonly prefix?: string;
  /** The number of loops that poll for tasks; none by default. */
  readonly workers?: number;
  /** Whether it listens to the store's `error` event, and prints the errors. */
  readonly listens?: boolean;
  /** Whether it listens to `unhandledRejection`, and prints the rejections. */
  readonly survives?: boolean;
  /** More environment variables. */
  readonly env?: Record<string, string>;
}

/** The events of a stream, in the order in which they came. */
export interface Stream {
  readonly handlerId: string;
  /** The instance on which it is open. */
  readonly owner: Instance;
  readonly events: { type: string; seq?: number; object?: unknown; at: number }[];
  close(): void;
}

const IOREDIS = createRequire(__filename).resolve("ioredis");

const standIn = join(__dirname, "stand-in");

/** The folder of the application of each kind, with the framework and this package installed. */
const directories = new Map<Kind, string>();

function directoryOf(kind: Kind): string {
  const made = directories.get(kind) ?? application(filesOf(kind));
  directories.set(kind, made);
  return made;
}

function filesOf(kind: Kind): Files {
  const extension = kind === "module" ? ".mjs" : ".cjs";
  const compiled = (path: string) => {
    const source = readFileSync(join(__dirname, path), "utf8");
    if (kind === "module") return source;
    const supported = { "dynamic-import": false };
    const { code } = transformSync(source, { format: "cjs", platform: "node", supported });
    return code.replaceAll(/(\.\/[\w/]+)\.mjs"/g, '$1.cjs"');
  };
  const named = (path: string) => path.replace(/\.mjs$/, extension);
  const modules = (readdirSync(standIn, { recursive: true }) as string[]).filter((path) =>
    path.endsWith(".mjs"),
  );
  const exports = { ".": `./dist/index${extension}`, "./kv": `./dist/kv/index${extension}` };
  return Object.fromEntries([
    [named("app.mjs"), compiled("app.mjs")],
    ["node_modules/covara/package.json", JSON.stringify({ name: "covara", version: "0.16.2", exports })],
    ...modules.map((path) => [`node_modules/covara/dist/${named(path)}`, compiled(join("stand-in", path))]),
  ]);
}

/** A running application. The test that starts it must kill it. */
export class Instance {
  readonly lines: Record<string, unknown>[] = [];
  /** Its output on stderr. */
  errors = "";
  readonly #child: ChildProcess;
  readonly #exit: Promise<unknown>;
  /** The exit code, or the signal that ended it; undefined while it runs. */
  ended: unknown;

  private constructor(options: AppOptions) {
    const [load, app] = options.kind === "module" ? ["--import", "app.mjs"] : ["--require", "app.cjs"];
    const flags = options.way === "register" ? [load, "covara-kv/register"] : [];
    this.#child = spawn(process.execPath, [...flags, app], {
      cwd: directoryOf(options.kind),
      env: { ...process.env, ...options.env, APP: JSON.stringify({ ...options, ioredis: IOREDIS }) },
    });
    const lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    lines.on("line", (line) => this.lines.push(JSON.parse(line)));
    this.#child.stderr?.on("data", (chunk) => {
      this.errors += chunk;
    });
    this.#exit = once(this.#child, "close").then(([code, signal]) => {
      this.ended = code ?? signal;
    });
  }

  /** Resolves once it serves requests. */
  static async start(options: AppOptions): Promise<Instance> {
    const instance = new Instance(options);
    await eventually(() => instance.#port !== undefined || instance.ended !== undefined);
    assert.equal(instance.ended, undefined, instance.errors);
    return instance;
  }

  get #port(): unknown {
    return this.lines.find((line) => "port" in line)?.port;
  }

  async get<T>(path: string): Promise<T> {
    return (await (await fetch(`http://127.0.0.1:${this.#port}${path}`)).json()) as T;
  }

  /** Resolves to the answer. It has a `code` if the request is refused. */
  async post(path: string, body: object): Promise<{ code?: string; id?: string }> {
    const response = await fetch(`http://127.0.0.1:${this.#port}${path}`, {
      method: "POST",
      body: JSON.stringify(body),
    });
    return (await response.json()) as { code?: string; id?: string };
  }

  /** Resolves once the stream is open. */
  stream(): Promise<Stream> {
    return new Promise((resolve, reject) => {
      const events: Stream["events"] = [];
      const request = httpGet(`http://127.0.0.1:${this.#port}/stream`, (response) => {
        const lines = createInterface({ input: response });
        for (const emitter of [response, lines]) emitter.on("error", () => {}); // The connection was closed.
        lines.on("line", (line) => {
          if (line === "") return;
          const { handlerId, ...event } = JSON.parse(line.slice("data: ".length));
          if (handlerId === undefined) events.push({ ...event, at: performance.now() });
          else resolve({ handlerId, owner: this, events, close: () => request.destroy() });
        });
      });
      request.on("error", reject);
    });
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exit;
  }
}
