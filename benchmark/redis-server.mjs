// A redis-server for a benchmark, on a free port of the loopback interface, without anything on disk.
import { spawn } from "node:child_process";
import { createServer } from "node:net";

export async function startRedis() {
  const port = await freePort();
  const server = spawn("redis-server", ["--port", `${port}`, "--bind", "127.0.0.1", "--save", ""]);
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.stdout.on("data", (output) => String(output).includes("Ready to accept") && resolve(undefined));
  });
  return { port, stop: () => server.kill() };
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  await new Promise((resolve) => server.close(resolve));
  return port;
}
