import type { FanoutMode } from "./config.js";
import type { StreamStats } from "./fanout/engine.js";
import { loadBinary } from "./loader.js";

/** A reply, in the shapes of RESP. Doubles arrive as numbers, infinite ones too. */
export type Reply = string | number | null | Reply[];

/** One word of a command, as Redis has it in its argv. */
export type Argument = string | number;

/**
 * Runs a command at once. Throws an Error with Redis's text and its first word as `code`. The arguments may
 * come as one array: spreading a very long list overflows the stack.
 */
export type Run = (command: number, ...args: Argument[] | [argv: Argument[]]) => Reply;

/**
 * Since when messages were dropped for want of room, in ms since the epoch; 0 if none were, or null if more wait. Then, for each message:
 * pattern or null, channel, message.
 */
export type Messages = [overflow: number | null, ...messages: (string | null)[]];

/** A handle of one store. Keys are given without the prefix, but for the patterns of KEYS and SCAN. */
export interface NativeMemoryStore {
  runner(): Run;
  /** The same by another clock than the system's, which shows so many ms since the epoch. */
  runnerOnClock(): (clock: number, command: number, ...args: Argument[] | [argv: Argument[]]) => Reply;
  /**
   * Runs `[command, ...args]` after `[command, ...args]` with nothing in between. Errors stand in place of
   * their replies. `clock` is what another clock than the system's shows.
   */
  exec(commands: Argument[][], clock?: number): (Reply | Error)[];
  subscribe(channel: string): void;
  unsubscribe(channel: string): void;
  psubscribe(pattern: string): void;
  punsubscribe(pattern: string): void;
  /** At most so many. Nothing tells of more until none are left: whoever takes them is to come again. */
  takeMessages(count: number): Messages;
  /** How many messages wait. */
  waiting(): number;
  close(): void;
}

/** Where a Redis server is: what RedisConfig says, checked and with its defaults. Times are in milliseconds. */
export interface RedisOptions {
  url?: string;
  host?: string;
  port?: number;
  path?: string;
  username?: string;
  password?: string;
  /** Whether it is asked for before each connection. */
  asksUsername: boolean;
  asksPassword: boolean;
  db?: number;
  /** The version of RESP. */
  protocol?: number;
  useTls?: boolean;
  tls?: RedisTlsOptions;
  /** In place of an address. */
  sentinel?: RedisSentinelOptions;
  clientName?: string;
  prefix?: string;
  maxRetries?: number;
  retryDelay?: number;
  commandTimeout: number;
  queueTimeout: number;
  connectTimeout: number;
  maxQueue: number;
  maxReplySize: number;
  /** Whether this is Node.js itself, and no runtime that only has its functions. */
  isNode: boolean;
  fanout: FanoutMode;
  /** It subscribes for the framework's callbacks, and does nothing else. */
  forStreams: boolean;
}

export interface RedisTlsOptions {
  ca?: string;
  cert?: string;
  key?: string;
  servername?: string;
  rejectUnauthorized?: boolean;
}

/** What RedisSentinelConfig says, checked. */
export interface RedisSentinelOptions {
  name: string;
  nodes: { host: string; port: number }[];
  username?: string;
  password?: string;
  asksUsername: boolean;
  asksPassword: boolean;
  /** As with the master where it is left out. */
  useTls?: boolean;
  tls?: RedisTlsOptions;
}

/** What happened to a connection. Times are in milliseconds, those of a gap since the Unix epoch. */
export type RedisEvent =
  | { name: "ready"; subscribes: boolean; node: string }
  | {
      name: "reconnecting";
      subscribes: boolean;
      attempt: number;
      delay: number;
      code: string;
      message: string;
      /** Where it led; absent if it never had a server. */
      node?: string;
    }
  /** What was subscribed could not be subscribed again. */
  | { name: "unsubscribed"; isPattern: boolean; topic: string; code: string; message: string }
  | { name: "gap"; from: number; to: number; node?: string };

/** What a server has said of itself. */
export interface RedisServer {
  /** The version of RESP that is spoken. */
  resp: number;
  /** Unknown of a server before Redis 6. */
  version?: string;
  /** `standalone`, `sentinel` or `cluster`. */
  mode?: string;
  /** Unknown of a server that does not say. */
  role?: "master" | "replica";
}

/** How a connection does. Times are in milliseconds since the Unix epoch. */
export interface RedisHealth {
  isReady: boolean;
  node?: string;
  since: number;
  lastHeard?: number;
  inFlight: number;
  waiting: number;
  attempt: number;
  code?: string;
  message?: string;
}

/** What a Sentinel says, or why it cannot be asked. */
export interface RedisSentinel {
  node: string;
  /** How long its last answer took, in milliseconds. */
  latency?: number;
  /** The master that it names. */
  master?: string;
  code?: string;
  message?: string;
}

