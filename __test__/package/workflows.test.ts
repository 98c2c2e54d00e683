// Only GitHub reads the workflows. A release that calls a file that has moved fails there, and nowhere else.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const root = join(__dirname, "../..");
const { scripts, bin } = require(join(root, "package.json"));
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
      else if (program !== "apt-get") assert.ok(existsSync(join(root, program)), command);
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
  for (const [name, job] of Object.entries(release))
    for (const needed of /needs: \[?([\w, -]+)\]?$/m.exec(job)?.[1]?.split(", ") ?? [])
      assert.ok(needed in release, `${name} needs ${needed}`);
});

test("started by hand a release does all but publish", () => {
  const text = workflows.find(({ name }) => name === "release.yml")?.text ?? "";
  assert.match(text, /^ {2}workflow_dispatch:$/m);
  const conditional = Object.entries(release).filter(([, job]) => /^ {4}if: /m.test(job));
  assert.deepEqual(
    conditional.map(([name]) => name),
    ["publish"],
  );
  assert.match(release.publish ?? "", /^ {4}if: github\.ref_type == 'tag'$/m);
  for (const [name, job] of Object.entries(release))
    assert.equal(/NPM_TOKEN|id-token/.test(job), name === "publish", name);
});
