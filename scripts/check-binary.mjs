// Whether a binary can be released: it is for the platform of its name, needs no library that a system may lack, and is small.
//   node scripts/check-binary.mjs covara-kv.linux-x64-gnu.node …
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { platforms } from "./platform/table.mjs";
import { Failure, main } from "./steps.mjs";

/** The glibc of Debian 10, RHEL 8 and the binaries of Node.js 18 to 26. */
const newestGlibc = [2, 28];
/**
 * In bytes. What Apple's and Microsoft's linkers make has not been measured: their bound only catches what is far too large. It also holds
 * for what zig and mingw make here.
 */
const largest = { linux: 4_550_000, darwin: 8_000_000, win32: 8_000_000 };

/** What is in a library, by its first bytes: its format and the machine it is for. */
function kindOf(bytes) {
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

/** The DLLs that a PE file of 64 bits needs, by its table of imports. */
function dllsOf(bytes) {
  const header = bytes.readUInt32LE(60);
  const optional = header + 24;
  const firstSection = optional + bytes.readUInt16LE(header + 20);
  // They are in the order of their addresses.
  const sections = Array.from({ length: bytes.readUInt16LE(header + 6) }, (_, n) => {
    const section = firstSection + 40 * n;
    return { address: bytes.readUInt32LE(section + 12), inFile: bytes.readUInt32LE(section + 20) };
  });
  /** Where in the file is what has this address once it is loaded. */
  const at = (loaded) => {
    const { address, inFile } = sections.filter(({ address }) => address <= loaded).at(-1);
    return loaded - address + inFile;
  };
  const dlls = [];
  const imports = at(bytes.readUInt32LE(optional + 120));
  const nameOf = (n) => bytes.readUInt32LE(imports + 20 * n + 12);
  for (let n = 0; nameOf(n) !== 0; n++) {
    const name = at(nameOf(n));
    dlls.push(bytes.toString("latin1", name, bytes.indexOf(0, name)));
  }
  return dlls;
}

/** What is wrong with the DLLs that a PE file needs: Windows has Visual C++'s only where something has installed them. */
export function wrongDlls(bytes) {
  const foreign = dllsOf(bytes).filter((name) => /^(vcruntime|msvcp)\d/i.test(name));
  return foreign.length > 0 ? `needs ${foreign.join(", ")}, which not every Windows has` : undefined;
}

const readelf = (file) =>
  execFileSync("readelf", ["--wide", "--dynamic", "--version-info", file], {
    encoding: "utf8",
    maxBuffer: 2 ** 26,
  });

function check(file) {
  const [, platform] = /^covara-kv\.([\w-]+)\.node$/.exec(basename(file)) ?? [];
  if (!(platform in platforms)) throw new Failure(`${file} is not named after a platform.`);
  const [os, cpu, abi] = platform.split("-");
  const fail = (what) => {
    throw new Failure(`${file} ${what}.`);
  };
  const bytes = readFileSync(file);
  const kind = kindOf(bytes);
  if (kind !== kinds[os][cpu]) fail(`is ${kind}, not ${kinds[os][cpu]}`);
  const size = bytes.length;
  if (size >= largest[os]) fail(`has ${size} bytes, which is not less than ${largest[os]}`);
  const wrong = os === "linux" ? wrongLibc(abi, readelf(file)) : os === "win32" && wrongDlls(bytes);
  if (wrong) fail(wrong);
  console.log(`✓ ${file}: ${kind}, ${size} bytes`);
}

await main(import.meta.url, () => {
  const files = process.argv.slice(2);
  if (files.length === 0) throw new Failure("Which binary?");
  for (const file of files) check(file);
});
