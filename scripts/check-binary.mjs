// Whether a binary can be released: it is for the platform of its name, asks for no newer C library than promised, and is small.
//   node scripts/check-binary.mjs covara-kv.linux-x64-gnu.node …     with --any-size first, whatever its size
import { execFileSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import { platforms } from "./platform/table.mjs";
import { Failure, main } from "./steps.mjs";

/** The glibc of Debian 10, RHEL 8 and the binaries of Node.js 18 to 24. */
const newestGlibc = [2, 28];
const largest = 4_500_000;

/** What is in a library, by its first bytes: its format and the machine it is for. */
function kindOf(file) {
  const bytes = readFileSync(file);
  if (bytes.toString("latin1", 0, 4) === "\x7fELF") return `ELF ${bytes.readUInt16LE(18)}`;
  if (bytes.readUInt32LE(0) === 0xfeedfacf) return `Mach-O ${bytes.readUInt32LE(4)}`;
  if (bytes.toString("latin1", 0, 2) === "MZ") return `PE ${bytes.readUInt16LE(bytes.readUInt32LE(60) + 4)}`;
  return "neither ELF nor Mach-O nor PE";
}

/** Their numbers for x64, arm64 and arm. */
const kinds = {
  linux: { x64: "ELF 62", arm64: "ELF 183", arm: "ELF 40" },
  darwin: { x64: "Mach-O 16777223", arm64: "Mach-O 16777228" },
  win32: { x64: `PE ${0x8664}`, arm64: `PE ${0xaa64}` },
};

/**
 * What is wrong with the C library that an ELF file asks for, by what `readelf --dynamic --version-info` prints.
 * @param {string} abi gnu, gnueabihf or musl
 * @param {string} printed
 */
export function wrongLibc(abi, printed) {
  const needed = [...printed.matchAll(/\(NEEDED\)[^[]*\[([^\]]+)\]/g)].map(([, library]) => library);
  const versions = [...printed.matchAll(/\bGLIBC_(\d+)\.(\d+)/g)].map(([, ...parts]) => parts.map(Number));
  if (abi === "musl") {
    const foreign = needed.filter(
      (library) => !/^(libc\.so|libc\.musl-\w+\.so\.1|libgcc_s\.so\.1)$/.test(library),
    );
    if (versions.length > 0) foreign.push("versions of glibc");
    return foreign.length > 0 ? `needs ${foreign.join(", ")}` : undefined;
  }
  if (!needed.includes("libc.so.6")) return "does not need glibc (libc.so.6)";
  const newer = ([major, minor]) =>
    major > newestGlibc[0] || (major === newestGlibc[0] && minor > newestGlibc[1]);
  const found = new Set(versions.filter(newer).map((version) => version.join(".")));
  return found.size > 0
    ? `needs glibc ${[...found].join(", ")}, newer than ${newestGlibc.join(".")}`
    : undefined;
}

function check(file, anySize) {
  const [, platform] = /^covara-kv\.([\w-]+)\.node$/.exec(basename(file)) ?? [];
  if (!(platform in platforms)) throw new Failure(`${file} is not named after a platform.`);
  const [os, cpu, abi] = platform.split("-");
  const fail = (what) => {
    throw new Failure(`${file} ${what}.`);
  };
  const kind = kindOf(file);
  if (kind !== kinds[os][cpu]) fail(`is ${kind}, not ${kinds[os][cpu]}`);
  const { size } = statSync(file);
  if (!anySize && size >= largest) fail(`has ${size} bytes, which is not less than ${largest}`);
  if (os === "linux") {
    const readelf = ["--wide", "--dynamic", "--version-info", file];
    const wrong = wrongLibc(abi, execFileSync("readelf", readelf, { encoding: "utf8", maxBuffer: 2 ** 26 }));
    if (wrong) fail(wrong);
  }
  console.log(`✓ ${file}: ${kind}, ${size} bytes`);
}

await main(import.meta.url, () => {
  const anySize = process.argv[2] === "--any-size";
  const files = process.argv.slice(anySize ? 3 : 2);
  if (files.length === 0) throw new Failure("Which binary?");
  for (const file of files) check(file, anySize);
});
