// A registry of npm's kind on the loopback interface (verdaccio), with nothing behind it: what is not published there does not exist.
import type { EventEmitter } from "node:events";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import type { AddressInfo, Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Machine, npm, root, tool, version } from "./run.js";

export interface Registry {
  readonly url: string;
  close(): Promise<void>;
}

export async function startRegistry(): Promise<Registry> {
  const directory = mkdtempSync(join(tmpdir(), "covara-kv-registry-"));
  const { runServer } = require(tool("verdaccio")) as {
    runServer(config: object): Promise<Server & EventEmitter>;
  };
  const server = await runServer({
    storage: directory,
    self_path: join(directory, "config.yaml"),
    auth: { htpasswd: { file: join(directory, "htpasswd") } },
    uplinks: {},
    packages: { "**": { access: "$all", publish: "$all" } },
    web: { enable: false },
    log: { type: "stdout", format: "pretty", level: "fatal" },
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async close() {
      server.close();
      (server as Server & { closeAllConnections(): void }).closeAllConnections();
      await once(server, "close");
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Publishes our packages, as `npm run package` has packed them, and has a machine install from there. */
export async function publish({ url }: Registry, machine: Machine): Promise<void> {
  machine.env.npm_config_registry = url;
  const settings = { ".npmrc": `${url.slice("http:".length)}:_authToken=anyone` };
  const directory = machine.folder("publish", settings);
  // Where we release, the registry is told which build a package is from. There is no such thing here.
  const put = (path: string) => machine.run(directory, "node", npm, "publish", path, "--provenance=false");
  const packed = (name: string) => join(root, `.cache/package/${name}-${version}.tgz`);
  for (const platform of readdirSync(join(root, "npm"))) {
    // A platform whose binary is not here is published without it: that it exists is all that package managers need to pass it over.
    const tarball = packed(`covara-kv-${platform}`);
    await put(existsSync(tarball) ? tarball : join(root, "npm", platform));
  }
  await put(packed("covara-kv"));
}
