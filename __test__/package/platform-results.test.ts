// What scripts/platform.mjs records of a run, which docs/platforms.json and the table of README.md show.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { pathToFileURL } from "node:url";

const script = (name: string) => import(join(__dirname, "../../scripts/platform", name));

describe("the commit of a binary", () => {
  /** The result for a repository whose last commit does not change the source, and for a clone without its history. */
  async function commits(environment: Record<string, string>) {
    const { source } = await script("results.mjs");
    const directory = mkdtempSync(join(tmpdir(), "covara-kv-source-"));
    const [repository, shallow] = [join(directory, "repository"), join(directory, "shallow")];
    const git = (...args: string[]) => execFileSync("git", args, { encoding: "utf8", stdio: "pipe" }).trim();
    const me = ["-c", "user.name=me", "-c", "user.email=me@localhost"];
    try {
      git("init", "--quiet", repository);
      for (const folder of ["src", "docs"]) {
        mkdirSync(join(repository, folder));
        writeFileSync(join(repository, folder, "file"), folder);
        git("-C", repository, "add", folder);
        git("-C", repository, ...me, "commit", "--quiet", "--message", folder);
      }
      git("clone", "--quiet", "--depth=1", pathToFileURL(repository).href, shallow);
      const expected = git("-C", repository, "rev-parse", "--short", "HEAD~1");
      Object.assign(process.env, environment);
      return { expected, found: source(repository), ofShallow: source(shallow), ofNone: source(directory) };
    } finally {
      for (const name of Object.keys(environment)) delete process.env[name];
      rmSync(directory, { recursive: true });
    }
  }

  // A container's checkout is of another user than git: git ends with 128, and the build fails after all its work.
  test("is found in a checkout of another user", async () => {
    const { expected, found } = await commits({ GIT_TEST_ASSUME_DIFFERENT_OWNER: "1" });
    assert.equal(found, expected);
  });

  // A checkout of depth 1 says of every file that the last commit changed it. Without git the build would fail.
  test("is not given where git cannot tell", async () => {
    const { ofShallow, ofNone } = await commits({});
    assert.deepEqual([ofShallow, ofNone], [undefined, undefined]);
  });
});

// A run of an old binary stands in a row with the commit of a new one, as if that had passed.
test("the table says which binary ran, when the Rust tests did, and what was not run", async () => {
  const { tableOf } = await script("results.mjs");
  const known = {
    built: "2026-11-29",
    tools: "zig",
    commit: "bbbbbbb",
    sha256: "b".repeat(64),
    bytes: 4_400_000,
    rust: { date: "2026-11-27", on: "Wine 8.0", passed: 194 },
    ran: {
      date: "2026-11-28",
      sha256: "a".repeat(64),
      on: "natively",
      node: "20.20.2",
      passed: { memory: 160, Redis: 300 },
      skipped: { Redis: { "has no openssl": 2, "has no ulimit": 1 } },
      left: { Redis: { "tls.test.ts": "has no openssl" } },
    },
  };
  const row = (changed: object) =>
    tableOf(JSON.stringify({ "linux-x64-gnu": { ...known, ran: { ...known.ran, ...changed } } }))
      .split("\n")
      .find((line: string) => line.includes("`linux-x64-gnu`"));
  const by = "natively, Node.js 20.20.2, 2026-11-28";
  assert.ok(
    row({}).includes(`| 2026-11-29 of bbbbbbb by zig, 4.40 MB | ${by} of a binary aaaaaaa… |`),
    row({}),
  );
  assert.ok(row({ commit: "aaaaaaa" }).includes(`| ${by} of aaaaaaa |`));
  const tests = "| 160 | 300, 3 skipped, 1 file left out |  | 194, Wine 8.0, 2026-11-27 |";
  assert.ok(row({}).endsWith(tests), row({}));
});

test("runs of single suites add up, if they are of one binary and day", async () => {
  const { both } = await script("results.mjs");
  const of = { date: "2026-11-29", sha256: "a", on: "natively", node: "20.20.2" };
  const before = { ...of, passed: { memory: 1, Redis: 2 }, skipped: { memory: { slow: 1 } } };
  const ran = { ...of, passed: { memory: 3 }, left: { memory: { "a.test.ts": "slow" } } };
  assert.deepEqual(both(before, ran), { ...ran, passed: { memory: 3, Redis: 2 } });
  assert.deepEqual(both({ ...before, sha256: "b" }, ran), ran);
  assert.deepEqual(both(undefined, ran), ran);
});

// Under QEMU all suites take longer than CI's job may: the job is ended, and nothing is released.
test("an emulator runs what was seen to pass there, unless a suite is named", async () => {
  const { chosen } = await script("run.mjs");
  const running = (only: string | undefined, place: object) =>
    chosen(only, place).flatMap(([name, why]: [string, string?]) => (why === undefined ? [name] : []));
  const seen = ["conformance, memory", "conformance, Redis", "threads terminated"];
  const others = ["memory", "Redis", "Sentinel and Cluster"];
  assert.deepEqual(running(undefined, { isEmulated: true, hasRedis: true }), seen);
  assert.deepEqual(running("memory", { isEmulated: true, hasRedis: true }), ["memory"]);
  assert.deepEqual(running(undefined, { isEmulated: false, hasRedis: true }), [...seen, ...others]);
  const withoutRedis = ["conformance, memory", "threads terminated", "memory"];
  assert.deepEqual(running(undefined, { isEmulated: false, hasRedis: false }), withoutRedis);
});

test("skipped tests are counted with their reasons", async () => {
  const { skippedIn } = await script("run.mjs");
  const tap = "ok 1 - a\n    ok 1 - b # SKIP has no openssl\n    ok 2 - c # SKIP\nnot ok 3 - d # TODO\n";
  assert.deepEqual(skippedIn(tap), ["has no openssl", "no reason given"]);
});
