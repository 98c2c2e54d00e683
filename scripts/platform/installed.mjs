// The packages as they would be published, on every platform that this machine can run. They come from a registry on the loopback interface, are
// installed as npm does on that platform, and run there.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { register } from "tsx/cjs/api";
import { target } from "../package.mjs";
import { Failure, step } from "../steps.mjs";
import { fetchRuntime, native } from "./runtime.mjs";
import { here, platforms } from "./table.mjs";

/** Of those whose binary is packed. */
const runnable = () =>
  Object.keys(platforms).filter((name) => {
    const isPacked = readdirSync(target).some(
      (file) => file.startsWith(`covara-kv-${name}-`) && file.endsWith(".tgz"),
    );
    return isPacked && (name === here() || "node" in platforms[name]);
  });

export async function rehearse() {
  register();
  const load = createRequire(import.meta.url);
  const { startRegistry, publish } = load("../../__test__/installed/registry.ts");
  const { Machine, npm, version } = load("../../__test__/installed/run.ts");
  const { startRedis } = load("../../__test__/redis-server.ts");
  const { esm, cjs } = load("../../__test__/installed/programs.ts");
  const machine = new Machine();
  const [registry, redis] = await Promise.all([startRegistry(), startRedis()]);
  try {
    await step("published to a registry of our own", () => publish(registry, machine));
    const manifest = JSON.stringify({ name: "app", private: true, dependencies: { "covara-kv": version } });
    for (const platform of runnable())
      await step(`installed: ${platform}`, async (run, log) => {
        const runtime = platform === here() ? native : await fetchRuntime(run, platform);
        const directory = machine.folder(platform, {
          "package.json": manifest,
          "app.mjs": esm,
          "app.cjs": cjs,
        });
        const [os, cpu, abi] = platform.split("-");
        const libc = os === "linux" ? [`--libc=${abi === "musl" ? "musl" : "glibc"}`] : [];
        const wanted = [`--os=${os}`, `--cpu=${cpu}`, ...libc, "--no-audit", "--no-fund"];
        await machine.run(directory, "node", npm, "install", ...wanted);
        const installed = readdirSync(`${directory}/node_modules`).filter((name) =>
          name.startsWith("covara-kv-"),
        );
        if (installed.join() !== `covara-kv-${platform}`)
          throw new Failure(`npm has installed ${installed}.`);
        for (const app of ["app.mjs", "app.cjs"])
          for (const url of [[], [`redis://${redis.host}:${redis.port}`]])
            await prints("DONE", runtime, directory, [app, ...url], log);
        return `covara-kv and ${installed}, in memory and on Redis`;
      });
  } finally {
    machine.remove();
    await Promise.all([registry.close(), redis.stop()]);
  }
}

async function prints(expected, runtime, directory, args, log) {
  const output = openSync(log, "a");
  const env = { ...process.env, ...runtime.env };
  const child = spawn(runtime.command, args, { cwd: directory, env, stdio: ["ignore", output, output] });
  const [status] = await once(child, "close");
  closeSync(output);
  const lines = readFileSync(log, "utf8").trimEnd().split("\n");
  if (status !== 0 || lines.at(-1) !== expected)
    throw new Failure(`${args.join(" ")}: ${status}\n${lines.slice(-20).join("\n")}`);
}
