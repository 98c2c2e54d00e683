// An application's folder, with this package installed.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after } from "node:test";

/** The text of files, by path. */
export type Files = Record<string, string>;

export const root = join(__dirname, "../..");

const made: string[] = [];
after(() => {
  for (const directory of made) rmSync(directory, { recursive: true, force: true });
});

/** Makes the folder. It is removed after the tests of the file. */
export function application(files: Files): string {
  const directory = mkdtempSync(join(tmpdir(), "covara-kv-app-"));
  made.push(directory);
  mkdirSync(join(directory, "node_modules"));
  symlinkSync(root, join(directory, "node_modules/covara-kv"), "dir");
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), text);
  }
  return directory;
}
