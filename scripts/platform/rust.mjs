// The Rust tests on a platform: built as its binary is, but without optimization across crates, and run by what runs its programs here.
import { readFileSync } from "node:fs";
import { cargoFlags, cargoOf, prepare, setForCargo } from "./build.mjs";
import { wrap } from "./fetch.mjs";
import { fetchRunner } from "./runtime.mjs";
import { platforms } from "./table.mjs";

/** Gives how many passed, and what ran them. */
export async function runRustTests(run, platform, log) {
  const { target } = platforms[platform];
  await prepare(run, platform);
  const { name, words, env, close } = await fetchRunner(run, platform);
  // Code that is not optimized takes more stack for Windows. Wine ends a thread that has none left, and the tests wait for it for ever.
  const roomy = { ...env, RUST_MIN_STACK: `${16 << 20}` };
  if (words.length > 0) setForCargo(target, "RUNNER", wrap(`runner-${platform}`, words, roomy));
  try {
    await run(cargoOf(platform), "test", "--lib", "--target", target, ...cargoFlags("test"));
  } finally {
    close();
  }
  const passed = Number(/^test result: ok\. (\d+) passed/m.exec(readFileSync(log, "utf8"))?.[1]);
  return { passed, on: name || "natively" };
}
