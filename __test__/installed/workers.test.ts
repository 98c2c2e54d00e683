// A bundle for Workers may pull in the addon or Node.js. The installed package is bundled by esbuild and by wrangler, and run in workerd.
import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { createDurableObjectKV } from "covara-kv";
import { eventually } from "../backends.js";
import { cannotRun, startScript, type Worker } from "../workerd/workerd.js";
import { publish, type Registry, startRegistry } from "./registry.js";
import { Machine, npm, root, tool, version } from "./run.js";

const machine = new Machine();
machine.env.WRANGLER_SEND_METRICS = "false";
let registry: Registry;

before(async () => {
  registry = await startRegistry();
  await publish(registry, machine);
});

after(async () => {
  machine.remove();
  await registry?.close();
});

const inExample = (file: string) => readFileSync(join(root, "examples/worker", file), "utf8");

/** A project with the example's configuration, and the package installed. */
async function project(
  name: string,
  files: Record<string, string>,
  dependencies: object = { "covara-kv": version },
): Promise<string> {
  const manifest = JSON.stringify({ name: "app", private: true, type: "module", dependencies });
  const common = { "package.json": manifest, "wrangler.toml": inExample("wrangler.toml") };
  const directory = machine.folder(name, { ...common, ...files });
  await machine.run(directory, "node", npm, "install", "--no-audit", "--no-fund");
  return directory;
}

/** A Worker that only uses the store. */
const smallest = `
  import { createDurableObjectKV } from "covara-kv";
  export { CovaraKVDurableObject } from "covara-kv";
  export default {
    async fetch(request, env) {
      return new Response(await createDurableObjectKV(env.COVARA_KV).get("greeting"));
    },
  };`;

const esbuild = require(tool("esbuild"));

