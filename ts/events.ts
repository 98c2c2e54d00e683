/** Not connected yet, usable, connecting again, or disconnected. */
export type KVStatus = "connecting" | "ready" | "reconnecting" | "closed";

/** A span of time in which messages may have been missed. */
export interface Gap {
  /** When the last message before the gap can have come, in milliseconds since the Unix epoch. */
  from: number;
  /** From when on messages come again, in milliseconds since the Unix epoch. */
  to: number;
  /** The connection was lost, or messages came faster than they were taken. */
  reason: "connection" | "overflow";
  /** Redis: the server whose connection was lost or left, as `host:port`. */
  node?: string;
}

/** What a connection is for. */
export type ConnectionRole = "commands" | "subscriptions";

/** How one connection of a store does. Times are in milliseconds since the Unix epoch. */
export interface ConnectionHealth {
  readonly connection: ConnectionRole;
  /** Redis: the server that it leads to, or led to last, as `host:port` or a path; absent if it never had one. */
  readonly node?: string;
  /** `reconnecting` also while it leads to what was a master and is a replica now: then reads go on, and writes wait. */
  readonly state: "connecting" | "ready" | "reconnecting";
  /** Since when there is a connection, or none. */
  readonly since: number;
  /** When the server last sent anything; absent if it never has. */
  readonly lastHeard?: number;
  /** How many commands were sent and not answered. */
  readonly inFlight: number;
  /** How many commands wait to be sent. */
  readonly waiting: number;
  /** How many attempts to connect have failed since. */
  readonly attempt: number;
  /** Why it is not `ready`, where that is known. */
  readonly cause?: Error;
}

/** How a store does. */
export interface KVHealth {
  readonly status: KVStatus;
  /** None for a memory store; for a Durable Object one for each socket of its subscriptions. */
  readonly connections: readonly ConnectionHealth[];
}

/** The events of a store, with what their listeners are called with. */
export interface KVEvents {
  /** Connected, on Redis to `node`; for `subscriptions` only after {@link KVEvents.reconnecting}. */
  ready: [{ connection: ConnectionRole; node?: string }];
  /**
   * A connection was lost, or leads to what was a master and is a replica now; attempt number `attempt` to connect again follows in
   * `delay` milliseconds. `node` is the server that it led to, on Redis. While that for `subscriptions` is away no message comes, and `status` stays as it is.
   */
  reconnecting: [{ connection: ConnectionRole; attempt: number; delay: number; cause: Error; node?: string }];
  /** Something failed that no Promise tells of, such as a callback that threw. */
  error: [error: Error];
  /** Messages may have been missed. */
  gap: [gap: Gap];
  /** Disconnected. */
  end: [];
}

/** A listener of an event of {@link KVEvents}. */
export type KVListener<E extends keyof KVEvents> = (...args: KVEvents[E]) => unknown;
