/** Not connected yet, usable, connecting again, or disconnected. */
export type KVStatus = "connecting" | "ready" | "reconnecting" | "closed";

/** A span of time in which messages may have been missed. */
export interface Gap {
  /** The time of the last message before the gap, at the earliest, in milliseconds since the Unix epoch. */
  from: number;
  /** The time from which messages arrive again, in milliseconds since the Unix epoch. */
  to: number;
  /** The connection was lost, or messages arrived faster than callbacks took them. */
  reason: "connection" | "overflow";
  /** Redis: the server whose connection was lost or left, as `host:port`. */
  node?: string;
}

/** What a connection is for. */
export type ConnectionRole = "commands" | "subscriptions";

/** The state of one connection of a store. Times are in milliseconds since the Unix epoch. */
export interface ConnectionHealth {
  readonly connection: ConnectionRole;
  /** Redis: the server that it leads to, or led to last, as `host:port` or a path; absent if it never had one. */
  readonly node?: string;
  /** `reconnecting` also while it leads to what was a master and is a replica now: then reads go on, and writes wait. */
  readonly state: "connecting" | "ready" | "reconnecting";
  /** When it was connected, or lost. */
  readonly since: number;
  /** When the server last sent anything. Absent before that. */
  readonly lastHeard?: number;
  /** The number of commands that were sent and not answered. */
  readonly inFlight: number;
  /** The number of commands that wait to be sent. */
  readonly waiting: number;
  /** The number of failed attempts to connect since then. */
  readonly attempt: number;
  /** Why it is not `ready`, if that is known. */
  readonly cause?: Error;
}

/** The state of a store. */
export interface KVHealth {
  readonly status: KVStatus;
  /** Empty for a memory store. For a Durable Object, one for each socket of its subscriptions. */
  readonly connections: readonly ConnectionHealth[];
}

/** The events of a store, with the arguments of their listeners. */
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
