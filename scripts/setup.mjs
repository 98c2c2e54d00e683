// What a fresh clone lacks: dependencies, the native binary, the compiled TypeScript. `npm run setup`
import { existsSync, readFileSync } from "node:fs";
import { here } from "./platform/table.mjs";
import { Failure, main, step, unlessBuilt, versionOf } from "./steps.mjs";

export async function setup() {
  await dependencies();
  await native();
  await typescript();
}

export const dependencies = () =>
  step("dependencies", (run) => (installed() ? "up to date" : run("npm", "ci")));

/** Also has rustup fetch it, which must not be asked to twice at a time. */
export const compiler = () =>
  step("Rust", () => {
    const version = versionOf("cargo");
    if (!version) throw new Failure(noRust);
    return version;
  });

const noRust = "Rust is missing: get it from https://rustup.rs, then run this again.";

export const native = () =>
  step("native build", (run) =>
    unlessBuilt(
      `native-${process.platform}-${process.arch}`,
      ["Cargo.toml", "Cargo.lock", "build.rs", "rust-toolchain.toml", ".cargo", "src", "package-lock.json"],
      [`covara-kv.${here()}.node`, "native.d.ts"],
      () => {
        if (!versionOf("cargo")) throw new Failure(noRust);
        return run("npm", "run", "build:native");
      },
    ),
  );

export const typescript = () =>
  step("TypeScript build", (run) =>
    unlessBuilt(
      "typescript",
      ["ts", "native.d.ts", "tsconfig.json", "scripts/build-ts.mjs", "package-lock.json"],
      ["dist"],
      () => run("node", "scripts/build-ts.mjs"),
    ),
  );

/** Whether node_modules is what package-lock.json says; what only other platforms need may be absent. */
export function installed(directory = ".") {
  const installedLock = `${directory}/node_modules/.package-lock.json`;
  if (!existsSync(installedLock)) return false;
  const packages = (path) => JSON.parse(readFileSync(path, "utf8")).packages;
  const present = packages(installedLock);
  return Object.entries(packages(`${directory}/package-lock.json`)).every(
    ([path, { version, optional, devOptional }]) =>
      path === "" || (path in present ? present[path].version === version : optional || devOptional),
  );
}

await main(import.meta.url, setup);
