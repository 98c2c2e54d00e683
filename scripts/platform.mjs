// Builds and tries the binary of a platform, on Debian 12 for x64 or on the platform itself. docs/releasing.md has what came out.
//   node scripts/platform.mjs linux-x64-musl          builds it, runs its tests, and writes both into docs/platforms.json
//   node scripts/platform.mjs linux-x64-musl build    one of these alone: build, lint, rust (the Rust tests), run
//   node scripts/platform.mjs linux-x64-musl run "conformance, Redis"    one suite; the others stay as they were with this binary on this day
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { build, lint, toolsFor } from "./platform/build.mjs";
import { commitOf, record, source, withEarlier } from "./platform/results.mjs";
import { here, platforms } from "./platform/table.mjs";
import { dependencies, typescript } from "./setup.mjs";
import { Failure, main, step } from "./steps.mjs";

const today = () => new Date().toISOString().slice(0, 10);

const sha256Of = (file) => createHash("sha256").update(readFileSync(file)).digest("hex");

const work = {
  async build(platform, binary) {
    await step(`${platform}: build`, (run) => build(run, platform));
    const { size: bytes } = statSync(binary);
    await step(`${platform}: binary`, async (run) => {
      await run("node", "scripts/check-binary.mjs", binary);
      return `${bytes} bytes`;
    });
    const of = { commit: source(), sha256: sha256Of(binary), bytes };
    record(platform, { built: today(), tools: toolsFor(platform), ...of });
  },

  async lint(platform) {
    await step(`${platform}: clippy`, (run) => lint(run, platform));
  },

  async rust(platform) {
    const { runRustTests } = await import("./platform/rust.mjs");
    await step(`${platform}: Rust tests`, async (run, log) => {
      const { passed, on } = await runRustTests(run, platform, log);
      record(platform, { rust: { date: today(), commit: source(), on, passed } });
      return `${passed} passed`;
    });
  },

  async run(platform, binary, suite) {
    if (!existsSync(binary)) throw new Failure(`${binary} is missing: build it first.`);
    await typescript();
    // It loads what is not there in a fresh clone.
    const { run } = await import("./platform/run.mjs");
    // Each by itself: an emulator takes hours, and one failure is not to cost what has passed.
    const sha256 = sha256Of(binary);
    const of = { date: today(), sha256, commit: commitOf(platform, sha256) };
    await run(platform, binary, suite, (found) =>
      record(platform, { ran: withEarlier(platform, { ...of, ...found }) }),
    );
  },
};

await main(import.meta.url, async () => {
  const [platform, only, suite] = process.argv.slice(2);
  if (!(platform in platforms) || (only !== undefined && !(only in work)))
    throw new Failure(
      `platform.mjs takes one of ${Object.keys(platforms).join(", ")}, then build, lint, rust or run.`,
    );
  await dependencies();
  const canRun = platform === here() || "node" in platforms[platform];
  for (const name of only ? [only] : ["build", "lint", ...(canRun ? ["rust", "run"] : [])])
    await work[name](platform, `covara-kv.${platform}.node`, suite);
});
