// A namespace of Durable Objects, with their sockets, in plain Node.js.
import {
  CovaraKVDurableObject,
  type DurableObjectNamespaceLike,
  type DurableObjectStateLike,
  type DurableObjectStorageLike,
  type DurableObjectStubLike,
  type WebSocketLike,
} from "covara-kv";
import { FakeStorage } from "./fake-storage.js";

type SocketEvent = "message" | "close" | "error";
type Handler = (event: { data?: unknown; code?: number }) => void;

/** One end of a socket. What it sends arrives in a later turn of the event loop, in order, as over a network. */
export class FakeWebSocket implements WebSocketLike {
  readonly #handlers: Record<SocketEvent, Handler[]> = { message: [], close: [], error: [] };
  other: FakeWebSocket | undefined;
  isClosed = false;
  #attachment: unknown;
  /** Called when the other end has closed, as the runtime calls webSocketClose. */
  onClose: (code: number) => void = () => {};

  send(data: string): void {
    if (this.isClosed) throw new TypeError("Can't call WebSocket send() after close().");
    setImmediate(() => this.other?.emit("message", { data }));
  }

  close(code = 1005): void {
    if (this.isClosed) return;
    this.isClosed = true;
    setImmediate(() => this.other?.emit("close", { code }));
  }

  accept(): void {}

  addEventListener(type: SocketEvent, handler: Handler): void {
    this.#handlers[type].push(handler);
  }

  /** Cloudflare allows 2,048 bytes. */
  serializeAttachment(value: unknown): void {
    if (JSON.stringify(value).length > 2_048) throw new Error("the attachment is too large");
    this.#attachment = structuredClone(value);
  }

  deserializeAttachment(): unknown {
    return structuredClone(this.#attachment);
  }

  emit(type: SocketEvent, event: { data?: unknown; code?: number }): void {
    for (const handler of this.#handlers[type]) handler(event);
    if (type === "close") this.onClose(event.code ?? 1005);
  }
}

class FakeWebSocketPair {
  readonly 0 = new FakeWebSocket();
  readonly 1 = new FakeWebSocket();

  constructor() {
    this[0].other = this[1];
    this[1].other = this[0];
  }
}

/** Response is not replaced: Node's own refuses the status 101. */
Object.assign(globalThis, { WebSocketPair: FakeWebSocketPair });

/** One object with its storage, and its sockets, which stay when the object leaves the memory. */
export class FakeObject implements DurableObjectStateLike {
  readonly storage: DurableObjectStorageLike;
  /** The sockets, each with its tags. */
  readonly #sockets = new Map<FakeWebSocket, readonly string[]>();
  #object: CovaraKVDurableObject;

  constructor(storage: DurableObjectStorageLike) {
    this.storage = storage;
    this.#object = new CovaraKVDurableObject(this);
  }

  /** Cloudflare allows ten tags of 256 bytes. */
  acceptWebSocket(ws: WebSocketLike, tags: readonly string[] = []): void {
    if (tags.length > 10 || tags.some((tag) => Buffer.byteLength(tag) > 256))
      throw new Error("too many tags, or too long");
    const socket = ws as FakeWebSocket;
    this.#sockets.set(socket, tags);
    socket.onClose = () => {
      this.#sockets.delete(socket);
      void this.#object.webSocketClose(socket);
    };
  }

  getWebSockets(tag?: string): FakeWebSocket[] {
    const open = [...this.#sockets].filter(([socket]) => !socket.isClosed);
    return open.filter(([, tags]) => tag === undefined || tags.includes(tag)).map(([socket]) => socket);
  }

  fetch(request: Request): Promise<Response> {
    return this.#object.fetch(request);
  }

  alarm(): Promise<void> {
    return this.#object.alarm();
  }

  /** Removes the object from memory. Its sockets stay. */
  evict(): void {
    this.#object = new CovaraKVDurableObject(this);
  }

  /** Breaks every socket. */
  breakSockets(): void {
    for (const socket of [...this.#sockets.keys()]) {
      this.#sockets.delete(socket);
      socket.isClosed = true;
      socket.other?.emit("close", { code: 1006 });
    }
  }
}

export class FakeNamespace implements DurableObjectNamespaceLike {
  readonly #objects = new Map<string, FakeObject>();
  readonly #newStorage: () => DurableObjectStorageLike;
  /** The requests so far, as method and path. */
  readonly requests: string[] = [];
  /** The error with which every request fails, if set. */
  failure: Error | undefined;

  constructor(newStorage: () => DurableObjectStorageLike = () => new FakeStorage()) {
    this.#newStorage = newStorage;
  }

  idFromName(name: string): string {
    return name;
  }

  /** A stub that works for one request: a Worker may not use a stub of another request. */
  get(id: unknown): DurableObjectStubLike {
    let isUsed = false;
    return {
      fetch: async (input, init) => {
        if (isUsed) throw new Error("Cannot perform I/O on behalf of a different request.");
        isUsed = true;
        if (this.failure !== undefined) throw this.failure;
        const request = new Request(input, init);
        this.requests.push(`${request.method} ${new URL(input).pathname}`);
        return this.object(id as string).fetch(request);
      },
    };
  }

  object(name = "covara-kv"): FakeObject {
    const object = this.#objects.get(name) ?? new FakeObject(this.#newStorage());
    this.#objects.set(name, object);
    return object;
  }
}
