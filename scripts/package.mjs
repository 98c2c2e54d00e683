// The packages as they are published, in `.cache/package`: the main one, and one for each binary that is here.
// npm run package
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { writeSbom } from "./sbom.mjs";
import { Failure, main, step } from "./steps.mjs";

/** Where the packages lie. */
export const target = ".cache/package";
const platforms = readdirSync("npm");
/** What the binaries are made of: each package of a binary has it. */
const sbom = `${target}/covara-kv.cdx.json`;

export const pack = () =>
  step("packages", async (run) => {
    rmSync(target, { recursive: true, force: true });
    stageMain();
    writeSbom(sbom);
    const present = platforms.filter(stagePlatform);
    for (const name of ["", ...present.map((platform) => `-${platform}`)]) {
      await run("npm", "pack", `./${target}/covara-kv${name}`, "--pack-destination", target);
    }
    return `with the binaries of ${present.join(", ")}`;
  });

/**
 * The main package depends on the exact version of each platform's package. That is added here: with it in the repository's own
 * package.json `npm ci` would ask the registry for packages that are not there. They are missing before the first release, and
 * between the commit that raises the version and its release. The repository's is `private`, so that nobody publishes it as it is.
 */
function stageMain() {
  const manifest = JSON.parse(readFileSync("package.json", "utf8"));
  for (const ours of ["private", "napi", "scripts", "devDependencies"]) delete manifest[ours];
  manifest.optionalDependencies = Object.fromEntries(
    platforms.map((platform) => [`covara-kv-${platform}`, manifest.version]),
  );
  const listed = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
    encoding: "utf8",
    stdio: "pipe",
    shell: process.platform === "win32",
  });
  for (const { path } of JSON.parse(listed)[0].files) cpSync(path, `${target}/covara-kv/${path}`);
  writeFileSync(`${target}/covara-kv/package.json`, `${JSON.stringify(manifest, undefined, 2)}\n`);
}

const binaryOf = (platform) => `covara-kv.${platform}.node`;

/** Whether there is a binary for the platform. */
function stagePlatform(platform) {
  const binary = binaryOf(platform);
  if (!existsSync(binary)) return false;
  const directory = `${target}/covara-kv-${platform}`;
  cpSync(`npm/${platform}`, directory, { recursive: true });
  for (const file of [binary, "LICENSE", sbom]) cpSync(file, `${directory}/${basename(file)}`);
  return true;
}

/** The platforms without a binary. */
export const missing = () => platforms.filter((platform) => !existsSync(binaryOf(platform)));

await main(import.meta.url, async () => {
  if (!existsSync("dist")) throw new Failure("There is no dist yet: run `npm run setup` first.");
  await pack();
});
