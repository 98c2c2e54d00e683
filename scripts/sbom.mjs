// What the binaries are made of, as CycloneDX: the crates that are linked on any platform, with their licences. The JavaScript has no dependencies.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

/** @param {string} path of the file to write */
export function writeSbom(path) {
  const { name, version, license } = JSON.parse(readFileSync("package.json", "utf8"));
  const bom = {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: { component: component("npm", "library", name, version, license) },
    components: linked().map((crate) => component("cargo", "library", ...crate)),
  };
  writeFileSync(path, `${JSON.stringify(bom, undefined, 2)}\n`);
}

const component = (registry, type, name, version, license) => ({
  type,
  name,
  version,
  licenses: [{ expression: license.replaceAll("/", " OR ") }],
  purl: `pkg:${registry}/${name}@${version}`,
});

/** Name, version and licence of each crate, in order. What only builds is not linked, but for the source of Lua. */
function linked() {
  const tree = (edges) =>
    execFileSync(
      "cargo",
      [
        "tree",
        "--locked",
        `--edges=${edges}`,
        "--target=all",
        "--prefix=none",
        "--no-dedupe",
        "--format={p}\t{l}",
      ],
      { encoding: "utf8" },
    )
      .trim()
      .split("\n");
  const sourceOfLua = tree("build,normal").filter((line) => line.startsWith("lua-src "));
  // The first is our own.
  const lines = new Set([...tree("normal").slice(1), ...sourceOfLua]);
  return [...lines].sort().map((line) => {
    const [, name, version, license] = /^(\S+) v(\S+?)(?: \(.*\))?\t(.*)$/.exec(line);
    return [name, version, license];
  });
}
