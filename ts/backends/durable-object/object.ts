import { DurableKVEngine } from "./engine.js";
import { Sockets } from "./sockets.js";
import type { DurableObjectStateLike, WebSocketLike } from "./types.js";
import {
  batchResponse,
  decodeCall,
  type ReadRequest,
  readRequest,
  socketResponse,
  statusResponse,
} from "./wire.js";

/** The class of the Durable Object, for a Worker to export. */
export class CovaraKVDurableObject {
  /** Only a type: the types of `wrangler types` recognise the class of an object by it. */
  declare readonly __DURABLE_OBJECT_BRAND: never;
  readonly #engine: DurableKVEngine;
  readonly #sockets: Sockets;

  /** Called by the Workers runtime. */
  constructor(state: DurableObjectStateLike) {
    this.#sockets = new Sockets(state);
    this.#engine = new DurableKVEngine(state.storage, (channel, message) =>
      this.#sockets.publish(channel, message),
    );
  }

  /** Answers a request of a {@link DurableObjectKVStore}. */
  async fetch(request: Request): Promise<Response> {
    const read = await readRequest(request);
    switch (read.route) {
      case "batch": {
        const { commands, ...options } = read.batch;
        return batchResponse(await this.#engine.run(commands.map(decodeCall), options));
      }
      case "subscribe":
        return this.#subscribe(read);
      case "announce":
        await this.#engine.wakeAt(await this.#sockets.announce(read.id, read.names));
        return statusResponse(204);
      case "leave":
        // The store gets the close of the socket before the response to its next request.
        await this.#sockets.leave(read.id);
        return statusResponse(204);
      case "refused":
        return statusResponse(read.status);
    }
  }

  /** Removes expired keys, and announced names whose socket was never opened. */
  async alarm(): Promise<void> {
    await this.#engine.sweep();
    const next = await this.#sockets.sweep();
    if (next !== undefined) await this.#engine.wakeAt(next);
  }

  /** Stores send nothing on their sockets. */
  webSocketMessage(): void {}

  /** A store has closed its socket, or lost it. */
  async webSocketClose(socket: WebSocketLike): Promise<void> {
    await this.#sockets.closed(socket);
  }

  /** A socket has failed. */
  async webSocketError(socket: WebSocketLike): Promise<void> {
    await this.webSocketClose(socket);
  }

  async #subscribe({ id, replaces, names }: ReadRequest & { route: "subscribe" }): Promise<Response> {
    const subscribed = names ?? (await this.#sockets.announced(id));
    if (subscribed === undefined) return statusResponse(409);
    const { WebSocketPair } = globalThis as unknown as {
      WebSocketPair: new () => Record<0 | 1, WebSocketLike>;
    };
    const { 0: client, 1: server } = new WebSocketPair();
    await this.#sockets.accept(server, id, subscribed, replaces);
    return socketResponse(client);
  }
}
