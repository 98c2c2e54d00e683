// Runs programs as on a machine that has Node.js and nothing else: no compiler, and no file of this repository.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

export const root = join(__dirname, "../..");

/** The version of our packages. */
export const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** The path of a package, or of its file, that scripts/tools.mjs has installed. */
export const tool = (path: string) => join(root, ".cache/tools/node_modules", path);

export const npm = tool("npm/bin/npm-cli.js");

/** Folders of one test file, with a home directory, and a PATH that has only `node`. */
export class Machine {
  readonly #directory = mkdtempSync(join(tmpdir(), "covara-kv-machine-"));
  readonly env: Record<string, string>;

  constructor() {
    const bin = join(this.#directory, "bin");
    mkdirSync(bin);
    symlinkSync(process.execPath, join(bin, "node"));
    this.env = { PATH: bin, HOME: this.folder("home"), TMPDIR: this.folder("tmp") };
  }

  folder(name: string, files: Record<string, string> = {}): string {
    const directory = join(this.#directory, name);
    mkdirSync(directory, { recursive: true });
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(dirname(join(directory, file)), { recursive: true });
      writeFileSync(join(directory, file), text);
    }
    return directory;
  }

  /** Resolves to the output of the command. Rejects with all its output if it fails. */
  run(directory: string, command: string, ...args: string[]): Promise<string> {
    const options = { cwd: directory, env: this.env, timeout: 120_000 };
    return new Promise((resolve, reject) => {
      execFile(command, args, options, (error, stdout, stderr) => {
        if (error === null) return resolve(stdout);
        reject(new Error(`${error.message}\n${stdout}\n${stderr}`, { cause: error }));
      });
    });
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
