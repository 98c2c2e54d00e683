// Builds a platform's binary: with its own tools on its own system, on Debian for x64 with zig or mingw and a standard library from source.

import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { bin, cache, fetchCompiler, fetchNode } from "./fetch.mjs";
import { platforms, systemOf } from "./table.mjs";

/**
 * The standard library is built with the binary, with these of its crates too: Debian has none for most of the platforms. It cannot print
 * backtraces: without symbols they would say nothing, and they take 0.2 MB.
 */
export const cargoFlags = (...crates) => [
  "--locked",
  `-Zbuild-std=${["std", "panic_unwind", ...crates]}`,
  "-Zbuild-std-features=panic-unwind",
];

/** A panic names its file, and not the line: with one place for each file, in place of each call that may panic, the binary is smaller. */
const PLACES = "-Zlocation-detail=file";

/** Sets what cargo reads from the environment about a target: LINKER, RUNNER, RUSTFLAGS. */
export function setForCargo(target, name, value) {
  process.env[nameForCargo(target, name)] = value;
}

const nameForCargo = (target, name) => `CARGO_TARGET_${target.toUpperCase().replaceAll("-", "_")}_${name}`;

/** The flags that .cargo/config.toml has for every platform. */
const configured = /^\[target\.'cfg\(all\(\)\)'\]\nrustflags = (\[.*\])$/m;

/**
 * Sets the flags of a published binary. For musl `napi build` sets RUSTFLAGS, and cargo then ignores those of .cargo/config.toml. It adds
 * to a RUSTFLAGS that is set already: these flags.
 */
export function setFlags(platform, own = [PLACES]) {
  const { target } = platforms[platform];
  if (!platform.endsWith("-musl")) {
    const flags = process.env[nameForCargo(target, "RUSTFLAGS")];
    return setForCargo(target, "RUSTFLAGS", [flags, ...own].filter(Boolean).join(" "));
  }
  const [, list] = configured.exec(readFileSync(".cargo/config.toml", "utf8"));
  process.env.RUSTFLAGS ??= [...JSON.parse(list), ...own].join(" ");
}

/** What a build of the platform sets for cargo. `napi build` passes it on. */
export async function prepare(run, platform) {
  await fetchCompiler(run, platform);
  const system = systemOf(platform);
  const { target } = platforms[platform];
  process.env.RUSTC_BOOTSTRAP = "1";
  // Beside the other compiler's results its own would be taken for stale ones, and the other way round.
  process.env.CARGO_TARGET_DIR = `${cache}/target`;
  if (system === "darwin") prepareDarwin(target);
  if (system === "win32") await prepareWindows(run, platform, target);
}

const OWN = "its own tools";

/** What compiles C for a platform, and links. */
export function toolsFor(platform) {
  const system = systemOf(platform);
  if (system === process.platform && system !== "linux") return OWN;
  return system === "win32" ? "mingw" : "zig";
}

/** Builds covara-kv.<platform>.node. */
export async function build(run, platform) {
  const { target } = platforms[platform];
  const native = ["run", "build:native", "--", "--target", target];
  // The oldest macOS that there is for arm64, and that Node.js 18 runs on.
  process.env.MACOSX_DEPLOYMENT_TARGET = platform === "darwin-arm64" ? "11.0" : "10.15";
  const tools = toolsFor(platform);
  if (tools === OWN) {
    await run("rustup", "target", "add", target);
    return run("npm", ...native);
  }
  await prepare(run, platform);
  setFlags(platform);
  const zig = tools === "zig" ? ["--cross-compile"] : [];
  await run("npm", ...native, ...zig, "--", ...cargoFlags());
}

/** Clippy for the platform. */
export async function lint(run, platform) {
  await prepare(run, platform);
  const flags = ["--target", platforms[platform].target, ...cargoFlags()];
  // Where the standard library keeps thread-locals by a key, Clippy 1.96 takes one with `const` for one without.
  const allowed = systemOf(platform) === "win32" ? ["-A", "clippy::missing_const_for_thread_local"] : [];
  await run(cargoOf(platform), "clippy", ...flags, "--", "-D", "warnings", ...allowed);
}

/** Build scripts compile C for the platform too: with mingw, else with zig. */
export const cargoOf = (platform) => (systemOf(platform) === "win32" ? "cargo" : "cargo-zigbuild");

/** zig has the system's C library, and none of the rest that a Mac has. Node's own symbols are looked up when the binary is loaded. */
function prepareDarwin(target) {
  const sdk = `${cache}/darwin`;
  const library = (path, name) =>
    write(
      `${sdk}/${path}`,
      `--- !tapi-tbd\ntbd-version: 4\ntargets: [ x86_64-macos, arm64-macos ]\ninstall-name: '${name}'\n...\n`,
    );
  for (const name of ["Security", "CoreFoundation"])
    library(
      `${name}.framework/${name}.tbd`,
      `/System/Library/Frameworks/${name}.framework/Versions/A/${name}`,
    );
  library("lib/libiconv.tbd", "/usr/lib/libiconv.2.dylib");
  // What mimalloc asks for.
  write(
    `${sdk}/include/CommonCrypto/CommonCryptoError.h`,
    "#pragma once\n#include <stdint.h>\ntypedef int32_t CCCryptorStatus;\ntypedef CCCryptorStatus CCRNGStatus;\nenum { kCCSuccess = 0 };\n",
  );
  write(
    `${sdk}/include/CommonCrypto/CommonRandom.h`,
    "#include <stddef.h>\n#include <CommonCrypto/CommonCryptoError.h>\nCCRNGStatus CCRandomGenerateBytes(void *bytes, size_t count);\n",
  );
  // For the platform alone: build scripts are of this machine.
  process.env[`CFLAGS_${target.replaceAll("-", "_")}`] = `-I${sdk}/include`;
  setForCargo(target, "RUSTFLAGS", `-Clink-arg=-F${sdk} -Clink-arg=-L${sdk}/lib`);
}

/** An import library of what Node.js exports to addons, and mingw's own libraries linked in. */
async function prepareWindows(run, platform, target) {
  const node = await fetchNode(run, platform);
  const objdump = spawnSync(`${bin}/x86_64-w64-mingw32-objdump`, ["-p", node], {
    encoding: "utf8",
    maxBuffer: 1 << 30,
  });
  const names = objdump.stdout.match(/\b(?:napi|node_api|uv)_\w+$/gm);
  const directory = `${cache}/win32`;
  write(`${directory}/node.def`, `LIBRARY node.exe\nEXPORTS\n${[...new Set(names)].join("\n")}\n`);
  // napi-build looks for the first, the linker takes the second.
  write(`${directory}/libnode.dll`, "");
  const library = ["-d", `${directory}/node.def`, "-l", `${directory}/libnode.dll.a`];
  await run("x86_64-w64-mingw32-dlltool", ...library);
  process.env.LIBNODE_PATH = directory;
  setForCargo(target, "LINKER", "x86_64-w64-mingw32-gcc");
  setForCargo(target, "RUSTFLAGS", "-Clink-arg=-static-libgcc");
}

function write(path, text) {
  mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  writeFileSync(path, text);
}