/** A handle of one Redis server. What is asked with an id is answered by `take`. */
export interface NativeRedisClient {
  sender(): (first: number, ...entries: unknown[]) => void;
  start(): void;
  /** Null while there is no connection. */
  server(): RedisServer | null;
  /** Of the connection for commands, and of the subscribing one once there is one. */
  health(): RedisHealth[];
  /** While they are watched. None for a fixed address. */
  sentinels(): RedisSentinel[];
  connect(id: number): void;
  /** Answers a question for credentials: those that were asked for, or why there are none. */
  credentials(
    number: number,
    username: string | undefined,
    password: string | undefined,
    failure: string | undefined,
  ): void;
  subscribe(id: number, isPattern: boolean, name: string): void;
  unsubscribe(id: number, isPattern: boolean, name: string): void;
  listen(listening: boolean): void;
  /** Whether events are for callbacks here: then this process's streams are served. */
  hearStreams(hearing: boolean): void;
  /** What is to be read again after a gap. */
  streams(): { subscriptions: string[]; resources: string[] };
  /**
   * Calls `answer` for at most so many of the replies. Odd if `messages`, and then `events`, are to be called; 2 or
   * more if it is to be called again.
   */
  take(answer: (first: number, ...replies: (Reply | Error)[]) => void, count: number): number;
  events(): RedisEvent[];
  /** At most so many, as `takeMessages` of a memory store. */
  messages(count: number): Messages;
  /** Closes both connections: one answer for each. */
  close(id: number, subscriptionsId: number): void;
  /** Lets go of everything; nothing is answered any more. */
  abandon(): void;
}

/** What a thread is to know of the fan-out beside its items. Times are in milliseconds since the Unix epoch. */
export type FanoutNotice =
  /** Another thread has unregistered a handler of this one, or has it now. */
  | { name: "gone"; id: number }
  | { name: "answer"; id: number; code?: string; message?: string }
  /** A channel could not be subscribed. */
  | { name: "failed"; first: boolean; code: string; message: string }
  | { name: "reconnecting"; attempt: number; delay: number; code: string; message: string }
  | { name: "gap"; from: number; to: number }
  | { name: "overflow"; from: number };

/** A thread's part in the fan-out. Handlers and watchers are named by tokens of this thread. */
export interface NativeFanoutThread {
  /** The token of the handler that it replaces, or that leaves, if that is this thread's. */
  register(handler: string, token: number): number | null;
  /** With a token: only if it is the handler's. */
  unregister(handler: string, token?: number): number | null;
  /** 0 if this process has no such handler, 2 if another one has lost it by that and nobody was told so yet, else 1. */
  track(handler: string, subscription: string): 0 | 1 | 2;
  untrack(subscription: string): void;
  /** 0 if nobody in this process was reached, 1 for another thread; 2 for this one: there is something to take. */
  publish(subscription: string, event: string): 0 | 1 | 2;
  watch(resource: string, token: number): void;
  unwatch(resource: string, token: number): void;
  /** Tells the watchers of other threads. */
  notify(resource: string): void;
  /** Of a change that is about to be published nobody here is to be told again. Null if nothing comes back of it. */
  expect(resource: string): number | null;
  /** It may not have been published. */
  takeBack(resource: string, expected: number): void;
  attach(client: NativeRedisClient): void;
  /** Asks for what was refused once more. */
  retry(): void;
  detach(): void;
  /** Nothing that was published comes back to this thread. */
  clearEchoes(): void;
  hears(aggregate: boolean): { wanted: boolean; live: boolean };
  /** Answers `id` once the channel is live, or cannot be. */
  confirm(id: number, aggregate: boolean): void;
  /** A message that was heard here. */
  hear(channel: string, message: string): void;
  missed(from: number, to: number): void;
  /** Whether events keep the process alive. */
  listen(listening: boolean): void;
  /**
   * At most so many items: handler, subscription, event, and so on; for a change a watcher and two nulls. If there are as
   * many, nothing tells of more: whoever takes them is to come again.
   */
  take(count: number): (number | string | null)[];
  /** How many items wait. */
  waiting(): number;
  notices(): FanoutNotice[];
  /** Of each store with callbacks on the channel of events. */
  streams(): StreamStats[];
  handlerCount(): number;
  watcherCount(resource?: string): number;
  stats(): Record<
    | ("handlers" | "subscriptions" | "watchers" | "seen" | "delivered")
    | ("notLocal" | "malformed" | "overflowed" | "gaps"),
    number
  >;
}

interface Native {
  /** The row of a Redis command in the native table. Throws for one that is not there. */
  commandIndex(name: string): number;
  /** Deletes keys that are due, of every store, within a budget of time. True if more are due. */
  sweepExpired(): boolean;
  /** Has the authorities count that Node.js trusts: its own, in PEM, and those of a file. Only the first call does. */
  trustAsNode(own: string, extra: string | undefined): void;
  MemoryStore: new (
    options: { prefix: string | undefined; strict: boolean; shared: string | undefined },
    /** A lenient store met a key of another type; once for each store and command. */
    onWrongType: (command: string) => void,
    /** Another thread published: `takeMessages` has something. */
    onMessages: () => void,
    /** Makes an array of items, or adds them to one. */
    collect: (array: Reply[] | undefined, ...items: Reply[]) => Reply[],
  ) => NativeMemoryStore;
  RedisClient: new (
    options: RedisOptions,
    /** `take` has something. */
    onMail: () => void,
    /** Makes an array of items, or adds them to one. */
    collect: (array: Reply[] | undefined, ...items: Reply[]) => Reply[],
    /** `credentials` is to be called with this number, before a connection is opened. Given where credentials are asked for. */
    onQuestion: ((number: number, ofSentinels: boolean) => void) | undefined,
  ) => NativeRedisClient;
  FanoutThread: new (
    /** `take` or `notices` has something. */
    onItems: () => void,
    /** Makes an array of items, or adds them to one. */
    collect: (array: Reply[] | undefined, ...items: Reply[]) => Reply[],
  ) => NativeFanoutThread;
}

export const { commandIndex, sweepExpired, trustAsNode, MemoryStore, RedisClient, FanoutThread } =
  loadBinary() as Native;
