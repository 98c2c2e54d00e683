// What the tests of the installed package and those in Workers use: other package managers, a registry, bundlers and runtimes. They
// are large, so they are not among our own dependencies; what is there is in __test__/installed/tools, and in __test__/bundlers/tools
// what only `npm run check:bundlers` needs.
import { cpSync, existsSync, readFileSync } from "node:fs";
import { installed } from "./setup.mjs";
import { main, step } from "./steps.mjs";

export const tools = () => install("tools of the tests", "__test__/installed/tools", ".cache/tools");

export const bundlers = () => install("bundlers", "__test__/bundlers/tools", ".cache/bundlers");

/** Installs what is pinned in a folder into another one. */
const install = (name, pinned, directory) =>
  step(name, async (run) => {
    const read = (path) => existsSync(path) && readFileSync(path, "utf8");
    const lock = "package-lock.json";
    if (read(`${pinned}/${lock}`) === read(`${directory}/${lock}`) && installed(directory))
      return "up to date";
    cpSync(pinned, directory, { recursive: true });
    await run("npm", "ci", "--prefix", directory, "--ignore-scripts", "--no-audit", "--no-fund");
  });

await main(import.meta.url, tools);
