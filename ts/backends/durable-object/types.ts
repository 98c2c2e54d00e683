/** A Durable Object namespace of Cloudflare Workers, such as `env.COVARA_KV`. */
export interface DurableObjectNamespaceLike {
  /** The id of the object with this name. */
  idFromName(name: string): unknown;
  /** The stub for requests to an object. */
  get(id: unknown): DurableObjectStubLike;
}

/** The stub for requests to one Durable Object. */
export interface DurableObjectStubLike {
  /** Sends a request to the object. */
  fetch(
    input: string,
    init?: { method?: string; headers?: Record<string, string>; body?: string },
  ): Promise<Response>;
}

/** The object of the store, and the delay before a reconnect. */
export interface DurableObjectKVOptions {
  /** The object's name; `"covara-kv"` by default. */
  name?: string;
  /** Added, with a colon, to each key. None by default. */
  prefix?: string;
  /** Refuse a key of another type, as Redis does. False by default: then it counts as empty. */
  strict?: boolean;
  /**
   * The delay before attempt number `attempt`, from 1, to open a lost socket again, in ms; by default 250, doubling up to 5,000.
   */
  reconnectDelay?: (attempt: number) => number;
}

/** The state that the constructor of a Durable Object gets. */
export interface DurableObjectStateLike {
  /** The storage of the object. */
  storage: DurableObjectStorageLike;
  /** Accepts a WebSocket that survives hibernation. */
  acceptWebSocket(ws: WebSocketLike, tags?: string[]): void;
  /** The accepted WebSockets, or those with a tag. */
  getWebSockets(tag?: string): WebSocketLike[];
}

/** The storage of a Durable Object. */
export interface DurableObjectStorageLike {
  /** The value of a key. */
  get<T>(key: string): Promise<T | undefined>;
  /** Sets a key. */
  put(key: string, value: unknown): Promise<void>;
  /** Deletes a key. False if there was none. */
  delete(key: string): Promise<boolean>;
  /** The keys with a prefix, in order, and their values. */
  list<T>(options?: { prefix?: string }): Promise<Map<string, T>>;
  /** Deletes everything. */
  deleteAll(): Promise<void>;
}

/** A WebSocket, of Workers or any other. */
export interface WebSocketLike {
  /** Sends a message. */
  send(data: string): void;
  /** Ends the connection. */
  close(code?: number, reason?: string): void;
  /** Accepts the client's end of a connection in a Worker. */
  accept?(): void;
  /** Calls `handler` at every message, or at the end. */
  addEventListener?(type: "message" | "close" | "error", handler: (event: { data?: unknown }) => void): void;
  /** Stores a value with the WebSocket during hibernation. */
  serializeAttachment?(value: unknown): void;
  /** The stored value. */
  deserializeAttachment?(): unknown;
}
