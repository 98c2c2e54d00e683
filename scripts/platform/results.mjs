// What docs/platforms.json knows of each platform, as the table of README.md.
import { execFileSync } from "node:child_process";
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

/** The last commit that changed what a binary is built from: nothing where git cannot tell, as in a clone without history. */
export function source(directory = ".") {
  // In a container the files are another user's than git's.
  const options = ["-c", "safe.directory=*", "-C", directory];
  const git = (...args) =>
    execFileSync("git", [...options, ...args], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  try {
    if (git("rev-parse", "--is-shallow-repository") === "true") return undefined;
    const inputs = ["src", "build.rs", ".cargo", "Cargo.toml", "Cargo.lock"];
    return git("log", "-1", "--format=%h", "--", ...inputs) || undefined;
  } catch {
    return undefined;
  }
}

/** The commit of a binary, if it is the one that was last built for the platform. */
export function commitOf(platform, sha256) {
  const known = JSON.parse(readFileSync(path, "utf8"))[platform];
  return known?.sha256 === sha256 ? known.commit : undefined;
}

/** What a run found, and what one of the same binary, day and means had found of other suites. */
export function withEarlier(platform, ran) {
  return both(JSON.parse(readFileSync(path, "utf8"))[platform]?.ran, ran);
}

/** What two runs found. Of what they cannot have found together, the later one's. */
export function both(before, ran) {
  const isLike = ["date", "sha256", "on", "node"].every((name) => before?.[name] === ran[name]);
  const merged = { ...ran };
  for (const name of ["passed", "skipped", "left"]) {
    // A suite that has run again has nothing of its earlier run.
    const others = Object.entries(isLike ? (before[name] ?? {}) : {}).filter(
      ([suite]) => !(suite in ran.passed),
    );
    const all = Object.fromEntries([...others, ...Object.entries(ran[name] ?? {})]);
    if (Object.keys(all).length > 0) merged[name] = all;
    else delete merged[name];
  }
  return merged;
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
    const { built, tools, commit, bytes, rust, ran } = known[platform] ?? {};
    const system = systemOf(platform);
    return [
      `\`${platform}\``,
      built
        ? `${built}${commit ? ` of ${commit}` : ""} by ${tools}, ${(bytes / 1e6).toFixed(2)} MB`
        : (elsewhere.built[system] ?? "not yet"),
      ran
        ? `${ran.on}, Node.js ${ran.node}, ${ran.date} ${binaryOf(ran)}`
        : (elsewhere.ran[system] ?? "not yet"),
      ...[...names, ...others].map((name) => resultOf(ran, name)),
      rust ? `${rust.passed}, ${rust.on}, ${rust.date}${rust.commit ? ` of ${rust.commit}` : ""}` : "",
    ];
  });
  return [heads, heads.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

/** The binary that ran, which need not be the one that was built last. */
function binaryOf({ commit, sha256 }) {
  if (commit) return `of ${commit}`;
  return sha256 ? `of a binary ${sha256.slice(0, 7)}…` : "of a binary that was not recorded";
}

/** How many tests of a suite passed, how many were skipped, and how many files were left out. */
function resultOf(ran, suite) {
  const sum = (counts = {}) => Object.values(counts).reduce((sum, count) => sum + count, 0);
  const skipped = sum(ran?.skipped?.[suite]);
  const left = Object.keys(ran?.left?.[suite] ?? {}).length;
  return [
    ran?.passed[suite],
    skipped && `${skipped} skipped`,
    left && `${left} file${left === 1 ? "" : "s"} left out`,
  ]
    .filter(Boolean)
    .join(", ");
}
