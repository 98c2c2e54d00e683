// Redis for tests under Wine, which cannot start a program of Linux: this process starts it, and is asked to over HTTP.
import { once } from "node:events";
import { createServer } from "node:http";

/** `startRedis` and `freePort` are those of the tests. Gives where to ask: redis-client.cjs does. */
export async function serveRedis({ startRedis, freePort }) {
  const servers = [];
  /** What may be asked, by the method's name. */
  const methods = {
    async start({ config, args }) {
      const server = await startRedis(config, ...args);
      return { id: servers.push(server) - 1, host: server.host, port: server.port };
    },
    async port() {
      return { port: await freePort() };
    },
    async call({ id, method }) {
      await servers[id][method]();
      return {};
    },
  };
  const http = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    try {
      const argument = JSON.parse(Buffer.concat(chunks).toString());
      response.end(JSON.stringify(await methods[request.url.slice(1)](argument)));
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (http.address());
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      http.close();
      http.closeAllConnections();
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}
