// A network that drops all packets gives no error, and a name with many addresses many connections. Both need a namespace, with iptables
// and a hosts file.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";
import { Authority } from "../redis/certificates.js";

const authority = new Authority("covara-kv tests");
after(() => authority.remove());
const { certFile, keyFile } = authority.sign("server", "subjectAltName=IP:127.0.0.1");

// Over TLS, bytes that the kernel takes must not count as a sign of life. Otherwise 895 of 900 calls fail in 940 s.
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

// An attempt that opens a connection to each address, and drops all but one, shows the server 8 clients for each store.
test("one connection is opened to a name with eight addresses, the next one after 250 ms or when one refuses", {
  skip: process.platform !== "linux" && "has no network namespaces",
  timeout: 60_000,
}, async () => {
  const directory = mkdtempSync(join(tmpdir(), "covara-kv-hosts-"));
  const hosts = join(directory, "hosts");
  writeFileSync(hosts, [1, 2, 3, 4, 5, 6, 7, 8].map((last) => `127.0.0.${last} eight.test\n`).join(""));
  try {
    const inside = 'mount --bind "$0" /etc/hosts && exec "$@"';
    const node = [process.execPath, "--import", "tsx", join(__dirname, "many-addresses.ts")];
    const arguments_ = ["--map-root-user", "--net", "--mount", "sh", "-c", inside, hosts, ...node];
    const { stdout } = await promisify(execFile)("unshare", arguments_);
    const { addresses, all, twoSilent, threeRefuse } = JSON.parse(stdout);
    assert.equal(addresses, 8);
    assert.deepEqual([all.connections, twoSilent.connections, threeRefuse.connections], [1, 1, 1], stdout);
    assert.ok(all.time < 250, stdout);
    for (const { time } of [twoSilent, threeRefuse]) {
      // Two silent addresses cost 250 ms each. One that refuses costs nothing: five waits would be too many.
      assert.ok(time >= 500 && time < 1_000, stdout);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
