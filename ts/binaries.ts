import type { Platform } from "./platforms.js";

/** Gets the error of a place without the binary. Throws any other error. */
export type Absent = (error: unknown) => void;

/**
 * The binary of each platform: in a clone beside the package, else in a package of its own, which npm installs by platform. The
 * names are literal, each in its own `try`: so bundlers that copy binaries find it, and skip those that are not installed.
 */
const binaries: Record<Platform, (absent: Absent) => unknown> = {
  "linux-x64-gnu": (absent) => {
    try {
      return require("../covara-kv.linux-x64-gnu.node");
    } catch (error) {
      absent(error);
    }
    try {
      return require("covara-kv-linux-x64-gnu");
    } catch (error) {
      absent(error);
    }
  },
  "linux-x64-musl": (absent) => {
    try {
      return require("../covara-kv.linux-x64-musl.node");
    } catch (error) {
      absent(error);
    }
    try {
      return require("covara-kv-linux-x64-musl");
    } catch (error) {
      absent(error);
    }
  },
  "linux-arm64-gnu": (absent) => {
    try {
      return require("../covara-kv.linux-arm64-gnu.node");
    } catch (error) {
      absent(error);
    }
    try {
      return require("covara-kv-linux-arm64-gnu");
    } catch (error) {
      absent(error);
    }
  },
  "linux-arm64-musl": (absent) => {
    try {
      return require("../covara-kv.linux-arm64-musl.node");
    } catch (error) {
      absent(error);
    }
    try {
      return require("covara-kv-linux-arm64-musl");
    } catch (error) {
      absent(error);
    }
  },
  "linux-arm-gnueabihf": (absent) => {
    try {
      return require("../covara-kv.linux-arm-gnueabihf.node");
    } catch (error) {
      absent(error);
    }
    try {
      return require("covara-kv-linux-arm-gnueabihf");
    } catch (error) {
      absent(error);
    }
  },
  "darwin-x64": (absent) => {
    try {
      return require("../covara-kv.darwin-x64.node");
    } catch (error) {
      absent(error);
    }
    try {
      return require("covara-kv-darwin-x64");
    } catch (error) {
      absent(error);
    }
  },
  "darwin-arm64": (absent) => {
    try {
      return require("../covara-kv.darwin-arm64.node");
    } catch (error) {
      absent(error);
    }
    try {
      return require("covara-kv-darwin-arm64");
    } catch (error) {
      absent(error);
    }
  },
  "win32-x64-msvc": (absent) => {
    try {
      return require("../covara-kv.win32-x64-msvc.node");
    } catch (error) {
      absent(error);
    }
    try {
      return require("covara-kv-win32-x64-msvc");
    } catch (error) {
      absent(error);
    }
  },
  "win32-arm64-msvc": (absent) => {
    try {
      return require("../covara-kv.win32-arm64-msvc.node");
    } catch (error) {
      absent(error);
    }
    try {
      return require("covara-kv-win32-arm64-msvc");
    } catch (error) {
      absent(error);
    }
  },
};

/** The binary of a platform. Undefined if it is missing. */
export function findBinary(platform: Platform, absent: Absent): unknown {
  return binaries[platform](absent);
}

/** What to do if the binary is missing. `here` describes this process. */
export function remedy(platform: Platform, here: string): string {
  return [
    `The package covara-kv-${platform} is not installed: it holds covara-kv's binary for this platform (${here}).`,
    "npm leaves optional dependencies out if it was called with --omit=optional, if node_modules was copied from another platform,",
    "or by a bug of its own when package-lock.json was made on another one (https://github.com/npm/cli/issues/4828): then remove",
    `node_modules and package-lock.json and install again, or add it by itself: npm install covara-kv-${platform}`,
  ].join(" ");
}
