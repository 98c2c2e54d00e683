// A binary that needs a newer system than we promise reaches users unless the check refuses it. The binary built here is no test case: on a
// newer system it is refused too.
import assert from "node:assert/strict";
import { test } from "node:test";
import { wrongDlls, wrongLibc } from "../../scripts/check-binary.mjs";

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

/** A PE file for x64 that imports from these DLLs, with a section before that of the imports. */
function importing(...dlls) {
  const [address, inFile] = [0x3000, 0x400];
  const file = Buffer.alloc(0x800);
  const header = 0x80;
  const optional = header + 24;
  file.writeUInt32LE(header, 60);
  file.write("PE\0\0", header, "latin1");
  file.writeUInt16LE(2, header + 6);
  file.writeUInt16LE(240, header + 20);
  file.writeUInt32LE(address, optional + 120);
  const section = (n, address, inFile) => {
    file.writeUInt32LE(address, optional + 240 + 40 * n + 12);
    file.writeUInt32LE(inFile, optional + 240 + 40 * n + 20);
  };
  section(0, 0x1000, 0x200);
  section(1, address, inFile);
  let name = 20 * (dlls.length + 1);
  for (const [n, dll] of dlls.entries()) {
    file.writeUInt32LE(address + name, inFile + 20 * n + 12);
    name += file.write(`${dll}\0`, inFile + name, "latin1");
  }
  return file;
}

// On a Windows without Visual C++'s libraries `require` fails: "The specified module could not be found."
test("a binary for Windows needs no library of Visual C++", () => {
  assert.equal(
    wrongDlls(importing("KERNEL32.dll", "api-ms-win-core-synch-l1-2-0.dll", "msvcrt.dll")),
    undefined,
  );
  assert.equal(
    wrongDlls(importing("KERNEL32.dll", "VCRUNTIME140.dll", "msvcp140.dll", "ws2_32.dll")),
    "needs VCRUNTIME140.dll, msvcp140.dll, which not every Windows has",
  );
});
