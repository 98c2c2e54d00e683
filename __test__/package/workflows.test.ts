// Only GitHub reads the workflows. A release that calls a file that has moved fails there, and nowhere else.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const root = join(__dirname, "../..");
const { scripts, bin, publishConfig } = require(join(root, "package.json"));
const platforms: string[] = readdirSync(join(root, "npm"));

/** Stands for every platform of a job's matrix. */
const EACH = "PLATFORM";

const workflows = readdirSync(join(root, ".github/workflows")).map((name) => {
  const read = readFileSync(join(root, ".github/workflows", name), "utf8");
  const text = read.replaceAll(/\$\{\{ matrix\.platform \}\}/g, EACH);
  return { name, text, jobs: jobsOf(text) };
});
const jobsIn = (name: string) => workflows.find((workflow) => workflow.name === name)?.jobs ?? {};
const release = jobsIn("release.yml");

/** The text of each job, by its name. */
function jobsOf(text: string): Record<string, string> {
  const [, jobs = ""] = text.split(/^jobs:\n/m);
  const jobOf = (part: string) => [/^[\w-]+/.exec(part)?.[0] ?? "", part];
  return Object.fromEntries(
    jobs
      .split(/^ {2}(?=[\w-]+:\n)/m)
      .slice(1)
      .map(jobOf),
  );
}

/** The commands of the steps, one for each line of `run`. */
const commandsOf = (text: string) =>
  [...text.matchAll(/^ +(?:- )?run: (.*)$/gm)].map(([, line]) => line as string);

/** Programs and a setting of a job's machine, which at home everyone sets up otherwise. */
const namespaces = "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0";
const ofTheMachine = ["apt-get ", namespaces];

/** The command itself, without the container that runs it. */
const started = (command: string) => command.replace(/^\$RUN \$\{\{ matrix\.\w+ \}\} /, "");

test("every action is pinned by its hash, with the version it is of", () => {
  for (const { name, text } of workflows) {
    const used = [...text.matchAll(/uses: (.*)$/gm)].map(([, action]) => action as string);
    assert.ok(used.length > 0, name);
    for (const action of used) assert.match(action, /^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/, name);
  }
});

