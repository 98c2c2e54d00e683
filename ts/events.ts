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
}

/** What a connection is for. */
export type ConnectionRole = "commands" | "subscriptions";

/** The state of one connection of a store. Times are in milliseconds since the Unix epoch. */
export interface ConnectionHealth {
  readonly connection: ConnectionRole;
  /** `reconnecting` also while the server is a replica that was a master: then reads run, and writes wait. */
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
  /** Connected; for `subscriptions` only after {@link KVEvents.reconnecting}. */
  ready: [{ connection: ConnectionRole }];
  /**
   * A connection was lost, or its server is a replica that was a master. Attempt number `attempt` to connect again follows in `delay`
   * milliseconds. While the connection for `subscriptions` is lost, no message arrives, and `status` does not change.
   */
  reconnecting: [{ connection: ConnectionRole; attempt: number; delay: number; cause: Error }];
  /** A failure that no Promise reports, such as a callback that threw. */
  error: [error: Error];
  /** Messages may have been missed. */
  gap: [gap: Gap];
  /** Disconnected. */
  end: [];
}

/** A listener of an event of {@link KVEvents}. */
export type KVListener<E extends keyof KVEvents> = (...args: KVEvents[E]) => unknown;
