// A registry of npm's kind on the loopback interface (verdaccio), with nothing behind it: what is not published there does not exist.
import type { EventEmitter } from "node:events";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo, Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tool } from "./run.js";

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
