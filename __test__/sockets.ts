// Servers on the loopback interface that speak no protocol of their own.
import { once } from "node:events";
import {
  type AddressInfo,
  connect,
  createServer,
  type ListenOptions,
  type Server,
  type Socket,
} from "node:net";

export const HOST = "127.0.0.1";

/** An open port. Closing it closes its connections too. */
export interface Listener extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  readonly endpoint: string;
  /** The number of connections so far. */
  readonly connections: number;
  /** Sends the same text on every connection. */
  write(text: string): void;
}

/** Opens a port of a server, which may be one of node:tls. */
export async function openPort(server: Server, options?: ListenOptions): Promise<Listener> {
  const sockets = new Set<Socket>();
  let connections = 0;
  server.on("connection", (socket: Socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen({ host: HOST, port: 0, ...options });
  await once(server, "listening");
  const { port, address } = server.address() as AddressInfo;
  return {
    host: address,
    port,
    endpoint: address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`,
    get connections() {
      return connections;
    },
    write(text) {
      for (const socket of sockets) socket.write(text);
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

export const listen = (onConnection: (socket: Socket) => void, options?: ListenOptions): Promise<Listener> =>
  openPort(createServer(onConnection), options);

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Forwards every connection to a server: the one of that moment, if a function gives it. */
export const forward = (
  to: Address | (() => Address | Promise<Address>),
  options?: ListenOptions,
): Promise<Listener> =>
  listen(async (socket) => {
    const upstream = connect(typeof to === "function" ? await to() : to);
    socket.pipe(upstream).pipe(socket);
    upstream.on("error", () => socket.destroy());
    socket.on("close", () => upstream.destroy());
  }, options);

/** A port on which no server listens, unless another process takes it. */
export async function closedPort(): Promise<number> {
  const listener = await listen(() => {});
  await listener[Symbol.asyncDispose]();
  return listener.port;
}
