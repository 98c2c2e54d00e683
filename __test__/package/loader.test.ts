// Without a binary for their platform users see only an error of the loader. It must say what is missing and what to do.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

const root = join(__dirname, "../..");

/** A folder with the installed package, without a binary. */
let directory: string;
before(() => {
  directory = mkdtempSync(join(tmpdir(), "covara-kv-package-"));
  const target = join(directory, "node_modules/covara-kv");
  mkdirSync(target, { recursive: true });
  cpSync(join(root, "dist"), join(target, "dist"), { recursive: true });
  cpSync(join(root, "package.json"), join(target, "package.json"));
});
after(() => rmSync(directory, { recursive: true, force: true }));

function run(...args: string[]) {
  return spawnSync(process.execPath, args, { cwd: directory, encoding: "utf8", timeout: 60_000 });
}

const load =
  'try { require("covara-kv") } catch ({ name, code, message }) { console.log(name, code, message) }';

test("without a binary one message names the package, the platform and the cure", () => {
  const { stdout } = run("-e", load);
  assert.match(stdout, /^KVError UNSUPPORTED The package covara-kv-[\w-]+ is not installed/);
  assert.ok(
    stdout.includes(`${process.platform}, ${process.arch}`) && stdout.includes(process.version),
    stdout,
  );
  assert.match(stdout, /npm install covara-kv-/);
});

test("a binary that cannot be loaded is told with the reason", () => {
  const name = /covara-kv-([\w-]+)/.exec(run("-e", load).stdout)?.[1];
  const package_ = join(directory, `node_modules/covara-kv-${name}`);
  mkdirSync(package_);
  writeFileSync(join(package_, "package.json"), JSON.stringify({ main: "index.node" }));
  writeFileSync(join(package_, "index.node"), "no library");
  const { stdout } = run("-e", load);
  rmSync(package_, { recursive: true });
  assert.match(
    stdout,
    /^KVError UNSUPPORTED covara-kv's binary for [\w-]+ cannot be loaded here .*index\.node/,
  );
});

test("a platform without a binary is told which have one", () => {
  const elsewhere = 'Object.defineProperty(process, "platform", { value: "sunos" });';
  const { stdout } = run("-e", elsewhere + load);
  assert.match(
    stdout,
    /^KVError UNSUPPORTED covara-kv has no binary for sunos-\w+\. It has for: linux-x64-gnu, /,
  );
});

// In a process that loads the package, crash reports must keep their section on connections.
test("what the process's reports hold stays as it was", () => {
  const show = 'JSON.stringify(Object.getOwnPropertyDescriptor(process.report, "excludeNetwork") ?? null)';
  const value = "String(process.report.excludeNetwork)";
  const fail = 'process.report.getReport = () => { throw new Error("no report") };';
  for (const before of ["", "process.report.excludeNetwork = true;", fail]) {
    const program = `${before} const shown = [${show}, ${value}].join(); ${load}
      if (shown !== [${show}, ${value}].join()) console.log("CHANGED"); else console.log("SAME");`;
    const { stdout } = run("-e", program);
    assert.match(stdout, /\nSAME\n$|^SAME\n$/, `${before}: ${stdout}`);
  }
});

test("the command line says it too, without a stack", () => {
  const { status, stderr } = run("node_modules/covara-kv/dist/cli.js", "doctor");
  assert.equal(status, 1);
  assert.match(
    stderr,
    /^covara-kv: UNSUPPORTED: The package covara-kv-[\w-]+ is not installed[^\n]*\n[^\n]+\n$/,
  );
});
