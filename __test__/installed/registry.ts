// A registry like npm's on the loopback interface (verdaccio), with no other registry behind it: it has only packages published there.
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

/** Publishes our packages, as `npm run package` packed them, and sets a machine to install from this registry. */
export async function publish({ url }: Registry, machine: Machine): Promise<void> {
  machine.env.npm_config_registry = url;
  const settings = { ".npmrc": `${url.slice("http:".length)}:_authToken=anyone` };
  const directory = machine.folder("publish", settings);
  // A release tells the registry which build a package is from (provenance). A local registry cannot verify that.
  const put = (path: string) => machine.run(directory, "node", npm, "publish", path, "--provenance=false");
  const packed = (name: string) => join(root, `.cache/package/${name}-${version}.tgz`);
  for (const platform of readdirSync(join(root, "npm"))) {
    // A platform whose binary is not here is published without it: a package manager only needs to see that it is for another platform.
    const tarball = packed(`covara-kv-${platform}`);
    await put(existsSync(tarball) ? tarball : join(root, "npm", platform));
  }
  await put(packed("covara-kv"));
}
