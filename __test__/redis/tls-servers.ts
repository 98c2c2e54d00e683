// Servers with TLS: a Redis, and one that a test gives any certificate.
import { after, before } from "node:test";
import { createServer, type TlsOptions } from "node:tls";
import type { RedisConfig, RedisTlsConfig } from "covara-kv";
import { commandsOf } from "../fake-server.js";
import { ONE_ATTEMPT } from "../faults/faults.js";
import { startRedis } from "../redis-server.js";
import { closedPort, forward, HOST, type Listener, openPort } from "../sockets.js";
import type { Authority, Identity } from "./certificates.js";
import { SECRET } from "./servers.js";

/** A Redis with TLS on one port, and plain text on another. */
export class TlsRedis {
  port = 0;
  plainPort = 0;

  constructor(authority: Authority, server: Identity, clients: "yes" | "no") {
    let stop: (() => Promise<void>) | undefined;
    before(async () => {
      this.port = await closedPort();
      const started = await startRedis(authority.redisConfig(this.port, server, clients));
      this.plainPort = started.port;
      stop = () => started.stop();
    });
    after(() => stop?.());
  }

  /** The same server behind a port of its own, which counts connections. */
  async counting(tls: RedisTlsConfig | boolean): Promise<{ peer: Listener; redis: RedisConfig }> {
    const peer = await forward({ host: HOST, port: this.port });
    return { peer, redis: { port: peer.port, tls, password: SECRET, ...ONE_ATTEMPT } };
  }
}

/** A TLS server that completes the handshake of Redis, with any certificate: redis-server refuses some. */
export async function tlsFake({ cert, key }: Identity, options: TlsOptions = {}): Promise<Listener> {
  const replies: Record<string, string> = { PING: "+PONG\r\n", HELLO: "%0\r\n", GET: "$1\r\nv\r\n" };
  const replyTo = ([name = ""]: readonly string[]) => replies[name] ?? "+OK\r\n";
  const server = createServer({ cert, key, ...options }, (socket) => {
    socket.on("data", (chunk) => void socket.write(commandsOf(chunk).commands.map(replyTo).join("")));
    socket.on("error", () => {});
  });
  server.on("tlsClientError", () => {});
  return openPort(server);
}
