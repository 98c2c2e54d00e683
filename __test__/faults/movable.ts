// An address that a test can move to another server, as a name moves (DNS, a proxy, a service).
import { type Address, forward } from "../sockets.js";
import type { World } from "./faults.js";

export interface Movable extends Address {
  /** Leads new connections to another server. Open connections stay. */
  move(to: Address): void;
}

export async function movable({ defer }: Pick<World, "defer">, to: Address): Promise<Movable> {
  let target = to;
  const { host, port, [Symbol.asyncDispose]: close } = await forward(() => target);
  defer(close);
  return {
    host,
    port,
    move(to) {
      target = to;
    },
  };
}
