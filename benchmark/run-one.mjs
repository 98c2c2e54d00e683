// One round of one row on one store, in a process of its own: prints its operations a second, as JSON.
import { setImmediate as turn } from "node:timers/promises";
import { rows } from "./rows.mjs";
import { stores } from "./stores.mjs";

/** The least timed duration of the warm-up and of the measurement, in ms. */
const WARM_UP = 300;
const MEASURED = 500;

const [store, name] = process.argv.slice(2);
const row = rows.find((row) => row.name === name);
const kv = stores[store]();

/** Operations a second, over at least this timed duration in ms. */
async function measure(least) {
  let operations = 0;
  let time = 0;
  while (time < least) {
    const start = performance.now();
    await row.run(kv);
    time += performance.now() - start;
    operations += row.operations;
    await row.restore?.(kv);
    await turn();
  }
  return operations / (time / 1_000);
}

await row.prepare(kv);
await measure(WARM_UP);
globalThis.gc();
console.log(JSON.stringify(await measure(MEASURED)));
