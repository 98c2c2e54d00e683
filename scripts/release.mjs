// The parts of a release, for .github/workflows/release.yml and for a rehearsal at home: docs/releasing.md.
//   node scripts/release.mjs version v1.2.3    the tag is the version and on main, and CHANGELOG.md has its dated entry
//   node scripts/release.mjs rehearse          packs what is built, publishes it to a registry on the loopback interface, installs and runs it
//   node scripts/release.mjs rehearse --all    the same, and fails unless there is a binary for every platform
//   node scripts/release.mjs publish           publishes what lies in .cache/package; started again, it goes on with what is not there yet
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { missing, pack, target } from "./package.mjs";
import { fetchRust } from "./platform/fetch.mjs";
import { redisServer } from "./redis-server.mjs";
import { dependencies, typescript } from "./setup.mjs";
import { Failure, files, main, step, versionOf } from "./steps.mjs";
import { tools } from "./tools.mjs";

const { version } = JSON.parse(readFileSync("package.json", "utf8"));

/** What is wrong with a tag, by what CHANGELOG.md holds. */
export function wrongTag(tag, version, changelog) {
  if (tag !== `v${version}`) return `${tag} is not the version of package.json, ${version}.`;
  const heading = `## [${version}] – `;
  const entry = changelog.split("\n").find((line) => line.startsWith(heading));
  if (!/ \d{4}-\d\d-\d\d$/.test(entry ?? ""))
    return `CHANGELOG.md is to have an entry "${heading}" with the day of the release.`;
}

/** Whether what is checked out in a directory was merged. */
export function isOnMain(directory = ".") {
  const ancestor = ["merge-base", "--is-ancestor", "HEAD", "origin/main"];
  return spawnSync("git", ["-C", directory, ...ancestor]).status === 0;
}

function checkVersion(tag) {
  const wrong = wrongTag(tag, version, readFileSync("CHANGELOG.md", "utf8"));
  if (wrong) throw new Failure(wrong);
  if (!isOnMain()) throw new Failure(`The commit of ${tag} is not on origin/main.`);
}

async function rehearsal(option) {
  const absent = missing();
  if (option === "--all" && absent.length > 0)
    throw new Failure(`There is no binary of ${absent.join(", ")}.`);
  await dependencies();
  await typescript();
  await step("index.d.ts", (run) => run("node", "scripts/build-ts.mjs", "--check"));
  await redisServer();
  // cargo lists the crates, and a container of CI has none.
  if (!versionOf("cargo")) await step("Rust", fetchRust);
  await pack();
  await tools();
  // What is not there in a fresh clone is loaded when it is.
  const { rehearse } = await import("./platform/installed.mjs");
  await rehearse();
  await step("package managers, bundlers and runtimes", (run) =>
    run(
      "node",
      "--import",
      "tsx",
      "--test",
      ...files("__test__/installed").filter((file) => file.endsWith(".test.ts")),
    ),
  );
}

/**
 * Publishes the tarballs of a version that lie in a directory, and are not there yet. The main package is the last: whoever installs it finds the
 * others. `npm install covara-kv` is to give nobody a pre-release.
 */
export function publish(directory, version) {
  const main = `covara-kv-${version}.tgz`;
  if (!existsSync(`${directory}/${main}`)) throw new Failure(`${directory}/${main} is missing.`);
  const tarballs = readdirSync(directory).filter((name) => name.endsWith(`-${version}.tgz`));
  const tag = version.includes("-") ? ["--tag", "next"] : [];
  for (const tarball of [...tarballs.filter((name) => name !== main).sort(), main]) {
    const name = tarball.slice(0, -`-${version}.tgz`.length);
    const view = spawnSync("npm", ["view", `${name}@${version}`, "version"], { encoding: "utf8" });
    if (view.status === 0 && view.stdout.trim() === version) continue;
    const { status } = spawnSync("npm", ["publish", ...tag, resolve(directory, tarball)], {
      stdio: "inherit",
    });
    if (status !== 0) throw new Failure(`${tarball} was not published.`);
  }
}

await main(import.meta.url, async () => {
  const [what, argument] = process.argv.slice(2);
  const parts = {
    version: checkVersion,
    rehearse: rehearsal,
    publish: () => publish(target, version),
  };
  if (!(what in parts)) throw new Failure("release.mjs takes version, rehearse or publish.");
  await parts[what](argument);
});
