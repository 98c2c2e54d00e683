// What an application does first, as an ES module, in CommonJS and in TypeScript. Prints DONE if all of it is as it should be.

const work = `
async function main() {
  const redis = { url: process.argv[2] ?? "" };
  const stores = [await createKV({ type: "memory" }), await createKV({ type: "redis", prefix: String(process.pid), redis })];
  for (const kv of stores) {
    await kv.zadd("scores", 1200, "ada");
    const scores = await kv.zrangebyscore("scores", "-inf", "+inf", { withScores: true });
    if (scores.join() !== "ada,1200") throw new Error(scores.join());

    const results = await kv.multi().incr("views").sadd("readers", "ada").exec();
    if (results?.join() !== "1,1") throw new Error(results?.join());

    const heard = await new Promise((resolve, reject) => {
      kv.subscribe("news", resolve).then(() => kv.publish("news", "hello")).catch(reject);
    });
    if (heard !== "hello") throw new Error(String(heard));

    const error = await kv.incr("scores").then(() => undefined, (error) => error);
    if (kv === stores[1] && !(error instanceof KVError && error.code === "WRONGTYPE")) throw error;
    await kv.disconnect();
  }
  console.log("DONE");
}
main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
`;

export const esm = `import { createKV, KVError } from "covara-kv";\n${work}`;
export const cjs = `const { createKV, KVError } = require("covara-kv/kv");\n${work}`;
/** The package's types need no others, not even those of Node itself. */
export const typescript = `
declare const process: { readonly pid: number; readonly argv: string[]; exitCode?: number };
import { createKV, type KVAdapter, KVError } from "covara-kv";
import { getGlobalKV } from "covara-kv/kv";
export const global: () => KVAdapter = getGlobalKV;
${work}`;

/** The ways in which TypeScript finds a package, with a module system for each in which the output runs. */
export const compilerOptions = {
  "node16, ES modules": { module: "node16", moduleResolution: "node16" },
  "node16, CommonJS": { module: "node16", moduleResolution: "node16" },
  bundler: { module: "esnext", moduleResolution: "bundler" },
};
