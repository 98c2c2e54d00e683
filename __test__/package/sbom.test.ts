// An auditor of a binary cannot know its crates, as the binary itself shows nothing of Cargo.lock.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

const root = join(__dirname, "../..");

interface Component {
  name: string;
  version: string;
  purl: string;
  licenses: { expression: string }[];
}

test("the bill of materials has each crate that is linked, with its licence, and none that only builds or tests", async () => {
  const { writeSbom } = await import(join(root, "scripts/sbom.mjs"));
  const directory = mkdtempSync(join(tmpdir(), "covara-kv-sbom-"));
  const path = join(directory, "bom.json");
  writeSbom(path);
  const { components }: { components: Component[] } = JSON.parse(readFileSync(path, "utf8"));
  rmSync(directory, { recursive: true });

  const names = components.map(({ name }) => name);
  for (const name of [
    "ring",
    "rustls",
    "libmimalloc-sys",
    "lua-src",
    "napi",
    "schannel",
    "security-framework",
  ])
    assert.ok(names.includes(name), name);
  for (const name of ["covara-kv", "cc", "proptest", "napi-build"]) assert.ok(!names.includes(name), name);
  const locked = readFileSync(join(root, "Cargo.lock"), "utf8");
  for (const { name, version, purl, licenses } of components) {
    assert.ok(locked.includes(`name = "${name}"\nversion = "${version}"\n`), purl);
    assert.match(licenses[0]?.expression ?? "", /^[\w.() +-]+$/, purl);
  }
});
