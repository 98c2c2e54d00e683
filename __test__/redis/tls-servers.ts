// Servers with TLS: a Redis, and one that a test gives any certificate.
import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import { after, before } from "node:test";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import type { RedisConfig, RedisTlsConfig } from "covara-kv";
import { commandsOf } from "../fake-server.js";
import { ONE_ATTEMPT } from "../faults/faults.js";
import { startRedis } from "../redis-server.js";
import type { Authority, Identity } from "./certificates.js";
import { closedPort, forward, HOST, type Peer, SECRET } from "./servers.js";

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
  async counting(tls: RedisTlsConfig | boolean): Promise<{ peer: Peer; redis: RedisConfig }> {
    const peer = await forward({ host: HOST, port: this.port }, { host: HOST });
    return { peer, redis: { port: peer.port, tls, password: SECRET, ...ONE_ATTEMPT } };
  }
}

/** A TLS server that completes the handshake of Redis, with any certificate: redis-server refuses some. */
export async function tlsFake(
  { cert, key }: Identity,
  options: TlsOptions = {},
): Promise<AsyncDisposable & { port: number }> {
  const sockets = new Set<Socket>();
  const replies: Record<string, string> = { PING: "+PONG\r\n", HELLO: "%0\r\n", GET: "$1\r\nv\r\n" };
  const replyTo = ([name = ""]: readonly string[]) => replies[name] ?? "+OK\r\n";
  const fake = createTlsServer({ cert, key, ...options }, (socket) => {
    socket.on("data", (chunk) => void socket.write(commandsOf(chunk).commands.map(replyTo).join("")));
    socket.on("error", () => {});
  });
  fake.on("connection", (socket: Socket) => sockets.add(socket));
  fake.on("tlsClientError", () => {});
  fake.listen(0, HOST);
  await once(fake, "listening");
  return {
    port: (fake.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      fake.close();
      await once(fake, "close");
    },
  };
}
