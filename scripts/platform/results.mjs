// What docs/platforms.json knows of each platform, as the table of README.md.
import { readFileSync, writeFileSync } from "node:fs";
import { platforms, systemOf } from "./table.mjs";

const path = "docs/platforms.json";

/** Adds to what is known of a platform. */
export function record(platform, found) {
  const known = JSON.parse(readFileSync(path, "utf8"));
  known[platform] = { ...known[platform], ...found };
  const rows = Object.keys(platforms).map((name) => [name, known[name]]);
  writeFileSync(path, `${JSON.stringify(Object.fromEntries(rows), undefined, 2)}\n`);
}

/** What a run found, and what one of the same binary, day and means had found of other suites. */
export function withEarlier(platform, ran) {
  const before = JSON.parse(readFileSync(path, "utf8"))[platform]?.ran;
  const isLike = ["date", "sha256", "on", "node"].every((name) => before?.[name] === ran[name]);
  return isLike ? { ...ran, passed: { ...before.passed, ...ran.passed } } : ran;
}

/** What builds and runs those that nothing here does: a job of release.yml, without which none is published. */
const elsewhere = {
  built: { win32: "by CI alone: it takes Microsoft's linker" },
  ran: { darwin: "by CI alone: it takes a Mac", win32: "by CI alone: it takes Windows" },
};

/** @param {string} json what docs/platforms.json holds */
export function tableOf(json) {
  const known = JSON.parse(json);
  const names = ["conformance, memory", "conformance, Redis", "threads terminated"];
  const others = ["memory", "Redis", "Sentinel and Cluster"];
  const heads = ["platform", "built", "run by", ...names, "other tests: memory", ...others.slice(1), "Rust"];
  const rows = Object.keys(platforms).map((platform) => {
    const { built, commit, bytes, rust, ran } = known[platform] ?? {};
    const system = systemOf(platform);
    const passed = [...names, ...others].map((name) => ran?.passed[name] ?? "");
    return [
      `\`${platform}\``,
      built
        ? `${built}${commit ? ` of ${commit}` : ""}, ${(bytes / 1e6).toFixed(2)} MB`
        : (elsewhere.built[system] ?? "not yet"),
      ran ? `${ran.on}, Node.js ${ran.node}, ${ran.date}` : (elsewhere.ran[system] ?? "not yet"),
      ...passed,
      rust?.passed ?? "",
    ];
  });
  return [heads, heads.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}
