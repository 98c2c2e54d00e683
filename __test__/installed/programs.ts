// The first program of an application, as an ES module, in CommonJS and in TypeScript: on Redis if it gets a URL, else in memory. It prints
// DONE if all results are right.

const work = `
async function main() {
  const [, , url] = process.argv;
  const kv = await createKV(
    url === undefined
      ? { type: "memory", strict: true }
      : { type: "redis", prefix: String(process.pid), redis: { url } },
  );
  await kv.zadd("scores", 1200, "ada");
  const scores = await kv.zrangebyscore("scores", "-inf", "+inf", { withScores: true });
  if (scores.join() !== "ada,1200") throw new Error(scores.join());

  const results = await kv.multi().incr("views").sadd("readers", "ada").exec();
  if (results?.join() !== "1,1") throw new Error(results?.join());

  const heard = await new Promise((resolve, reject) => {
    kv.subscribe("news", resolve).then(() => kv.publish("news", "hello")).catch(reject);
  });
  if (heard !== "hello") throw new Error(String(heard));

  const error = await kv.incr("scores").catch((error) => error);
  if (!(error instanceof KVError && error.code === "WRONGTYPE")) throw error;

  await kv.disconnect();
  console.log("DONE");
}
main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
`;

export const esm = `import { createKV, KVError } from "covara-kv";\n${work}`;
export const cjs = `const { createKV, KVError } = require("covara-kv/kv");\n${work}`;
/** The package's types need no other types, not even those of Node.js. */
export const typescript = `
declare const process: { readonly pid: number; readonly argv: string[]; exitCode?: number };
import { createKV, type KVStore, KVError } from "covara-kv";
import { getGlobalKV } from "covara-kv/kv";
export const global: () => KVStore = getGlobalKV;
${work}`;

/** The ways in which TypeScript resolves a package, each with the module systems in which the output runs. */
export const compilerOptions = {
  "node16, ES modules": { module: "node16", moduleResolution: "node16" },
  "node16, CommonJS": { module: "node16", moduleResolution: "node16" },
  bundler: { module: "esnext", moduleResolution: "bundler" },
};

/** The features of the README's table of runtimes. Each program prints DONE and ends by itself where it works. */
export const features: Record<string, { readonly files: Record<string, string>; readonly run: string[] }> = {
  "in memory": { files: { "app.mjs": esm }, run: ["app.mjs"] },
  "in memory, shared by worker threads": {
    files: {
      "threads.mjs": `
        import { isMainThread, Worker } from "node:worker_threads";
        import { createKV } from "covara-kv";
        const kv = await createKV({ type: "memory", shared: "app" });
        if (isMainThread) new Worker(new URL(import.meta.url)).on("exit", async () => console.log(await kv.get("said")));
        else await kv.set("said", "DONE");`,
    },
    run: ["threads.mjs"],
  },
  "in memory, with a subscription: the process can end": {
    files: {
      "open.mjs": `
        import { createKV } from "covara-kv";
        const kv = await createKV({ type: "memory" });
        await kv.subscribe("news", () => {});
        console.log("DONE");`,
    },
    run: ["open.mjs"],
  },
  Redis: { files: { "app.mjs": esm }, run: ["app.mjs", "URL"] },
  "`covara-kv/register`, for `require`": {
    files: {
      "required.cjs": `
        require("covara-kv/register");
        if (require("covara/kv") === require("covara-kv")) console.log("DONE");`,
    },
    run: ["required.cjs"],
  },
  "`covara-kv/register`, for `import`": {
    files: {
      "imported.mjs": `
        await import("covara-kv/register");
        const { createKV } = await import("covara/kv");
        if (createKV === (await import("covara-kv")).createKV) console.log("DONE");`,
    },
    run: ["imported.mjs"],
  },
};
