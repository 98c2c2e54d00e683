// An address that a test can move to another server, as a name moves (DNS, a proxy, a service).
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { World } from "./faults.js";

interface Address {
  readonly host: string;
  readonly port: number;
}

export interface Movable extends Address {
  /** Leads new connections to another server. Open connections stay. */
  move(to: Address): void;
}

export async function movable({ defer }: Pick<World, "defer">, to: Address): Promise<Movable> {
  const sockets = new Set<Socket>();
  let target = to;
  const proxy = createServer((socket) => {
    const upstream = connect(target);
    for (const end of [socket, upstream]) sockets.add(end.on("error", () => {}));
    socket.pipe(upstream).pipe(socket);
    socket.on("close", () => upstream.destroy());
    upstream.on("close", () => socket.destroy());
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  defer(() => {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });
  return {
    host: "127.0.0.1",
    port: (proxy.address() as AddressInfo).port,
    move(to) {
      target = to;
    },
  };
}
