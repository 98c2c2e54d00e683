// Coverage-guided fuzzing with libFuzzer, under AddressSanitizer: `npm run fuzz`, or `npm run fuzz -- 600 resp` for ten minutes of one
// target. The targets are those of cargo-fuzz, which runs them too, with a nightly toolchain.
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { Failure, main, step } from "./steps.mjs";

/** Where what was found new is kept: beside the corpus of the repository, which `--merge` adds it to. */
const found = ".cache/fuzz";
const host = spawnSync("rustc", ["--print", "host-tuple"], { encoding: "utf8" }).stdout.trim();

/** As cargo-fuzz does it. The stable toolchain has all of it, and only does not show it. */
const coverage = [
  "-Cpasses=sancov-module",
  "-Cllvm-args=-sanitizer-coverage-level=4",
  "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
  "-Cllvm-args=-sanitizer-coverage-pc-table",
  "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
Object.assign(process.env, {
  RUSTC_BOOTSTRAP: "1",
  RUSTFLAGS: ["--cfg fuzzing", "-Zsanitizer=address", ...coverage].join(" "),
  // Lua is written in C.
  [`CFLAGS_${host.replaceAll("-", "_")}`]: "-fsanitize=address",
  ASAN_OPTIONS: "detect_leaks=0",
});

await main(import.meta.url, async () => {
  const words = process.argv.slice(2);
  const seconds = Number(words.find((word) => /^\d+$/.test(word)) ?? 60);
  const all = readdirSync("fuzz/fuzz_targets")
    .filter((file) => file !== "script.rs")
    .map((file) => file.replace(".rs", ""));
  const wanted = words.filter((word) => !/^(\d+|--merge)$/.test(word));
  const unknown = wanted.find((word) => !all.includes(word));
  if (unknown) throw new Failure(`There is no target ${unknown}: there are ${all.join(", ")}.`);

  await step("fuzz targets", (run) =>
    run(
      "cargo",
      "build",
      ...["--locked", "--release", "--manifest-path", "fuzz/Cargo.toml"],
      ...["--target", host, "--target-dir", "target/fuzz"],
    ),
  );
  for (const target of wanted.length > 0 ? wanted : all) {
    const program = `target/fuzz/${host}/release/${target}`;
    const [kept, fresh] = [`fuzz/corpus/${target}`, `${found}/${target}`];
    mkdirSync(fresh, { recursive: true });
    if (words.includes("--merge")) {
      await step(`corpus of ${target}`, (run) => run(program, "-set_cover_merge=1", kept, fresh));
      continue;
    }
    await step(`fuzzing ${target} for ${seconds} s`, async (run, log) => {
      const limits = [`-max_total_time=${seconds}`, "-max_len=512", "-timeout=20"];
      await run(program, fresh, kept, ...limits, `-artifact_prefix=${found}/${target}-`);
      return readFileSync(log, "utf8").match(/Done \d+ runs/)?.[0];
    });
  }
});
