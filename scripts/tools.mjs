// What the tests of the installed package and those in Workers use: other package managers, a registry, bundlers and runtimes. They
// are large, so they are not among our own dependencies; what is there is in __test__/installed/tools.
import { cpSync, existsSync, readFileSync } from "node:fs";
import { installed } from "./setup.mjs";
import { main, step } from "./steps.mjs";

const pinned = "__test__/installed/tools";
const directory = ".cache/tools";

export const tools = () =>
  step("tools of the tests", async (run) => {
    const read = (path) => existsSync(path) && readFileSync(path, "utf8");
    const lock = "package-lock.json";
    if (read(`${pinned}/${lock}`) === read(`${directory}/${lock}`) && installed(directory))
      return "up to date";
    cpSync(pinned, directory, { recursive: true });
    await run("npm", "ci", "--prefix", directory, "--ignore-scripts", "--no-audit", "--no-fund");
  });

await main(import.meta.url, tools);