/** Fails if a bundle needs Node.js or a binary, or imports anything but `expected`. */
async function assertSelfContained(bundle: string, ...expected: string[]): Promise<void> {
  assert.doesNotMatch(bundle, /\.node["'`]|["'`]node:|\brequire\b|covara-kv-(linux|darwin|win32)/);
  const { metafile } = await esbuild.build({
    stdin: { contents: bundle },
    ...{ bundle: true, external: ["*"], write: false, format: "esm", metafile: true },
  });
  const imports = metafile.inputs["<stdin>"].imports as { path: string }[];
  assert.deepEqual([...new Set(imports.map(({ path }) => path))], expected);
}

/** The bounds are those of docs/workers.md. */
function assertSmall(bundle: string, bound: number): void {
  const { length } = gzipSync(bundle, { level: 9 });
  assert.ok(length < bound, `${length} bytes`);
}

describe("esbuild", () => {
  const everything = `export * from "covara-kv"; export * as kv from "covara-kv/kv";`;
  const direct = `export * from "covara-kv/durable-object";`;

  for (const [name, source, conditions] of [
    ["covara-kv and covara-kv/kv, with the conditions of Workers", everything, ["workerd", "worker"]],
    ["covara-kv/durable-object, with no condition", direct, []],
  ] as const) {
    test(name, async () => {
      const directory = await project("esbuild", { "all.js": source });
      const { outputFiles, metafile } = await esbuild.build({
        absWorkingDir: directory,
        entryPoints: ["all.js"],
        bundle: true,
        write: false,
        format: "esm",
        platform: "neutral",
        minify: true,
        conditions,
        metafile: true,
      });
      assert.deepEqual(Object.keys(metafile.inputs), ["node_modules/covara-kv/dist/worker.mjs", "all.js"]);
      await assertSelfContained(outputFiles[0].text);
      assertSmall(outputFiles[0].text, 23_000);
    });
  }
});

/** The bundle that wrangler would upload for a project. */
async function bundled(directory: string): Promise<string> {
  const wrangler = tool("wrangler/bin/wrangler.js");
  const said = await machine.run(directory, "node", wrangler, "deploy", "--dry-run", "--outdir", "out");
  assert.match(said, /COVARA_KV \(CovaraKVDurableObject\)/);
  const [file, ...more] = readdirSync(join(directory, "out")).filter((file) => file.endsWith("js"));
  assert.deepEqual(more, []);
  return readFileSync(join(directory, "out", file as string), "utf8");
}

/** Runs a project with the settings of its wrangler.toml. */
async function start(directory: string): Promise<Worker> {
  const program = `
    const { unstable_getMiniflareWorkerOptions: optionsOf } = require(${JSON.stringify(tool("wrangler"))});
    console.log(JSON.stringify(optionsOf("wrangler.toml").workerOptions));`;
  const options = JSON.parse(await machine.run(directory, "node", "--eval", program));
  return startScript(await bundled(directory), options);
}

test("the stub of docs/workers.md is a store in Node.js, without a binary", async () => {
  const docs = readFileSync(join(root, "docs/workers.md"), "utf8");
  const [, stub] = /```js\n(import [^`]*durable-object";[^`]*)```/.exec(docs) ?? [];
  const use = `
    await kv.multi().incr("visits").sadd("readers", "ada").exec();
    console.log(await kv.get("visits"), await kv.smembers("readers"), await kv.keys("*"));`;
  const directory = await project("stub", { "app.js": stub + use });
  rmSync(join(directory, "node_modules/covara-kv/dist/index.js"));
  assert.equal(await machine.run(directory, "node", "app.js"), "1 [ 'ada' ] [ 'visits', 'readers' ]\n");
});

describe("wrangler", { skip: cannotRun }, () => {
  test("a Worker with the store alone is small", async () => {
    const bundle = await bundled(await project("smallest", { "worker.js": smallest }));
    await assertSelfContained(bundle);
    assertSmall(bundle, 19_000);
  });

  test("TypeScript, with the types that wrangler generates", async () => {
    const compilerOptions = {
      ...{ module: "esnext", moduleResolution: "bundler", customConditions: ["workerd"] },
      ...{ target: "es2022", lib: ["es2022", "esnext.disposable"], types: ["./worker-configuration.d.ts"] },
      ...{ strict: true, noUncheckedIndexedAccess: true, exactOptionalPropertyTypes: true },
      noEmit: true,
    };
    const directory = await project("typescript", {
      "worker.ts": typescript,
      "tsconfig.json": JSON.stringify({ compilerOptions, include: ["worker.ts"] }),
      "wrangler.toml": inExample("wrangler.toml").replace("worker.js", "worker.ts"),
    });
    await machine.run(directory, "node", tool("wrangler/bin/wrangler.js"), "types");
    await machine.run(directory, "node", join(root, "node_modules/typescript/bin/tsc"));
  });

  test("the framework's snippet, with this package in its place", async () => {
    const directory = await project(
      "alias",
      { "worker.js": snippet },
      { covara: `npm:covara-kv@${version}` },
    );
    const worker = await start(directory);
    try {
      for (const visits of [1, 2]) {
        const response = await worker.fetch("http://worker/");
        assert.deepEqual(await response.json(), { visits, heard: "hello" });
      }
      await assertSelfContained(await bundled(directory), "cloudflare:workers");
    } finally {
      await worker.stop();
    }
  });
});

/** The imports of a Worker in TypeScript. wrangler generates the type of the binding. */
const typescript = `
  import { env } from "cloudflare:workers";
  import { createDurableObjectKV, initializeKV, registerHandler } from "covara-kv";
  import { DurableObjectKVStore, type KVStore } from "covara-kv/durable-object";
  import { getGlobalKV, setGlobalKV } from "covara-kv/kv";
  export { CovaraKVDurableObject } from "covara-kv";

  const kv: KVStore = createDurableObjectKV(env.COVARA_KV, { prefix: "app" });
  setGlobalKV(kv);
  const other = new DurableObjectKVStore(() => env.COVARA_KV.getByName("other"));

  export default {
    async fetch(request, env, ctx): Promise<Response> {
      await initializeKV({ type: "durable-object", durableObject: { namespace: env.COVARA_KV } });
      registerHandler("stream", () => {}, { signal: request.signal });
      await using _ = await other.listen(["news"], (message: string) => ctx.waitUntil(kv.set("last", message)));
      const visits: number = await getGlobalKV().incr("visits");
      return Response.json({ visits });
    },
  } satisfies ExportedHandler<Env>;`;

/** The framework's documented snippet, between the import of `env` and a Worker that uses it. */
const snippet = `
import { env } from "cloudflare:workers";
import { createDurableObjectKV, setGlobalKV, initializeEventSubscription } from "covara";
export { CovaraKVDurableObject } from "covara";

setGlobalKV(createDurableObjectKV(env.COVARA_KV));
void initializeEventSubscription();

import { getGlobalKV } from "covara/kv";
export default {
  async fetch() {
    const kv = getGlobalKV();
    let subscription;
    const heard = await new Promise((resolve, reject) => {
      const listening = kv.listen(["news"], resolve).then((it) => { subscription = it; });
      listening.then(() => kv.publish("news", "hello")).catch(reject);
    });
    await subscription.close();
    return Response.json({ visits: await kv.incr("visits"), heard });
  },
};`;

describe("examples/worker", { skip: cannotRun }, () => {
  let worker: Worker;
  before(async () => {
    const { dependencies } = JSON.parse(inExample("package.json"));
    const directory = await project("example", { "worker.js": inExample("worker.js") }, dependencies);
    worker = await start(directory);
    await assertSelfContained(await bundled(directory), "cloudflare:workers");
  });
  after(() => worker?.stop());

  async function call(method: string, path: string, body?: string, cookie = "") {
    const init = { method, headers: { cookie }, ...(body !== undefined && { body }) };
    const response = await fetch(new URL(path, worker.url), init);
    const { status, headers } = response;
    const text = await response.text();
    return { status, text, cookie: headers.get("set-cookie")?.split(";")[0] };
  }

  test("it counts", async () => {
    assert.equal((await call("POST", "/visits")).text, '{"visits":1}');
    assert.equal((await call("POST", "/visits")).text, '{"visits":2}');
  });

  test("a session is there, and gone", async () => {
    const { cookie } = await call("POST", "/session", "ada");
    assert.equal((await call("GET", "/session", undefined, cookie)).text, '{"user":"ada"}');
    assert.equal((await call("DELETE", "/session", undefined, cookie)).text, '{"ended":1}');
    assert.equal((await call("GET", "/session", undefined, cookie)).text, '{"user":null}');
    assert.equal((await call("POST", "/feed", "hello", cookie)).status, 401);
  });

  test("posts are limited", async () => {
    const { cookie } = await call("POST", "/session", "bob");
    const statuses: number[] = [];
    do statuses.push((await call("POST", "/feed", "hello", cookie)).status);
    while (statuses.at(-1) === 201);
    // More than 5 posts pass only if a window ends meanwhile.
    assert.ok(statuses.length > 5);
    assert.equal(statuses.at(-1), 429);
  });

  /** Opens a stream; `heard` fills with its chunks. */
  async function follow() {
    const leaving = new AbortController();
    const response = await fetch(new URL("/feed", worker.url), { signal: leaving.signal });
    const heard: string[] = [];
    const read = async () => {
      const decoder = new TextDecoder();
      for await (const chunk of response.body ?? []) heard.push(decoder.decode(chunk as Uint8Array));
    };
    read().catch(() => {}); // The read fails when the client leaves.
    return { heard, leave: () => leaving.abort() };
  }

  // On a busy machine workerd misses about one client in twenty that leaves: it neither aborts the signal nor stops to write.
  const LEAVING = 8;

  test("open streams hear a post, and clients that have left have no socket", async () => {
    const kv = createDurableObjectKV(worker.namespace, { prefix: "example" });
    const sockets = () => kv.publish("covara:events", "a message for nobody");
    const { cookie } = await call("POST", "/session", "eve");
    const post = async (text: string) => (await call("POST", "/feed", text, cookie)).text;
    const [stays, leave] = [await follow(), await Promise.all(Array.from({ length: LEAVING }, follow))];
    assert.equal(await sockets(), 1 + LEAVING);
    assert.equal(await post("one"), `{"streams":${1 + LEAVING}}`);
    const one = 'data: {"user":"eve","text":"one"}\n\n';
    await eventually(() => [stays, ...leave].every(({ heard }) => heard.length === 1));
    for (const { heard } of [stays, ...leave]) assert.deepEqual(heard, [one]);

    for (const client of leave) client.leave();
    await post("two"); // workerd notices that a client has left when it writes to it.
    await eventually(async () => {
      const open = await sockets();
      return open <= LEAVING / 2 && open === (await kv.scard("streams"));
    });
    assert.ok(JSON.parse(await post("three")).streams <= LEAVING / 2);
    await eventually(() => stays.heard.length === 3);
    stays.leave();
    await kv.disconnect();
  });
});
