// A binary that needs a newer system than we promise reaches users unless the check refuses it. The binary built here is no test case: on a
// newer system it is refused too.
import assert from "node:assert/strict";
import { test } from "node:test";
import { wrongLibc } from "../../scripts/check-binary.mjs";

const needed = (...libraries) =>
  libraries.map((name) => ` 0x0000000000000001 (NEEDED)   Shared library: [${name}]\n`).join("");
const version = (name) => `  0x0010:   Name: ${name}  Flags: none  Version: 2\n`;

test("glibc up to 2.28 is what a binary may need", () => {
  const libraries = needed("libgcc_s.so.1", "libm.so.6", "libc.so.6");
  const old = libraries + version("GCC_4.2.0") + version("GLIBC_2.2.5") + version("GLIBC_2.28");
  assert.equal(wrongLibc("gnu", old), undefined);
  assert.equal(wrongLibc("gnueabihf", old + version("GLIBC_2.34")), "needs glibc 2.34, newer than 2.28");
});

test("a binary for one C library does not need the other", () => {
  const musl = needed("libgcc_s.so.1", "libc.so");
  assert.equal(wrongLibc("musl", musl), undefined);
  assert.equal(wrongLibc("gnu", musl), "does not need glibc (libc.so.6)");
  assert.equal(
    wrongLibc("musl", needed("libc.so.6") + version("GLIBC_2.17")),
    "needs libc.so.6, versions of glibc",
  );
});
