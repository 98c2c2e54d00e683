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
}

/** The events of a store, with what their listeners are called with. */
export interface KVEvents {
  /** Connected. */
  ready: [];
  /** The connection was lost; attempt number `attempt` to connect again follows in `delay` milliseconds. */
  reconnecting: [{ attempt: number; delay: number; cause: Error }];
  /** Something failed that no Promise tells of, such as a callback that threw. */
  error: [error: Error];
  /** Messages may have been missed. */
  gap: [gap: Gap];
  /** Disconnected. */
  end: [];
}

/** A listener of an event of {@link KVEvents}. */
export type KVListener<E extends keyof KVEvents> = (...args: KVEvents[E]) => unknown;
