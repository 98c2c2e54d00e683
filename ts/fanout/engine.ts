import type { FanoutMode } from "../config.js";

/** Delivers an event of a subscription, as JSON. */
export type DeliverEvent = (event: string, subscriptionId: string) => unknown;

/** Called with the rows that have changed, where they are known. */
export type AggregateWatcher = (changed?: unknown[]) => unknown;

/** Counts for the callbacks of `subscribe` on `covara:events` of a Redis store, such as the framework's. */
export interface StreamStats {
  /** The address of the server. */
  server: string;
  /** The option `redis.fanout`. */
  fanout: FanoutMode;
  /**
   * Which events are delivered. `"own"`: those for streams of this process. Everything, because `redis.fanout` is `"all"`, because
   * this process has not created a record of a subscription yet (`"no-record"`), or because it has written one of an unknown form
   * (`"unreadable-record"`).
   */
  delivers: "own" | "all" | "no-record" | "unreadable-record";
  /** The number of subscriptions whose records this process wrote. */
  records: number;
  /** The number of them with a channel of their own. */
  channels: number;
  /** Whether the server refused such channels (`NOPERM`): then events arrive by the channel of the fleet. */
  refused: boolean;
  /** The number of messages that the callbacks got. */
  delivered: number;
  /** The number of messages for streams elsewhere, dropped before the JavaScript thread. */
  notLocal: number;
}

/** Counts of a process: its registrations, and its events since it started. */
export interface FanoutStats {
  /** Open streams. */
  handlers: number;
  /** Subscriptions of handlers. */
  subscriptions: number;
  /** Aggregate watchers. */
  watchers: number;
  /** Messages received. */
  seen: number;
  /** Events for handlers of this process. */
  delivered: number;
  /** Events for handlers of other processes, dropped before the JavaScript thread. */
  notLocal: number;
  /** Malformed messages. */
  malformed: number;
  /** Events that a full queue dropped. An invalidation took their place. */
  overflowed: number;
  /** Spans of time in which messages may have been missed. */
  gaps: number;
  /** Stores whose `subscribe` was called for `covara:events`. */
  streams: StreamStats[];
}

/** The functions of the fan-out, after their arguments were checked. */
export interface Engine {
  start(): Promise<void>;
  register(id: string, deliver: DeliverEvent, signal: AbortSignal | undefined): void;
  unregister(id: string): void;
  /** 0 if there is no such handler, 2 the first time that another handler loses a subscription, else 1. */
  track(handler: string, subscription: string): 0 | 1 | 2;
  untrack(subscription: string): void;
  /** True if the handler is in this process. A Promise resolves once the event is delivered, if it needs more than a time slice. */
  publish(subscription: string, event: string): boolean | Promise<boolean>;
  /** Publishes an event. Resolves to whether another process got it. */
  send(message: string): Promise<boolean>;
  /** Returns a function that ends it. */
  watch(resource: string, watcher: AggregateWatcher): () => void;
  notify(resource: string, changed: unknown[] | undefined): Promise<void>;
  /** The number of watchers, of one resource or of all. */
  watcherCount(resource: string | undefined): number;
  stats(): FanoutStats;
}
