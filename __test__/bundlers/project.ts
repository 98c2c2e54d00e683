// A project with the package installed from its tarballs, and folders that hold only a bundle.
import { cpSync } from "node:fs";
import { join } from "node:path";
import { platformName } from "../../ts/loader.js";
import { type Machine, npm, root, version } from "../installed/run.js";

/** Why tests are skipped whose tools only `npm run check:bundlers` installs; there they run. */
export const unlessAll =
  process.env.BUNDLERS !== "all" && "takes minutes and other tools: npm run check:bundlers runs it";

/** The path of a package of these tools. */
export const bundler = (path: string) => join(root, ".cache/bundlers/node_modules", path);

/** The package of this platform, and the binary in it. */
export const platformPackage = `covara-kv-${platformName()}`;
export const binary = `covara-kv.${platformName()}.node`;

const tarball = (name: string) => join(root, `.cache/package/${name}-${version}.tgz`);

/** Installs all packages of ours, or some, into a folder. */
export async function install(
  machine: Machine,
  directory: string,
  names = ["covara-kv", platformPackage],
): Promise<void> {
  // The packages of other platforms are optional, and no registry here has them.
  const options = ["--offline", "--omit=optional", "--no-audit", "--no-fund", "--no-package-lock"];
  await machine.run(directory, "node", npm, "install", ...options, ...names.map(tarball));
}

/** A copy of a bundle in a folder of its own, in which nothing is installed. */
export function moved(machine: Machine, output: string, name: string): string {
  const directory = machine.folder(name);
  cpSync(output, directory, { recursive: true });
  return directory;
}