test("a step is a command of this project, which is there", () => {
  for (const { name, text } of workflows) {
    const commands = commandsOf(text);
    assert.ok(commands.length > 0, name);
    for (const command of commands.map(started)) {
      const [program = "", what = "", ...rest] = command.split(" ");
      if (program === "npm" && what === "run")
        assert.ok(rest[0] !== undefined && rest[0] in scripts, command);
      else if (program === "npm") assert.equal(what, "test", command);
      else if (program === "node")
        assert.ok(existsSync(join(root, what)) || what === bin["covara-kv"], command);
      else if (!ofTheMachine.some((line) => command.startsWith(line)))
        assert.ok(existsSync(join(root, program)), command);
      for (const word of rest.filter((word) => /^(__test__|scripts|dist)\//.test(word)))
        assert.ok(existsSync(join(root, word)), command);
    }
    assert.doesNotMatch(text, /run: [|>]/, `${name}: a step is one command`);
  }
});

test("a release builds, checks, tests and publishes the binary of every platform", () => {
  const on = (pattern: RegExp) =>
    Object.values(release).flatMap((job) =>
      commandsOf(job)
        .map((command) => pattern.exec(started(command))?.[1])
        .filter((platform) => platform !== undefined)
        .flatMap((platform) => (platform === EACH ? matrixOf(job) : [platform])),
    );
  // The build also checks the binary, by scripts/check-binary.mjs.
  assert.deepEqual(on(/^node scripts\/platform\.mjs (.*) build$/).sort(), platforms);
  assert.deepEqual(on(/^node scripts\/platform\.mjs (.*) run$/).sort(), platforms);
  assert.ok(commandsOf(release.package ?? "").includes("node scripts/release.mjs rehearse --all"));
  assert.ok(commandsOf(release.publish ?? "").includes("node scripts/release.mjs publish"));
});

// Unless CI compiles for 32 bits, only a tagged release does.
test("CI lints for 32 bits and for Windows, which none of its jobs builds for", () => {
  const job = jobsIn("ci.yml")["lint-elsewhere"] ?? "";
  assert.ok(commandsOf(job).includes(`node scripts/platform.mjs ${EACH} lint`));
  assert.deepEqual(matrixOf(job), ["linux-arm-gnueabihf", "win32-x64-gnu"]);
});

// Ubuntu has no keyring of Debian: the job ends before it has unpacked a compiler or an emulator.
test("what fetches from Debian runs on Debian, with what it needs of Python", () => {
  const fetches =
    /^node scripts\/(release\.mjs rehearse|platform\.mjs (PLATFORM|linux-\S+) (build|lint)|platform\.mjs linux-arm-gnueabihf run)/;
  const found = workflows.flatMap(({ jobs }) =>
    Object.entries(jobs).filter(
      ([name, job]) => name !== "build-elsewhere" && commandsOf(job).some((command) => fetches.test(command)),
    ),
  );
  assert.deepEqual(
    found.map(([name]) => name),
    ["lint-elsewhere", "build-linux", "test-arm", "package"],
  );
  for (const [name, job] of found) {
    assert.match(job, /^ {4}container: node:22-bookworm$/m, name);
    const python = commandsOf(job).some((command) => /^apt-get install .*\bpython3-venv$/.test(command));
    assert.ok(python || name === "test-arm", name);
  }
});

// A checkout of depth 1 knows no commit but the last: none of a binary, and none of main.
test("a build has the history that tells its commit, and a tag's check that of main", () => {
  for (const name of ["version", "build-linux", "build-elsewhere"])
    assert.match(release[name] ?? "", /^ {10}fetch-depth: 0$/m, name);
});

// `unshare --map-root-user` is refused on GitHub's Ubuntu: the tests of the network and of a cluster's promises fail.
test("jobs with tests in network namespaces may have those", () => {
  const inNamespaces = ["__test__/faults/network.test.ts", "__test__/cluster/checker.test.ts"];
  const runs = (command: string) => {
    const [, names] = /^npm test(?: -- (.*))?$/.exec(command) ?? [];
    const isWhole = [".ci/run", "npm test"].includes(command);
    return isWhole || names?.split(" ").some((name) => inNamespaces.some((file) => file.includes(name)));
  };
  const jobs = Object.entries(jobsIn("ci.yml")).filter(([, job]) => commandsOf(job).some(runs));
  assert.deepEqual(
    jobs.map(([name]) => name),
    ["check", "node", "servers"],
  );
  for (const [name, job] of jobs) {
    const commands = commandsOf(job);
    const allowed = commands.indexOf(namespaces);
    assert.ok(allowed >= 0 && allowed < commands.findIndex(runs), name);
  }
});

// Those that measure delays fail beside others: in CI `npm test -- __test__` runs all of them on two busy processors.
test("tests that are to run alone do so when they are named, too", async () => {
  const { groupsOf } = await import(join(root, "scripts/check.mjs"));
  const [lists, network, flood] = ["conformance/lists", "faults/network", "redis/flood"].map(
    (name) => `__test__/${name}.test.ts`,
  );
  const groups = groupsOf([network, lists, flood]);
  assert.deepEqual(
    groups.map(({ atATime, tests }: { atATime: number; tests: string[] }) => [atATime, tests]),
    [
      [3, [lists]],
      [1, [network, flood]],
    ],
  );
  assert.equal(groupsOf([lists]).length, 1);
});

// The tools of tests and benchmarks and the fuzz targets keep crates and packages with known faults.
test("Dependabot proposes newer versions of everything that is locked", () => {
  const text = readFileSync(join(root, ".github/dependabot.yml"), "utf8");
  const found = [...text.matchAll(/package-ecosystem: (npm|cargo)\n {4}directory: \/(.*)$/gm)];
  const locks = { npm: "package-lock.json", cargo: "Cargo.lock" };
  const known = found.map(([, kind, directory]) => join(directory ?? "", locks[kind as "npm" | "cargo"]));
  const locked = foldersIn(root).flatMap((folder) =>
    Object.values(locks)
      .map((lock) => join(folder, lock))
      .filter((lock) => existsSync(join(root, lock))),
  );
  assert.deepEqual(known.sort(), locked.sort());
});

/** Our folders, from the repository's own, "". */
function foldersIn(directory: string): string[] {
  const folders = readdirSync(directory, { withFileTypes: true }).filter(
    (entry) => entry.isDirectory() && !/^(\.|node_modules$|target$)/.test(entry.name),
  );
  const below = folders.flatMap(({ name }) =>
    foldersIn(join(directory, name)).map((path) => join(name, path)),
  );
  return ["", ...below];
}

/** The platforms of a job's matrix. */
function matrixOf(text: string): string[] {
  const list = /^ +platform: \[(.*)\]$/m.exec(text)?.[1];
  return list?.split(", ") ?? [...text.matchAll(/\{ platform: ([\w-]+),/g)].map(([, name]) => name as string);
}

test("what one job of a release leaves, the next takes", () => {
  const names = (action: string) =>
    Object.entries(release).flatMap(([job, text]) => {
      const steps = text.split(/^ {6}- /m).filter((step) => step.includes(`actions/${action}@`));
      return steps.map((step) => `${/(?:name|pattern): (.*)$/m.exec(step)?.[1]} by ${job}`);
    });
  const uploaded = names("upload-artifact").map((line) => line.replace(/ by .*/, ""));
  for (const line of names("download-artifact")) {
    const pattern = line.replace(/ by .*/, "").replace("*", EACH);
    const known = pattern.replace("linux-arm-gnueabihf", EACH);
    assert.ok(uploaded.includes(known), line);
  }
});

const neededBy = (job: string) =>
  /^ {4}needs: \[?([\w, -]+)\]?$/m.exec(release[job] ?? "")?.[1]?.split(", ") ?? [];

// GitHub starts a job that needs no other one at once: it publishes what no test has run.
test("everything else of a release comes before publish", () => {
  const before = new Set(["publish"]);
  for (const job of before) for (const needed of neededBy(job)) before.add(needed);
  assert.deepEqual([...before].sort(), Object.keys(release).sort());
});

// Without the permission npm cannot ask GitHub for the token that signs a provenance, and npm 10 knows no trusted publishing.
test("a release is published with its provenance, by an npm that trusted publishing takes", () => {
  const publish = release.publish ?? "";
  assert.match(publish, /^ {4}permissions:\n(?: {6}.*\n)*? {6}id-token: write$/m);
  assert.match(publish, /^ {10}node-version: 24$/m);
  assert.equal(publishConfig.provenance, true);
});

// What a Mac, Windows or an ARM machine has shown is nowhere else: the job's machine is gone.
test("a test job of a release keeps its results", () => {
  const jobs = Object.entries(release).filter(([name]) => name.startsWith("test-"));
  assert.equal(jobs.length, 3);
  for (const [name, job] of jobs)
    assert.match(job, /^ {10}name: platforms\.\S+\.json\n {10}path: docs\/platforms\.json$/m, name);
});

test("started by hand a release does all but publish", () => {
  const text = workflows.find(({ name }) => name === "release.yml")?.text ?? "";
  assert.match(text, /^ {2}workflow_dispatch:$/m);
  const conditional = Object.entries(release).filter(([, job]) => /^ {4}if: /m.test(job));
  assert.deepEqual(
    conditional.map(([name]) => name),
    ["publish"],
  );
  // It can be started by hand on a tag too.
  const pushed = /^ {4}if: github\.event_name == 'push' && github\.ref_type == 'tag'$/m;
  assert.match(release.publish ?? "", pushed);
  for (const [name, job] of Object.entries(release))
    assert.equal(/NPM_TOKEN|id-token/.test(job), name === "publish", name);
});
