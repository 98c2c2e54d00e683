// Next.js bundles server code by rules of its own, and may break the package. Production builds by both of its bundlers take minutes, so
// only `npm run check:bundlers` runs them.
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { eventually } from "../backends.js";
import { Machine, root } from "../installed/run.js";
import { type RedisServer, startRedis } from "../redis-server.js";
import { bundler, install, platformPackage, unlessAll } from "./project.js";

const next = bundler("next/dist/bin/next");

const files = {
  "package.json": JSON.stringify({ name: "app", private: true }),
  "next.config.mjs": `
    const root = process.env.APP_ROOT;
    export default {
      outputFileTracingRoot: root,
      turbopack: { root },
      ...(process.env.STANDALONE && { output: "standalone" }),
      ...(process.env.EXTERNAL && { serverExternalPackages: ["covara-kv"] }),
    };`,
  "app/layout.js": "export default ({ children }) => <html><body>{children}</body></html>;",
  "app/page.js": "export default () => <p>hello</p>;",
  "app/kv/route.js": `
    import { createKV, KVError } from "covara-kv";
    export const dynamic = "force-dynamic";
    export async function GET(request) {
      const url = new URL(request.url).searchParams.get("redis");
      const redis = { type: "redis", prefix: "next:", redis: { url } };
      const kv = await createKV(url === null ? { type: "memory", strict: true } : redis);
      await kv.zadd("scores", 1200, "ada");
      const heard = await new Promise((resolve, reject) => {
        kv.subscribe("news", resolve).then(() => kv.publish("news", "hello")).catch(reject);
      });
      const error = await kv.incr("scores").catch((error) => error);
      await kv.disconnect();
      return Response.json({ heard, code: error instanceof KVError && error.code });
    }`,
  "app/edge/route.js": `
    import { createDurableObjectKV, createKV } from "covara-kv";
    export const runtime = "edge";
    export async function GET() {
      const error = await createKV({ type: "memory" }).catch((error) => error);
      return Response.json({ code: error.code, there: typeof createDurableObjectKV });
    }`,
};

/** The built server of Next.js, while it runs, with its output. */
class Server {
  #process: ChildProcess | undefined;
  #log = "";
  #url = "";

  async start(directory: string, environment: object, ...args: string[]): Promise<void> {
    const free = createServer().listen(0, "127.0.0.1");
    await once(free, "listening");
    const { port } = free.address() as AddressInfo;
    free.close();
    this.#url = `http://127.0.0.1:${port}`;
    const env = { ...environment, PORT: String(port), HOSTNAME: "127.0.0.1" } as unknown as NodeJS.ProcessEnv;
    this.#process = spawn(process.execPath, args, { cwd: directory, env });
    for (const stream of [this.#process.stdout, this.#process.stderr])
      stream?.on("data", (data) => {
        this.#log += data;
      });
    await eventually(() =>
      fetch(this.#url).then(
        ({ ok }) => ok,
        () => false,
      ),
    );
  }

  get log(): string {
    return this.#log;
  }

  get(path: string): Promise<Response> {
    return fetch(`${this.#url}/${path}`);
  }

  async stop(): Promise<void> {
    if (this.#process?.exitCode !== null) return;
    this.#process.kill();
    await once(this.#process, "close");
  }
}

async function works(server: Server, url: string): Promise<void> {
  for (const query of ["", `?redis=${encodeURIComponent(url)}`]) {
    const response = await server.get(`kv${query}`);
    assert.deepEqual(await response.json(), { heard: "hello", code: "WRONGTYPE" }, server.log);
  }
  const edge = await server.get("edge");
  assert.deepEqual(await edge.json(), { code: "UNSUPPORTED", there: "function" }, server.log);
}

describe("Next.js", { skip: unlessAll }, () => {
  const machine = new Machine();
  // Turbopack follows no link out of its root, so the project lies beside Next.js.
  const project = join(root, ".cache/bundlers/next-app");
  let redis: RedisServer;
  let url: string;
  let server: Server;

  before(async () => {
    redis = await startRedis();
    url = `redis://${redis.host}:${redis.port}`;
  });

  after(async () => {
    await server?.stop();
    await redis?.stop();
    rmSync(project, { recursive: true, force: true });
    machine.remove();
  });

  /** Builds the project anew, then removes its sources, and its packages except the binary. */
  async function build(settings: Record<string, string>, ...options: string[]): Promise<void> {
    rmSync(project, { recursive: true, force: true });
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(dirname(join(project, file)), { recursive: true });
      writeFileSync(join(project, file), text);
    }
    await install(machine, project);
    Object.assign(machine.env, { NEXT_TELEMETRY_DISABLED: "1", APP_ROOT: dirname(project) }, settings);
    const env = machine.env as unknown as NodeJS.ProcessEnv;
    await promisify(execFile)(process.execPath, [next, "build", ...options], { cwd: project, env });
    for (const setting of Object.keys(settings)) delete machine.env[setting];
    rmSync(join(project, "app"), { recursive: true });
    rmSync(join(project, "node_modules/covara-kv"), { recursive: true });
  }

  for (const option of ["--turbopack", "--webpack"]) {
    test(`${option}: route handlers of Node.js and of the edge work`, { timeout: 600_000 }, async () => {
      await build({}, option);
      server = new Server();
      await server.start(project, machine.env, next, "start");
      await works(server, url);
      await server.stop();
    });
  }

  /** Moves the output of `output: "standalone"` to a folder of its own. */
  function standalone(name: string): string {
    const directory = machine.folder(name);
    cpSync(join(project, ".next/standalone"), directory, { recursive: true, verbatimSymlinks: true });
    renameSync(join(project, ".next/standalone"), join(project, ".next/was-standalone"));
    return join(directory, "next-app");
  }

  test("standalone, elsewhere: it says that the binary is missing", { timeout: 600_000 }, async () => {
    await build({ STANDALONE: "1" });
    server = new Server();
    await server.start(standalone("standalone"), machine.env, "server.js");
    assert.equal((await server.get("kv")).status, 500);
    assert.match(server.log, new RegExp(`nor the package ${platformPackage} in .*docs/bundlers\\.md`));
    await server.stop();
  });

  test("standalone with serverExternalPackages, elsewhere: it works", { timeout: 600_000 }, async () => {
    await build({ STANDALONE: "1", EXTERNAL: "1" });
    const directory = standalone("standalone-external");
    server = new Server();
    await server.start(directory, machine.env, "server.js");
    await works(server, url);
    await server.stop();
  });
});
