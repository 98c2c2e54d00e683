// An application on the framework's stand-in. `APP` says, as JSON, how it gets its store and what it does.
import process from "node:process";

const { way, redis, workers, prefix, listens, survives, ioredis } = JSON.parse(process.env.APP ?? "{}");

async function main() {
  const config = { type: /** @type {const} */ ("redis"), redis, prefix };
  // @ts-expect-error it is installed where this runs
  const covara = await import("covara");
  let kv;
  if (way === "register") {
    // @ts-expect-error it is installed where this runs
    const { initializeKV } = await import("covara/kv");
    kv = await initializeKV(config);
  } else if (way === "plain") {
    const { Redis } = await import(ioredis);
    kv = covara.createPlainKV(Redis, redis);
    covara.setGlobalKV(kv);
  } else {
    const { createKV, guardUnhandledRejections } = await import("covara-kv");
    if (way === "setGlobalKV") guardUnhandledRejections();
    kv = await createKV(config);
    covara.setGlobalKV(kv);
  }
  if (listens) kv.on("error", ({ code, command }) => console.log(JSON.stringify({ error: code, command })));
  if (survives)
    process.on("unhandledRejection", ({ code, command }) =>
      console.log(JSON.stringify({ lost: code, command })),
    );
  console.log(JSON.stringify({ port: await covara.serve({ workers }) }));
}

main();
