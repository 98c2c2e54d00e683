// How Node.js is started on a platform: by itself on its own, else by QEMU, musl's loader or Wine.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { bin, cache, fetchEmulator, fetchMingw, fetchNode, host, libraries, rootOf, wrap } from "./fetch.mjs";
import { platforms, systemOf } from "./table.mjs";

/** The machine's own Node.js. */
export const native = {
  name: "natively",
  command: process.execPath,
  env: {},
  args: [],
  isEmulated: false,
  leavesOut: "",
  close() {},
};

/**
 * `command` starts Node.js, with `env`, `args` before the tests' own; `name` tells what runs it; `close` ends what it left
 * running. `leavesOut` is why `args` leave tests out.
 */
export async function fetchRuntime(run, platform) {
  const node = await fetchNode(run, platform);
  const { name, words, close, env: ofRunner } = await fetchRunner(run, platform);
  // It starts its children as it was by itself.
  if (systemOf(platform) === "win32")
    return {
      name,
      command: wrap("node-win32", [...words, node], ofRunner),
      env: {},
      args: notUnderWine,
      isEmulated: true,
      leavesOut: "wineserver keeps a socket of a process that ended while it connected",
      close,
    };
  const isMusl = platform.endsWith("-musl");
  if (isMusl) words.push(...muslLoader(platform, node));
  const command = wrap(`node-${platform}`, [...words, node], ofRunner);
  const env = {
    NODE_OPTIONS: `--require=${resolve("scripts/platform/exec-path.cjs")}`,
    COVARA_KV_NODE: command,
  };
  const isEmulated = platforms[platform].emulator !== undefined;
  const names = [name, isMusl && "musl 1.2.5"].filter(Boolean).join(", ");
  return { name: names, command, env, args: [], isEmulated, leavesOut: "", close };
}

/**
 * wineserver keeps a socket of a process that has ended while it connected: the tests that follow find it at the server. A test runs if its
 * parent's name matches, and `<root>` is that of all: the pattern has left out nothing while it matched that.
 */
const notUnderWine = ["--test-name-pattern=/^(?!process.exit ends a process|<root>)/"];

/** `words`, with `env`, before a program of the platform run it here: none where this machine does by itself. */
export async function fetchRunner(run, platform) {
  if (systemOf(platform) === "win32") return fetchWine(run);
  const { emulator } = platforms[platform];
  await fetchEmulator(run, platform);
  if (!emulator) return { name: "", words: [], env: {}, close() {} };
  const words = [`${host}/usr/bin/${emulator}`, "-L", rootOf(platform)];
  return { name: "QEMU 7.2", words, env: {}, close() {} };
}

/** musl's C library is its loader, which PyPI's Node.js asks for by an absolute path. */
function muslLoader(platform, node) {
  const cpu = { x64: "x86_64", arm64: "aarch64" }[platform.split("-")[1]];
  const wheel = resolve(dirname(node), "../..");
  const libraries = readdirSync(wheel).find((name) => name.endsWith(".libs"));
  return [`${rootOf(platform)}/usr/lib/${cpu}-linux-musl/libc.so`, "--library-path", `${wheel}/${libraries}`];
}

/** Wine is not installed where it was built for: it is told where its parts are. */
async function fetchWine(run) {
  await fetchEmulator(run, "win32-x64-gnu");
  const wine = `${host}/usr/lib/wine`;
  // Debian's is a script that looks in /usr/lib.
  rmSync(`${wine}/wineserver`);
  symlinkSync("wineserver64", `${wine}/wineserver`);
  const stubs = `${cache}/win32`;
  await stubRandom(run, stubs);
  const env = {
    LD_LIBRARY_PATH: libraries,
    WINEPREFIX: `${cache}/wine`,
    WINEDEBUG: "-all",
    WINEPATH: [`${host}/usr/x86_64-w64-mingw32/lib`, stubs]
      .map((path) => `Z:${path.replaceAll("/", "\\")}`)
      .join(";"),
    // Wine 8 says it is Windows 7.
    NODE_SKIP_PLATFORM_CHECK: "1",
  };
  if (!existsSync(env.WINEPREFIX)) await run(wrap("wineboot", [`${wine}/wine64`, "wineboot", "--init"], env));
  const close = () => spawnSync(`${wine}/wineserver`, ["--kill"], { env: { ...process.env, ...env } });
  return { name: "Wine 8.0", words: [`${wine}/wine64`], env, close };
}

/** Rust's standard library asks bcryptprimitives.dll for random bytes, which Wine 8 lacks. */
async function stubRandom(run, directory) {
  mkdirSync(directory, { recursive: true });
  const source = `${directory}/bcryptprimitives.c`;
  writeFileSync(
    source,
    `#include <windows.h>
#include <ntsecapi.h>
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T length) { return RtlGenRandom(bytes, length); }
`,
  );
  const output = `${directory}/bcryptprimitives.dll`;
  await fetchMingw(run);
  await run(`${bin}/x86_64-w64-mingw32-gcc`, "-shared", "-static-libgcc", "-o", output, source, "-ladvapi32");
}
