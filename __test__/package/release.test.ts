// What a release decides is seen by users alone: a package that is there cannot be published a second time.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { after, describe, test } from "node:test";

const script = () => import(join(__dirname, "../../scripts/release.mjs"));

const directory = mkdtempSync(join(tmpdir(), "covara-kv-release-"));
after(() => rmSync(directory, { recursive: true }));

describe("a tag", () => {
  const changelog = "# Changelog\n\n## [1.0.0] – 2026-12-01\n\n## [0.9.0] – unreleased\n";

  // npm gets what package.json says: the tag v1.0.1 publishes 1.0.0.
  test("is the version, of which CHANGELOG.md tells the day", async () => {
    const { wrongTag } = await script();
    assert.equal(wrongTag("v1.0.0", "1.0.0", changelog), undefined);
    assert.match(
      wrongTag("v1.0.1", "1.0.0", changelog),
      /^v1\.0\.1 is not the version of package\.json, 1\.0\.0/,
    );
    assert.match(wrongTag("1.0.0", "1.0.0", changelog), /is not the version/);
    assert.match(wrongTag("v0.9.0", "0.9.0", changelog), /with the day of the release/);
    assert.match(wrongTag("v1.0.0-beta.1", "1.0.0-beta.1", changelog), /is to have an entry/);
  });

  // A tag on a branch publishes what nobody has reviewed.
  test("is on main", async () => {
    const { isOnMain } = await script();
    const [origin, clone] = [join(directory, "origin"), join(directory, "clone")];
    const git = (...args: string[]) => execFileSync("git", args, { stdio: "pipe" });
    const commit = (where: string, message: string) => {
      const me = ["-c", "user.name=me", "-c", "user.email=me@localhost"];
      git("-C", where, ...me, "commit", "--quiet", "--allow-empty", "--message", message);
    };
    git("init", "--quiet", "--initial-branch=main", origin);
    for (const message of ["tagged", "later"]) commit(origin, message);
    git("clone", "--quiet", origin, clone);
    git("-C", clone, "checkout", "--quiet", "HEAD~1");
    assert.equal(isOnMain(clone), true);
    commit(clone, "on a branch");
    assert.equal(isOnMain(clone), false);
    assert.equal(isOnMain(origin), false, "it has no origin/main");
  });
});

describe("publish", () => {
  let runs = 0;

  /** What npm is told to publish, with a registry that has some packages already and refuses others. */
  async function published(version: string, { there = "none", refused = "none" } = {}) {
    const { publish } = await script();
    const packages = join(directory, `packages-${runs++}`);
    const [bin, told] = [join(packages, "bin"), join(packages, "told")];
    mkdirSync(bin, { recursive: true });
    for (const name of ["covara-kv", "covara-kv-linux-x64-gnu", "covara-kv-darwin-x64"])
      for (const of of [version, "0.0.1"]) writeFileSync(join(packages, `${name}-${of}.tgz`), "");
    const npm = `#!/bin/sh
case "$*" in
  "view ${there}@${version} version") echo ${version};;
  view*) exit 1;;
  *${refused}-${version}.tgz) exit 1;;
  *) echo "$*" >> '${told}';;
esac
`;
    writeFileSync(join(bin, "npm"), npm);
    chmodSync(join(bin, "npm"), 0o755);
    const before = process.env.PATH;
    process.env.PATH = [bin, before].join(delimiter);
    let error: unknown;
    try {
      publish(packages, version);
    } catch (thrown) {
      error = thrown;
    } finally {
      process.env.PATH = before;
    }
    const lines = readFileSync(told, "utf8").trim().split("\n");
    return { error, told: lines.map((line) => line.replaceAll(`${packages}/`, "")) };
  }

  // Whoever installs the main package before the others has no binary.
  test("publishes the main package last, and nothing of another version", async () => {
    assert.deepEqual(await published("1.0.0"), {
      error: undefined,
      told: [
        "publish covara-kv-darwin-x64-1.0.0.tgz",
        "publish covara-kv-linux-x64-gnu-1.0.0.tgz",
        "publish covara-kv-1.0.0.tgz",
      ],
    });
  });

  // Started again after a failure the job fails at the first package that is there, for ever.
  test("skips what is there", async () => {
    const { told } = await published("1.0.0", { there: "covara-kv-darwin-x64" });
    assert.deepEqual(told, ["publish covara-kv-linux-x64-gnu-1.0.0.tgz", "publish covara-kv-1.0.0.tgz"]);
  });

  // A version cannot be taken back: its users on that platform have none.
  test("publishes no main package without one of the others", async () => {
    const { told, error } = await published("1.0.0", { refused: "covara-kv-linux-x64-gnu" });
    assert.deepEqual(told, ["publish covara-kv-darwin-x64-1.0.0.tgz"]);
    assert.match(String(error), /covara-kv-linux-x64-gnu-1\.0\.0\.tgz was not published/);
  });

  // npm's default is `latest`: everybody who installs covara-kv gets the pre-release.
  test("gives a pre-release a tag of its own", async () => {
    const { told } = await published("1.0.0-beta.1");
    assert.equal(told.at(-1), "publish --tag next covara-kv-1.0.0-beta.1.tgz");
    assert.ok(told.every((line) => line.startsWith("publish --tag next ")));
  });
});
