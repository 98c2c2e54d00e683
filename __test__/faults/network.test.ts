// A network that loses all packets and says nothing: no end, no reset. In a namespace of its own, by iptables.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";
import { Authority } from "../redis/certificates.js";

const authority = new Authority("covara-kv tests");
after(() => authority.remove());
const { certFile, keyFile } = authority.sign("server", "subjectAltName=IP:127.0.0.1");

// Over TLS the kernel's taking bytes counted as a sign of life: 895 of 900 calls failed over 940 s.
test("a network that drops packets is noticed, and used again once it does not", {
  skip: process.platform !== "linux" && "has no network namespaces",
  timeout: 120_000,
}, async () => {
  const program = join(__dirname, "dropped-packets.ts");
  const node = [process.execPath, "--import", "tsx", program, authority.self.certFile, certFile, keyFile];
  const { stdout } = await promisify(execFile)("unshare", ["--map-root-user", "--net", ...node]);
  const outcome = JSON.parse(stdout);
  for (const way of ["plain", "tls"]) {
    assert.match(outcome[way].commands, /has not answered anything for 1\d{3} ms/);
    assert.match(outcome[way].subscriptions, /has not answered anything for \d+ ms/);
    assert.ok(outcome[way].failed > 0 && outcome[way].slowest < 3_500, JSON.stringify(outcome));
    assert.deepEqual(outcome[way].after, ["OK", "heard", 1]);
  }
});
