import type { FanoutMode } from "../config.js";

/** Takes an event, as JSON, of a subscription. */
export type DeliverEvent = (event: string, subscriptionId: string) => unknown;

/** Takes the rows that have changed, where they are known. */
export type AggregateWatcher = (changed?: unknown[]) => unknown;

/** What the callbacks of a Redis store hear that were given to `subscribe` on `covara:events`, as the framework does. */
export interface StreamStats {
  /** Where the server is. */
  server: string;
  /** What `redis.fanout` says. */
  fanout: FanoutMode;
  /**
   * What is delivered, and why: `"own"`, events for streams of this process; everything because `redis.fanout` is `"all"`,
   * because this process has created no record of a subscription yet (`"no-record"`), or because it has written one that was not
   * understood (`"unreadable-record"`).
   */
  delivers: "own" | "all" | "no-record" | "unreadable-record";
  /** Subscriptions whose records this process wrote to the server. */
  records: number;
  /** Those of them that have a channel of their own. */
  channels: number;
  /** Whether the server refused such channels (`NOPERM`), so that events come by the fleet's. */
  refused: boolean;
  /** Messages that were handed to the callbacks. */
  delivered: number;
  /** Messages that were for no stream here, which ended off the JavaScript thread. */
  notLocal: number;
}

/** Counts of a process: what it has, and what has happened since it began. */
export interface FanoutStats {
  /** Open streams. */
  handlers: number;
  /** Subscriptions of handlers. */
  subscriptions: number;
  /** Aggregate watchers. */
  watchers: number;
  /** Messages that came in. */
  seen: number;
  /** Events that went to handlers of this process. */
  delivered: number;
  /** Events for handlers of other processes, which ended off the JavaScript thread. */
  notLocal: number;
  /** Messages that were none. */
  malformed: number;
  /** Events that were dropped for want of room, and an invalidation given in their place. */
  overflowed: number;
  /** Times in which messages may have been missed. */
  gaps: number;
  /** Stores whose `subscribe` was called for `covara:events`. */
  streams: StreamStats[];
}

/** What the functions of the fan-out do, once their arguments are checked. */
export interface Engine {
  start(): Promise<void>;
  register(id: string, deliver: DeliverEvent, signal: AbortSignal | undefined): void;
  unregister(id: string): void;
  /** 0 if there is no such handler, 2 for the first subscription that another handler has lost by that, else 1. */
  track(handler: string, subscription: string): 0 | 1 | 2;
  untrack(subscription: string): void;
  /** True if the handler is in this process; resolves once it has got the event, if it is behind more than there is time for. */
  publish(subscription: string, event: string): boolean | Promise<boolean>;
  /** Publishes a message with an event. Resolves to whether it has reached anyone elsewhere. */
  send(message: string): Promise<boolean>;
  /** Gives what ends it. */
  watch(resource: string, watcher: AggregateWatcher): () => void;
  notify(resource: string, changed: unknown[] | undefined): Promise<void>;
  /** Of a resource, or of all. */
  watcherCount(resource: string | undefined): number;
  stats(): FanoutStats;
}
